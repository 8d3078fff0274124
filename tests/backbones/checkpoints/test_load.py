"""Checkpoints of the published layout, and every way in which a file can be unfit."""

import argparse
import hashlib
import json
import pickle
import re
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from backbones.base import Backbone
from backbones.checkpoints import load, source
from backbones.common.errors import UserError


class Tiny(Backbone):
    """Four tensors named as Vim names its own."""

    name = "tiny"

    def __init__(self, dim: int = 4, tokens: int = 5, classes: int = 3) -> None:
        super().__init__()
        self.pos_embed = nn.Parameter(torch.zeros(1, tokens, dim))
        self.norm_f = nn.Linear(dim, 1, bias=False)
        self.head = nn.Linear(dim, classes)


class Payload:
    """Unpickling this would touch a file."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.system, (f"touch {self.witness}",)


def weights(seed: int, model: nn.Module | None = None) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    reference = (model or Tiny()).state_dict()
    return {
        name: torch.randn(tensor.shape, generator=generator) for name, tensor in reference.items()
    }


def official_content() -> dict[str, object]:
    """What Vim's training script writes."""
    return {
        "model": weights(1),
        "optimizer": {
            "state": {0: {"exp_avg": torch.zeros(3)}},
            "param_groups": [{"lr": 1e-5, "params": [0]}],
        },
        "lr_scheduler": {"base_values": [1e-3]},
        "epoch": 299,
        "model_ema": weights(2),
        "scaler": {"scale": 65536.0},
        "args": argparse.Namespace(
            model="vim", lr=5e-4, drop=0.0, data_path=Path("/data").as_posix()
        ),
    }


def official(path: Path, **changes: object) -> Path:
    """A file as Vim's training script writes it; a change to None leaves the entry out."""
    content = official_content() | changes
    torch.save({key: value for key, value in content.items() if value is not None}, path)
    return path


def equal(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(
        torch.equal(left[name], right[name]) for name in left
    )


def one_line(error: pytest.ExceptionInfo[UserError]) -> str:
    message = str(error.value)
    assert "\n" not in message
    assert ": " in message, "the mend follows the colon"
    return message


@pytest.mark.parametrize(
    ("model_name", "ema", "branch", "seed"),
    [
        ("vim_tiny", None, "model", 1),
        ("vim_base", None, "model_ema", 2),
        ("vim_base", False, "model", 1),
        ("vim_tiny", True, "model_ema", 2),
    ],
)
def test_the_branch_is_chosen_by_name_or_asked_for(
    tmp_path: Path, model_name: str, ema: bool | None, branch: str, seed: int
) -> None:
    loaded = load.load(str(official(tmp_path / "c.pth")), model_name=model_name, ema=ema)
    assert loaded.provenance.branch == branch
    assert equal(loaded.state, weights(seed))


def test_provenance_recognises_the_file(tmp_path: Path) -> None:
    path = official(tmp_path / "c.pth")
    result = load.load(str(path), model_name="vim_tiny").provenance
    assert result.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (result.source, result.path, result.format, result.keys) == (
        str(path),
        str(path),
        "torch",
        4,
    )
    lines = "head.bias (3,)\nhead.weight (3, 4)\nnorm_f.weight (1, 4)\npos_embed (1, 5, 4)"
    assert result.key_digest == hashlib.sha256(lines.encode()).hexdigest()


def test_bare_state_dicts_of_either_format(tmp_path: Path) -> None:
    torch.save(weights(3), tmp_path / "bare.pth")
    torch.save(weights(3), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    save_file(weights(3), tmp_path / "bare.safetensors")
    for name, file_format in (
        ("bare.pth", "torch"),
        ("old.pth", "torch"),
        ("bare.safetensors", "safetensors"),
    ):
        loaded = load.load(str(tmp_path / name), model_name="vim_base")
        assert equal(loaded.state, weights(3))
        assert (loaded.provenance.branch, loaded.provenance.format) == ("bare", file_format)
        assert loaded.num_classes == 3


def test_the_file_may_go_after_loading(tmp_path: Path) -> None:
    path = official(tmp_path / "c.pth")
    loaded = load.load(str(path), model_name="vim_tiny")
    path.write_bytes(b"\0" * path.stat().st_size)
    assert equal(loaded.state, weights(1))


@pytest.mark.parametrize("legacy", [False, True])
def test_a_file_is_read_by_its_content_whatever_its_name(tmp_path: Path, legacy: bool) -> None:
    options = {"_use_new_zipfile_serialization": not legacy}
    torch.save(official_content(), tmp_path / "c.safetensors", **options)
    loaded = load.load(str(tmp_path / "c.safetensors"), model_name="vim_tiny")
    assert (loaded.provenance.format, loaded.provenance.branch) == ("torch", "model")
    save_file(weights(3), tmp_path / "c.pth")
    loaded = load.load(str(tmp_path / "c.pth"), model_name="vim_tiny")
    assert loaded.provenance.format == "safetensors"
    assert equal(loaded.state, weights(3))


def sharded(folder: Path, suffix: str = "safetensors") -> Path:
    """Weights in two shards with the index that Hugging Face's libraries write."""
    state = weights(3)
    places: dict[str, str] = {}
    for number, names in enumerate((list(state)[:2], list(state)[2:]), 1):
        file = f"model-0000{number}-of-00002.{suffix}"
        part = {name: state[name] for name in names}
        if suffix == "safetensors":
            save_file(part, folder / file)
        else:
            torch.save(part, folder / file)
        places |= dict.fromkeys(names, file)
    index = folder / f"model.{suffix}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": places}))
    return index


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_an_index_of_shards_is_all_of_them(tmp_path: Path, suffix: str) -> None:
    index = sharded(tmp_path, suffix)
    loaded = load.load(str(index), model_name="vim_tiny")
    assert equal(loaded.state, weights(3))
    before = loaded.provenance.sha256
    # the hash is that of the shards: the index stays the same when their numbers change
    shard = tmp_path / f"model-00002-of-00002.{suffix}"
    other = {name: tensor + 1 for name, tensor in load.read(shard)[0].items()}
    shard.unlink()
    if suffix == "safetensors":
        save_file(other, shard)
    else:
        torch.save(other, shard)
    assert load.load(str(index), model_name="vim_tiny").provenance.sha256 != before


def test_what_is_wrong_with_shards_is_said(tmp_path: Path) -> None:
    index = sharded(tmp_path)
    shard = tmp_path / "model-00002-of-00002.safetensors"
    with pytest.raises(
        UserError, match=r"one of 2 shards: .*model.safetensors.index.json"
    ) as error:
        load.load(str(shard), model_name="vim_tiny")
    one_line(error)
    save_file({"norm_f.weight": torch.zeros(1, 4)}, shard)
    with pytest.raises(UserError, match=r"shard .*00002.safetensors lacks .*: download") as error:
        load.load(str(index), model_name="vim_tiny")
    one_line(error)
    shard.unlink()
    with pytest.raises(UserError, match="does not exist"):
        load.load(str(index), model_name="vim_tiny")
    for content in ("[]", "{", '{"weight_map": 3}', '{"weight_map": {"a": ["b"]}}'):
        index.write_text(content)
        with pytest.raises(UserError, match="no index of sharded weights") as error:
            load.load(str(index), model_name="vim_tiny")
        one_line(error)
    for file in ('"../c.pth"', '"/etc/passwd"', "3"):
        index.write_text(f'{{"weight_map": {{"a": {file}}}}}')
        with pytest.raises(UserError, match="no file beside it"):
            load.load(str(index), model_name="vim_tiny")


def test_shards_of_the_hub_are_fetched_with_their_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sharded(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(source, "_answers", lambda endpoint: True)
    requested = []

    def download(repo: str, file: str, *, revision: str | None) -> str:
        requested.append((repo, file, revision))
        return str(tmp_path / Path(file).name)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    spec = "hf://owner/repo@v1/folder/model.safetensors.index.json"
    assert equal(load.load(spec, model_name="vim_tiny").state, weights(3))
    assert requested == [
        ("owner/repo", f"folder/{file}", "v1")
        for file in (
            "model.safetensors.index.json",
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
        )
    ]


@pytest.mark.parametrize("layout", ["zip", "legacy", "plain pickle"])
def test_code_in_a_pickle_never_runs(tmp_path: Path, layout: str) -> None:
    witness, path = tmp_path / "ran", tmp_path / "evil.pth"
    content = {"model": weights(1), "args": Payload(witness)}
    if layout == "plain pickle":
        path.write_bytes(pickle.dumps(content["args"], protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=layout == "zip")
    with pytest.raises(UserError, match=r"not loaded|truncated or not") as error:
        load.load(str(path), model_name="vim_tiny")
    one_line(error)
    assert not witness.exists()


def test_the_payload_of_the_test_above_would_run(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Payload(tmp_path / "ran")))
    assert (tmp_path / "ran").exists()


class Counting:
    """Unpickling this would count letters; not print, in whose place Ray puts a function of its own."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return len, ("ran",)


def test_a_builtin_in_a_checkpoint_is_named(tmp_path: Path) -> None:
    torch.save({"model": Counting()}, tmp_path / "evil.pth")
    with pytest.raises(UserError, match="asks to run len"):
        load.load(str(tmp_path / "evil.pth"), model_name="vim_tiny")


def test_code_in_a_zipped_checkpoint_is_named(tmp_path: Path) -> None:
    torch.save({"model": Payload(tmp_path / "ran")}, tmp_path / "evil.pth")
    with pytest.raises(UserError, match=r"asks to run (posix|nt)\.system"):
        load.load(str(tmp_path / "evil.pth"), model_name="vim_tiny")


@given(
    cut=st.floats(min_value=0, max_value=0.999),
    suffix=st.sampled_from([".pth", ".old.pth", ".safetensors"]),
)
def test_a_file_cut_anywhere_is_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, cut: float, suffix: str
) -> None:
    path = tmp_path_factory.mktemp("cut") / f"c{suffix}"
    if suffix == ".safetensors":
        save_file(weights(1), path)
    else:
        torch.save(weights(1), path, _use_new_zipfile_serialization=suffix == ".pth")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(cut * len(whole))])
    with pytest.raises(UserError, match=r"empty|truncated|not a|not loaded") as error:
        load.load(str(path), model_name="vim_tiny")
    one_line(error)


@given(content=st.binary(min_size=1, max_size=200))
def test_a_file_of_anything_else_is_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("any") / "c.pth"
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        load.load(str(path), model_name="vim_tiny")
    one_line(error)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b"<!doctype html><title>404</title>", "not a PyTorch file"),
    ],
)
def test_usual_strangers_are_named(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "c.pth").write_bytes(content)
    with pytest.raises(UserError, match=says) as error:
        load.load(str(tmp_path / "c.pth"), model_name="vim_tiny")
    one_line(error)


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    for path, says in ((tmp_path / "none.pth", "does not exist"), (tmp_path, "is a folder")):
        with pytest.raises(UserError, match=says) as error:
            load.load(str(path), model_name="vim_tiny")
        one_line(error)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ([1, 2], "holds a list"),
        ({}, "it is empty"),
        ({"model": {}}, "it is empty"),
        ({"epoch": 3, "net": {}}, "'epoch' is no tensor"),
        ({"a": torch.tensor([1.0, float("nan")])}, "NaN or infinite values in 'a'"),
        (
            {"a": torch.tensor([float("inf")], dtype=torch.bfloat16)},
            "NaN or infinite values in 'a'",
        ),
    ],
)
def test_contents_that_are_no_weights(tmp_path: Path, content: object, says: str) -> None:
    torch.save(content, tmp_path / "c.pth")
    with pytest.raises(UserError, match=re.escape(says)) as error:
        load.load(str(tmp_path / "c.pth"), model_name="vim_tiny")
    one_line(error)


def loaded_from(tmp_path: Path, state: dict[str, Tensor]) -> load.LoadedWeights:
    torch.save(state, tmp_path / "c.pth")
    return load.load(str(tmp_path / "c.pth"), model_name="vim_tiny")


def test_apply_copies_everything_in_the_models_dtype(tmp_path: Path) -> None:
    model = Tiny().double()
    load.apply(model, loaded_from(tmp_path, weights(5)), 3)
    assert equal(
        dict(model.state_dict()), {name: tensor.double() for name, tensor in weights(5).items()}
    )


def changed(**changes: Tensor | None) -> dict[str, Tensor]:
    state: dict[str, Tensor | None] = {
        **weights(5),
        **{name.replace("__", "."): t for name, t in changes.items()},
    }
    return {name: tensor for name, tensor in state.items() if tensor is not None}


@pytest.mark.parametrize(
    ("state", "num_classes", "says"),
    [
        (changed(norm_f__weight=None), None, "1 keys missing (norm_f.weight)"),
        (changed(extra=torch.zeros(1)), None, "1 keys surplus (extra)"),
        (
            changed(norm_f__weight=None, norm__weight=torch.zeros(1, 4)),
            None,
            "did you mean norm.weight?",
        ),
        (
            changed(head__weight=torch.zeros(10, 4), head__bias=torch.zeros(10)),
            None,
            "--backbones 'tiny[classes=10]' (in Python: num_classes=10)",
        ),
        (
            changed(head__weight=torch.zeros(10, 4), head__bias=torch.zeros(10)),
            3,
            "does not fit the 3 classes asked for: ask",
        ),
        (
            changed(pos_embed=torch.zeros(1, 17, 4)),
            None,
            "positions for 17 tokens, the model for 5",
        ),
        (weights(5, Tiny(dim=8)), None, "3 tensors of another shape (pos_embed is (1, 5, 8)"),
        (
            changed(norm_f__weight=torch.ones(1, 4, dtype=torch.int8)),
            None,
            "torch.int8 values in 'norm_f.weight'",
        ),
    ],
)
def test_weights_that_do_not_fit_leave_the_model_alone(
    tmp_path: Path, state: dict[str, Tensor], num_classes: int | None, says: str
) -> None:
    model = Tiny()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(UserError, match=re.escape(says)) as error:
        load.apply(model, loaded_from(tmp_path, state), num_classes)
    one_line(error)
    assert equal(dict(model.state_dict()), before)


def test_bundled_weights_are_found_by_model_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "WEIGHTS", tmp_path)
    save_file(weights(6), tmp_path / "vim_nano.safetensors")
    assert source.bundled() == ["vim_nano"]
    assert equal(load.load("bundled", model_name="vim_nano").state, weights(6))
    with pytest.raises(UserError, match="bundled: vim_nano"):
        load.load("bundled", model_name="vim_tiny")


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("hf://hustvl/Vim-tiny-midclstok/a.pth", ("hustvl/Vim-tiny-midclstok", "a.pth", None)),
        ("hf://owner/repo@v1.0/folder/a.pth", ("owner/repo", "folder/a.pth", "v1.0")),
    ],
)
def test_hub_specs(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    spec: str,
    expected: tuple[str, str, str | None],
) -> None:
    requested = []

    def download(repo: str, file: str, *, revision: str | None) -> str:
        requested.append((repo, file, revision))
        return str(official(tmp_path / "a.pth"))

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(source, "_answers", lambda endpoint: True)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    assert load.load(spec, model_name="vim_tiny").provenance.source == spec
    assert requested == [expected]


@pytest.mark.parametrize(
    "spec", ["hf://", "hf://owner", "hf://owner/repo", "hf://owner/repo/", "hf://a@b/c/d"]
)
def test_malformed_hub_specs_show_the_form(spec: str) -> None:
    with pytest.raises(UserError, match="write hf://owner/repo/file") as error:
        load.load(spec, model_name="vim_tiny")
    one_line(error)


@pytest.mark.parametrize("offline", [True, False])
def test_hub_without_a_network_says_so_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offline: bool
) -> None:
    def download(*_: object, **__: object) -> str:
        raise AssertionError("the hub's client was called")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", offline)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        UserError, match=r"hf://owner/repo/a.pth .*fetch .*owner/repo/.*/a.pth elsewhere"
    ) as error:
        load.load("hf://owner/repo/a.pth", model_name="vim_tiny")
    one_line(error)


@pytest.mark.parametrize(("status", "answers"), [(200, True), (404, True), (None, False)])
def test_whether_a_server_answers(status: int | None, answers: bool) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(status or 200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        port = server.server_port if status else 9
        assert source._answers(f"http://127.0.0.1:{port}") is answers


def test_a_failing_transport_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def download(*_: object, **__: object) -> str:
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(source, "_answers", lambda endpoint: True)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    with pytest.raises(UserError, match="no route") as error:
        load.load("hf://owner/repo/a.pth", model_name="vim_tiny")
    one_line(error)

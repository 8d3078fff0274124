"""Backbones of users' files in a plan: their names, what cells depend on, and what they must not do."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from backbones import create_model
from backbones.common.errors import UserError
from suite.config.run_spec import RunSpec
from suite.plan.loading import weights_hash
from suite.plan.prepare import prepare

Specs = Callable[..., RunSpec]
CODE = """
from backbones.models.sizes import MambaConfig
from backbones.models.vim import Vim

class Mine(Vim):
    pass

def net(dim=16, depth=3, image_size=40, classes=3):
    config = MambaConfig(dim, depth, 4, image_size, patch=4, stride=4, classes=classes)
    return Mine("whatever", config)
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mine.py"
    path.write_text(CODE)
    return path


def test_a_run_calls_it_by_its_variable(file: Path, small: Specs) -> None:
    named = ("vim_mini", "mine.py:net[depth=2]", "Ours=mine.py:net")
    prepared = prepare(small(backbones=named, methods=("mtr",), budgets=(0.3,), smaller=named[1:2]))
    assert list(prepared.models) == ["vim_mini", "net[depth=2]", "Ours"]
    assert prepared.models["net[depth=2]"].name == "net"
    assert prepared.models["net[depth=2]"].depth == 2
    records = prepared.records
    assert not any(str(file.parent) in record.model_dump_json() for record in records)
    assert {record.backbone for record in records} == set(prepared.models)
    assert prepared.spec.backbones == named
    assert prepared.spec.default_name().startswith("vim_mini+net_depth_2+Ours-blots-")


def test_cells_depend_on_the_file_and_not_on_its_place(
    file: Path, small: Specs, tmp_path: Path
) -> None:
    def key(path: str, code: str) -> str:
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(code)
        spec = small(backbones=(f"{path}:net",), methods=("mtr",), budgets=(0.3,))
        return prepare(spec).main[1].key

    first = key("a/mine.py", CODE)
    assert key("b/mine.py", CODE) == first
    assert key("c/mine.py", CODE + "# changed\n") != first


def test_its_weights_lie_beside_it(file: Path, small: Specs, tmp_path: Path) -> None:
    spec = small(backbones=("mine.py:net",), checkpoint="bundled", methods=("mtr",))
    with pytest.raises(
        UserError, match=r"no weights of net are beside its file: put them at .*net"
    ):
        prepare(spec)
    torch.manual_seed(3)
    model = create_model("mine.py:net")
    untrained = weights_hash(model)
    save_file(model.state_dict(), tmp_path / "net.safetensors")
    loaded = prepare(spec).models["net"]
    assert torch.equal(loaded.head.weight, model.head.weight)  # type: ignore[union-attr]
    assert loaded.provenance is not None
    # Code may read weights by itself, so those without a file are known by their numbers.
    assert untrained != weights_hash(create_model("mine.py:net"))
    assert weights_hash(create_model("vim_nano")) is None


BROKEN = {
    "    return Mine": "    return 1 / 0; Mine",
    "    pass": "    def describe(self):\n        return None",
    "    pass\n": "    def readout(self, tokens):\n        return tokens.branch @ tokens.image\n",
    "    pass\n\n": "    def readout(self, tokens):\n        return tokens.branch\n\n",
    "    pass\n\ndef": "    provides = frozenset({'scores'})\n\ndef",
    "    pass\n\ndef net": "    def describe(self):\n"
    "        from dataclasses import replace\n"
    "        return replace(super().describe(), depth=5)\n\ndef net",
}
SAYS = (
    r"backbone 'net' \(broken.py\) cannot be made \(ZeroDivisionError: .* \(broken.py:10, in net\)\)",
    r"describes itself by a NoneType, no backbones.shape.Shape: correct the file",
    r"'net' fails on an image \(RuntimeError: .* \(broken.py:7, in readout\)\): correct it",
    r"gives logits of shape \(1, 101, 16\) for one image, not \(1, 3\): correct it",
    r"provides scores, and a trace has A, B, C, .*: correct the file",
    r"has 3 blocks and 1 special tokens, and its describe\(\) says 5 and 1: correct the file",
)


@pytest.mark.parametrize(("change", "says"), list(zip(BROKEN.items(), SAYS, strict=True)))
def test_a_broken_one_is_one_line(
    change: tuple[str, str], says: str, file: Path, small: Specs
) -> None:
    file.with_name("broken.py").write_text(CODE.replace(*change))
    with pytest.raises(UserError, match=says) as error:
        prepare(small(backbones=("broken.py:net",), methods=("mtr",), budgets=(0.3,)))
    assert "\n" not in str(error.value)

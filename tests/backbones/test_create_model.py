"""`create_model`: names, settings, published layouts, and the bundled weights."""

from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from backbones import BACKBONES, create_model, own_weights, without_weights
from backbones.common.errors import UserError
from suite.data import open_dataset, stratified


def test_every_name_makes_a_backbone_of_that_name() -> None:
    for name in BACKBONES:
        model = without_weights(name)
        assert model.name == name
        assert not model.training


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("vim_tinny", {}, "unknown backbone 'vim_tinny': did you mean vim_tiny"),
        ("vim_nano", {"dept": 2}, "no setting 'dept': did you mean depth"),
        ("vim_nano", {"image_size": 3}, "image_size 3"),
        ("vim_nano", {"depth": 0}, "depth 0"),
    ],
)
def test_what_cannot_be_made_is_named(name: str, settings: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        create_model(name, **settings)


def test_number_of_classes_and_overrides_shape_the_model() -> None:
    model = create_model("vim_tiny", num_classes=7, depth=2, image_size=64, kernel="reference")
    assert model(torch.zeros(1, 3, 64, 64)).shape == (1, 7)
    assert model.depth == 2
    assert {mixer.kernel for mixer in model.mixers()} == {"reference"}


def official(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """A file as the official training writes it; returns its plain and its averaged weights."""
    torch.manual_seed(3)
    plain, averaged = (create_model("vim_tiny", depth=1).state_dict() for _ in range(2))
    content = {
        "model": plain,
        "model_ema": averaged,
        "epoch": 299,
        "args": Namespace(model="vim_tiny", lr=1e-3),
    }
    torch.save(content, path)
    return plain, averaged


@pytest.mark.parametrize("ema", [None, False, True])
def test_a_file_in_the_published_layout_is_loaded(tmp_path: Path, ema: bool | None) -> None:
    path = tmp_path / "vim.pth"
    plain, averaged = official(path)
    model = create_model("vim_tiny", str(path), ema=ema, depth=1)
    wanted = averaged if ema else plain
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in model.state_dict().items())
    assert model.provenance is not None
    assert model.provenance.branch == ("model_ema" if ema else "model")
    assert len(model.provenance.sha256) == 64


def test_a_checkpoint_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "vim.pth"
    official(path)
    with pytest.raises(UserError, match=r"layers\.1"):
        create_model("vim_tiny", str(path), depth=2)
    with pytest.raises(UserError, match="classes"):
        create_model("vim_tiny", str(path), num_classes=10, depth=1)


def test_the_bundled_vim_nano_classifies_the_dev_split() -> None:
    model = create_model("vim_nano", "bundled")
    dataset = open_dataset("fashion-clutter", "dev")
    chosen = stratified(dataset.labels, 200)
    hits = 0
    with torch.inference_mode():
        for part in np.split(chosen, 4):
            logits = model(torch.from_numpy(dataset.samples(part, model.image_size)))
            hits += int((logits.argmax(1).numpy() == dataset.labels[part]).sum())
    assert hits > 0.85 * 200


def headless(path: Path, name: str, **settings: int) -> str:
    """A file with the weights of a small backbone, without its head."""
    state = create_model(name, **settings).state_dict()
    torch.save({key: state[key] for key in state if not key.startswith("head.")}, path)
    return str(path)


def test_advice_on_the_head_keeps_the_settings_in_use(tmp_path: Path) -> None:
    path = headless(tmp_path / "c.pth", "vim_tiny", dim=16, depth=1, image_size=64)
    for settings in ("image_size=64,dim=16,depth=1", "ema=false,image_size=64,dim=16,depth=1"):
        with pytest.raises(UserError) as error:
            create_model(f"vim_tiny[{settings}]", path)
        assert f"'vim_tiny[{settings},classes=N]'" in str(error.value)
    small = {"dim": 16, "depth": 1}
    state = create_model("vim_tiny", classes=4, image_size=64, **small).state_dict()
    torch.save(state, path)
    with pytest.raises(UserError) as error:
        create_model("vim_tiny[image_size=64]", path, num_classes=7, **small)
    assert "'vim_tiny[image_size=64,dim=16,depth=1,classes=4]'" in str(error.value)


@pytest.mark.parametrize(
    ("made_from", "name", "settings", "made_up"),
    [
        ("vim_tiny", "vim_tiny", {}, ("head (random)",)),
        ("plainmamba_l1", "plainmamba_l1", {}, ("head (random)",)),
        ("deit_tiny", "deit_tiny", {}, ("head (random)",)),
        (
            "videomamba_tiny",
            "videomamba_tiny_video",
            {"frames": 2},
            ("temporal_pos_embedding (zeros)", "head (random)"),
        ),
    ],
)
def test_what_the_file_lacks_is_said_to_be_made_up(
    tmp_path: Path,
    made_from: str,
    name: str,
    settings: dict[str, int],
    made_up: tuple[str, ...],
) -> None:
    small = {"dim": 24, "image_size": 32}
    small |= {"layers": 1, "heads": 2} if made_from == "deit_tiny" else {"depth": 1}
    path = headless(tmp_path / "c.pth", made_from, **small)
    model = create_model(name, path, num_classes=3, **small, **settings)
    assert model.provenance is not None
    assert model.provenance.made_up == made_up
    assert model.provenance.told().endswith(f"made up, not trained: {', '.join(made_up)}")


def test_an_image_models_head_does_not_serve_for_clips(tmp_path: Path) -> None:
    small = {"dim": 16, "depth": 1, "image_size": 32}
    state = create_model("videomamba_tiny", classes=3, **small).state_dict()
    torch.save(state, tmp_path / "c.pth")
    model = create_model("videomamba_tiny_video", str(tmp_path / "c.pth"), num_classes=3, **small)
    assert model.provenance is not None
    assert model.provenance.made_up == ("temporal_pos_embedding (zeros)", "head (random)")
    assert not torch.equal(model.get_parameter("head.weight"), state["head.weight"])


def test_whole_weights_have_nothing_made_up(tmp_path: Path) -> None:
    settings = {"dim": 24, "depth": 2, "image_size": 32}
    model = create_model("plainmamba_l1", **settings)
    state = model.state_dict()
    # the counter of a batch norm, which no evaluation reads, may be missing
    short = {name: state[name] for name in state if not name.endswith("num_batches_tracked")}
    assert len(short) < len(state)
    torch.save(short, tmp_path / "c.pth")
    loaded = create_model("plainmamba_l1", str(tmp_path / "c.pth"), **settings)
    assert loaded.provenance is not None
    assert (loaded.provenance.told(), loaded.provenance.made_up) == ("", ())
    assert torch.equal(
        loaded.get_buffer("patch_embed.stem.1.running_var"), state["patch_embed.stem.1.running_var"]
    )
    # a statistic is read, and may not
    del short["patch_embed.stem.1.running_var"]
    torch.save(short, tmp_path / "c.pth")
    with pytest.raises(UserError, match=r"1 keys missing \(patch_embed.stem.1.running_var\)"):
        create_model("plainmamba_l1", str(tmp_path / "c.pth"), **settings)


@pytest.mark.parametrize(
    ("shape", "advice", "mended"),
    [
        ((3, 56, 56), r"images\[None\]", lambda x: x[None]),
        ((1, 56, 56), "grey channel and add", lambda x: x.expand(3, -1, -1)[None]),
        ((56, 56, 3), "channels first and add", lambda x: x.permute(2, 0, 1)[None]),
        ((56, 56), "batch and channels", lambda x: x.expand(1, 3, -1, -1)),
        ((2, 1, 56, 56), "repeat the grey channel", lambda x: x.expand(-1, 3, -1, -1)),
        ((2, 56, 56, 3), "channels first", lambda x: x.permute(0, 3, 1, 2)),
        ((2, 4, 56, 56), "red, green and blue", lambda x: x[:, :3]),
        ((2, 3, 40, 56), "squares of 56", lambda x: torch.nn.functional.pad(x, (0, 0, 8, 8))),
        ((2, 3, 64, 64), "image_size=64", lambda x: x[..., 4:60, 4:60]),
    ],
)
def test_advice_on_the_shape_of_images_helps(
    shape: tuple[int, ...], advice: str, mended: Callable[[Tensor], Tensor]
) -> None:
    model = create_model("vim_pico")
    images = torch.zeros(shape)
    with pytest.raises(UserError, match=advice):
        model(images)
    with torch.inference_mode():
        assert model(mended(images)).shape[1] == 10


def test_images_that_were_not_normalised_are_refused() -> None:
    with pytest.raises(UserError, match="got numbers of type uint8: divide them by 255, then"):
        create_model("vim_pico")(torch.zeros(1, 3, 56, 56, dtype=torch.uint8))


def test_a_setting_names_weights_of_one_backbone(tmp_path: Path) -> None:
    model = create_model("vim_pico[classes=3]")
    file = tmp_path / "three.safetensors"
    save_file(model.state_dict(), file)
    loaded = create_model(f"vim_pico[weights={file}]", "bundled")
    assert loaded.describe().classes == 3
    assert loaded.provenance is not None
    assert loaded.provenance.source == str(file)
    assert torch.equal(loaded.state_dict()["head.weight"], model.state_dict()["head.weight"])
    assert own_weights(f"Mine=vim_pico[depth=2,weights={file}]") == (
        "Mine=vim_pico[depth=2]",
        str(file),
    )
    assert own_weights("vim_pico[depth=2]") == ("vim_pico[depth=2]", None)
    with pytest.raises(UserError, match="3 is no file of weights: write its path"):
        create_model("vim_pico[weights=3]")
    with pytest.raises(UserError, match=r"nowhere\.pt does not exist"):
        create_model("vim_pico[weights=nowhere.pt]")


def test_a_function_that_takes_weights_gets_them(tmp_path: Path) -> None:
    net = tmp_path / "net.py"
    net.write_text(
        "from backbones import create_model\n"
        "def net(weights='none'):\n"
        "    model = create_model('vim_pico')\n    model.said = weights\n    return model\n"
    )
    assert create_model(f"{net}:net[weights=mine]").said == "mine"

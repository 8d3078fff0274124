"""Heads on frozen bodies: the loss by hand, a training that learns, and a file that names its body."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from backbones import create_model
from backbones.checkpoints import source
from backbones.checkpoints.body import KEY
from backbones.checkpoints.published import WEIGHTS, card_scores
from backbones.checkpoints.read import sha256
from backbones.common.errors import UserError
from suite.cli import run as run_cli
from suite.data.images.clutter import FashionClutter, open_garments
from suite.training import heads
from suite.training.recipes import RECIPES, HeadRecipe

SMALL = HeadRecipe("vim_nano_linear", images=48, epochs=4, batch=8, learning_rate=2e-2)


@pytest.fixture(autouse=True)
def _bundled_garments(monkeypatch: pytest.MonkeyPatch) -> None:
    """The full originals need not be on a machine that tests."""

    def images(split: str, source: str | None, variant: int = 0) -> FashionClutter:
        split = "test" if split == "test" else "dev"
        return FashionClutter(open_garments(split, "bundled"), variant, task="segmentation")

    monkeypatch.setattr(heads, "segmentation_images", images)


@pytest.fixture(scope="module")
def features() -> heads.Features:
    dataset = FashionClutter(open_garments("dev", "bundled"), 1, task="segmentation")
    return heads.features_of(heads.on_bundled_body(SMALL), dataset, SMALL.images, "cpu")


def test_features_are_what_the_body_leaves_before_the_norm(features: heads.Features) -> None:
    model = heads.on_bundled_body(SMALL)
    body = create_model("vim_nano", "bundled")
    dataset = heads.segmentation_images("dev", None, 1)
    with torch.inference_mode():
        tokens = body.run(body.embed(torch.from_numpy(dataset.samples(np.arange(5), 56))))
        total = (tokens.residual + tokens.branch).gather(
            1, tokens.patches()[..., None].expand(-1, -1, 64)
        )
    assert torch.equal(features.maps[0][:5].flatten(1, 2), total)
    assert features.truth.shape == (48, 56, 56)
    assert not any(part.is_inference() for part in (*features.maps, features.truth))
    assert model.decode_head.classes == 11


def test_the_loss_is_that_of_every_pixel(features: heads.Features) -> None:
    model = heads.on_bundled_body(SMALL)
    rows = torch.tensor([3, 40])
    truth = features.truth.clone()
    truth[3, :20] = heads.IGNORED
    loss = heads.pixel_loss(model, replace(features, truth=truth), rows)
    with torch.no_grad():
        norm = next(iter(model.decode_head.norms))
        logits = model.decode_head([norm(features.maps[0][rows]).permute(0, 3, 1, 2)])
        pixels = torch.nn.functional.interpolate(logits, (56, 56), mode="bilinear").double()
        shares = pixels.log_softmax(1).numpy()
    found = [
        -shares[b, truth[row, y, x], y, x]
        for b, row in enumerate((3, 40))
        for y in range(56)
        for x in range(56)
        if truth[row, y, x] != heads.IGNORED
    ]
    assert float(loss.detach()) == pytest.approx(np.mean(found), abs=1e-6)


def test_training_learns_and_repeats_itself_to_the_bit(features: heads.Features) -> None:
    states, losses = [], []
    for _ in range(2):
        figures: list[dict[str, float]] = []
        model = heads.on_bundled_body(SMALL)
        body = {name: value.clone() for name, value in model.backbone.state_dict().items()}
        heads.train_head(model, features, SMALL, figures.append)
        states.append(model.decode_head.state_dict())
        losses.append([epoch["loss"] for epoch in figures])
        assert all(torch.equal(model.backbone.state_dict()[name], body[name]) for name in body)
    assert losses[0] == losses[1]
    assert losses[0][-1] < 0.5 * losses[0][0]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_pixels_are_counted_by_true_and_predicted_class() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 4, 4, generator=generator)
    truth = torch.randint(0, 3, (2, 4, 4), generator=generator).to(torch.uint8)
    truth[0, 0] = heads.IGNORED
    expected = np.zeros((3, 3), np.int64)
    for true, predicted in zip(truth.flatten().tolist(), logits.argmax(1).flatten(), strict=True):
        if true != heads.IGNORED:
            expected[true, predicted] += 1
    assert np.array_equal(heads.confusion(logits, truth), expected)


def test_the_command_writes_a_head_that_names_its_body_and_a_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(RECIPES, SMALL.backbone, replace(SMALL, images=16, epochs=1))
    monkeypatch.setattr(heads, "score", lambda *_: heads.Score(0.4321, 0.9, 1000))
    out = tmp_path / "run"
    command = ["train", "--recipe", SMALL.backbone, "--out", str(out), "--final"]
    assert run_cli([*command, "--device", "cpu"]) == 0
    assert "mIoU on test: 43.21 % of 1,000 images" in capsys.readouterr().out
    path = out / "vim_nano_linear.safetensors"
    assert {name.partition(".")[0] for name in load_file(path)} == {"decode_head"}
    with safe_open(path, framework="pt") as file:
        record = json.loads(file.metadata()[KEY])
    assert record == {"name": "vim_nano", "sha256": sha256(WEIGHTS / "vim_nano.safetensors")}
    rows = list(card_scores("vim_nano_linear", (out / "vim_nano_linear.md").read_text("utf-8")))
    assert [(row.split, row.top1, row.task, row.classes) for row in rows] == [
        ("dev", 43.21, "segmentation", 11),
        ("test", 43.21, "segmentation", 11),
    ]
    model = create_model("vim_nano_linear", str(path))
    body = create_model("vim_nano", "bundled").state_dict()
    own = model.state_dict()
    assert {f"backbone.{name}" for name in body} - own.keys() == {
        "backbone.head.weight",
        "backbone.head.bias",
    }
    for name, value in own.items():
        if name.startswith("backbone."):
            assert torch.equal(value, body[name.removeprefix("backbone.")])


def damaged(path: Path, record: Any) -> Path:
    tensors = load_file(WEIGHTS / "vim_nano_linear.safetensors")
    save_file(tensors, path, metadata={KEY: record})
    return path


def test_a_head_whose_body_is_another_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = json.dumps({"name": "vim_nano", "sha256": "0" * 64})
    with pytest.raises(UserError, match="a head on weights of vim_nano with SHA-256 0000"):
        create_model("vim_nano_linear", str(damaged(tmp_path / "a.safetensors", other)))
    with pytest.raises(UserError, match="damaged record of its body"):
        create_model("vim_nano_linear", str(damaged(tmp_path / "b.safetensors", "[]")))
    unknown = json.dumps({"name": "nobody", "sha256": "0" * 64})
    with pytest.raises(UserError, match="no weights of nobody are bundled"):
        create_model("vim_nano_linear", str(damaged(tmp_path / "c.safetensors", unknown)))
    # the head alone, without a word of its body
    save_file(load_file(WEIGHTS / "vim_nano_linear.safetensors"), tmp_path / "d.safetensors")
    with pytest.raises(UserError, match="keys missing"):
        create_model("vim_nano_linear", str(tmp_path / "d.safetensors"))
    monkeypatch.setattr(source, "WEIGHTS", tmp_path)
    shutil.copy(WEIGHTS / "vim_nano_linear.safetensors", tmp_path)
    with pytest.raises(UserError, match="no weights of vim_nano are bundled"):
        create_model("vim_nano_linear", "bundled")


@pytest.mark.parametrize(
    "name", [name for name, made in RECIPES.items() if isinstance(made, HeadRecipe)]
)
def test_bundled_heads_are_small_and_name_their_body(name: str) -> None:
    assert (WEIGHTS / f"{name}.safetensors").stat().st_size < 1_000_000
    model = create_model(name, "bundled")
    assert model.task == "segmentation"
    dataset = FashionClutter(open_garments("test", "bundled"), task="segmentation")
    images, truth = next(heads.batches_of(dataset, np.arange(64), 56, "cpu"))
    with torch.inference_mode():
        matrix = heads.confusion(model(images), truth)
    # above what naming all background gives, by far
    assert heads.pixel_accuracy(matrix) > float((truth == 0).double().mean()) + 0.05

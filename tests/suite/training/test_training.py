"""Training: the schedule by hand, and a run that was cut in two ends in the same weights."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.torch import load_file

from backbones import BACKBONES, create_model
from backbones.common.errors import UserError
from backbones.models.sizes import MambaConfig
from backbones.models.vim import Vim
from suite.cli import run as run_cli
from suite.training import export
from suite.training.augment import Augmentation
from suite.training.batches import Batches
from suite.training.distributed import ProcessGroup
from suite.training.images import training_images
from suite.training.loop import Trainer, build_optimizers, fingerprint, learning_rate, normalise
from suite.training.recipes import RECIPES, Phase, Recipe, find_recipe

RECIPE = Recipe(
    backbone="vim_sprout",
    dataset="fashion-clutter",
    phases=(Phase(8, 2), Phase(16, 2)),
    batch=4,
    learning_rate=1e-2,
    warmup_epochs=1.0,
    horizontal_flip=True,
    label_smoothing=0.1,
)


@dataclass(frozen=True)
class Noise:
    """Thirteen images whose brightness tells their class; every variant is another noise."""

    mean: tuple[float, float, float] = (0.5, 0.4, 0.3)
    std: tuple[float, float, float] = (0.2, 0.3, 0.4)

    @property
    def labels(self) -> NDArray[np.int64]:
        return np.arange(13, dtype=np.int64) % 2

    def render(self, indices: NDArray[np.int64], variant: int) -> NDArray[np.uint8]:
        images = [
            np.random.default_rng([int(i), variant]).integers(0, 128, (16, 16, 3)) for i in indices
        ]
        return np.stack(images).astype(np.uint8) + (100 * self.labels[indices])[
            :, None, None, None
        ].astype(np.uint8)


def vim_sprout(**overrides: Any) -> Vim:
    """Two narrow blocks over 4 x 4 patches."""
    return Vim(
        "vim_sprout",
        MambaConfig(dim=16, depth=2, states=4, image_size=16, patch=4, stride=4, classes=2),
    )


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKBONES._added, "vim_sprout", vim_sprout)
    monkeypatch.setitem(RECIPES, "sprout", RECIPE)


def trainer(out: Path, recipe: Recipe = RECIPE) -> Trainer:
    return Trainer(recipe, Noise(), out, "cpu", 0, "auto")


def ignore(figures: dict[str, float]) -> None:
    """Report to nobody."""


def state_of(one: Trainer) -> dict[str, torch.Tensor]:
    moments = {
        f"moment {type(optimizer).__name__} {index} {name}": value
        for optimizer in one.optimizers
        for index, values in optimizer.state_dict()["state"].items()
        for name, value in values.items()
    }
    averaged = {f"ema {name}": value for name, value in one.ema.items()}
    return {**one.model.state_dict(), **averaged, **moments}


@pytest.mark.parametrize(("stops", "optimizer"), [([0.0], "muon"), ([0.0, 0.0, 0.0], "adamw")])
def test_a_run_cut_in_pieces_ends_in_the_same_weights(
    tmp_path: Path, stops: list[float], optimizer: str
) -> None:
    recipe = replace(RECIPE, optimizer=optimizer)
    whole = trainer(tmp_path / "whole", recipe)
    assert whole.run(ignore)
    for seconds in stops:
        assert not trainer(tmp_path / "cut", recipe).run(ignore, max_seconds=seconds)
    last = trainer(tmp_path / "cut", recipe)
    assert last.done.epoch == len(stops)
    assert last.run(ignore)
    expected, resumed = state_of(whole), state_of(last)
    assert expected.keys() == resumed.keys()
    assert all(torch.equal(expected[name], resumed[name]) for name in expected)
    assert (last.done.epoch, last.done.step) == (4, 12)
    assert last.run(ignore)
    assert last.done.step == 12


def test_training_lowers_the_loss(tmp_path: Path) -> None:
    losses: list[float] = []
    trainer(tmp_path, replace(RECIPE, phases=(Phase(16, 12),))).run(
        lambda figures: losses.append(figures["loss"])
    )
    assert losses[-1] < 0.7 * losses[0]


def test_the_state_of_another_recipe_is_refused(tmp_path: Path) -> None:
    trainer(tmp_path).run(ignore, max_seconds=0)
    with pytest.raises(UserError, match="another version of recipe 'vim_sprout'"):
        trainer(tmp_path, replace(RECIPE, weight_decay=0.1))


@pytest.mark.parametrize("content", [b"", b"not a state", b"\x08\0\0\0\0\0\0\0{}      "])
def test_a_file_that_is_no_state_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "state.safetensors").write_bytes(content)
    with pytest.raises(UserError, match="is not a training state"):
        trainer(tmp_path)


def test_a_truncated_state_is_refused(tmp_path: Path) -> None:
    one = trainer(tmp_path)
    one.run(ignore, max_seconds=0)
    one.state_path.write_bytes(one.state_path.read_bytes()[:-100])
    with pytest.raises(UserError, match="is not a training state"):
        trainer(tmp_path)


def test_a_killed_save_leaves_the_epoch_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = trainer(tmp_path)
    one.run(ignore, max_seconds=0)

    def killed(source: Any, target: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("suite.system.atomic_files.os.replace", killed)
        with pytest.raises(KeyboardInterrupt):
            one.run(ignore)
    assert trainer(tmp_path).done.epoch == 1


def test_the_rate_by_hand() -> None:
    recipe = replace(
        RECIPES["vim_nano"],
        learning_rate=1.0,
        minimum_rate=0.1,
        warmup_epochs=4,
        phases=(Phase(56, 20),),
    )
    assert [learning_rate(recipe, progress) for progress in (0, 1, 3)] == [0, 0.25, 0.75]
    assert learning_rate(recipe, 4) == 1
    assert learning_rate(recipe, 12) == pytest.approx(0.55)
    assert learning_rate(recipe, 8) == pytest.approx(0.1 + 0.9 * (1 + math.sqrt(0.5)) / 2)
    assert learning_rate(recipe, 20) == learning_rate(recipe, 21) == pytest.approx(0.1)


@given(st.floats(0, 30), st.floats(0, 30))
def test_the_rate_rises_through_the_warm_up_and_falls_after_it(one: float, other: float) -> None:
    first, second = sorted((one, other))
    recipe = replace(RECIPE, phases=(Phase(16, 30),), warmup_epochs=5)
    low, high = learning_rate(recipe, first), learning_rate(recipe, second)
    assert 0 <= low <= recipe.learning_rate
    if second < 5:
        assert low <= high
    elif first >= 5:
        assert low >= high - 1e-15


def test_phases_follow_each_other() -> None:
    recipe = replace(RECIPE, phases=(Phase(8, 2), Phase(16, 1)))
    assert [recipe.phase_of(epoch).image_size for epoch in range(3)] == [8, 8, 16]
    assert recipe.epochs == 3
    with pytest.raises(IndexError):
        recipe.phase_of(3)


@settings(deadline=None)
@given(st.integers(0, 5))
def test_an_epoch_shows_each_image_at_most_once_in_an_order_of_its_own(epoch: int) -> None:
    batches, again = (Batches(Noise(), RECIPE, ProcessGroup()) for _ in range(2))
    shown = batches.order(epoch).flatten().tolist()
    assert batches.per_epoch == 3
    assert len(set(shown)) == len(shown) == 12
    assert shown != batches.order(epoch + 1).flatten().tolist()
    for index in range(3):
        (images, labels), (others, same) = batches[epoch, index], again[epoch, index]
        assert torch.equal(images, others)
        assert torch.equal(labels, same)
        assert images.shape == (4, 3, 16, 16)


@pytest.mark.parametrize("epoch", [0, 3])
def test_two_processes_share_a_batch(epoch: int) -> None:
    recipe = replace(RECIPE, augmentation=Augmentation(smallest_crop=0.5))
    whole = Batches(Noise(), recipe, ProcessGroup())[epoch, 1]
    for rank in range(2):
        images, labels = Batches(Noise(), recipe, ProcessGroup(rank, 2))[epoch, 1]
        assert torch.equal(images, whole[0][rank::2])
        assert torch.equal(labels, whole[1][rank::2])
    with pytest.raises(UserError, match="3 processes cannot share a batch of 4"):
        Batches(Noise(), recipe, ProcessGroup(0, 3))


@pytest.mark.parametrize(
    ("batch", "said"),
    [
        (4, "an epoch leaves out 1 image, which fills no batch of 4, others each time"),
        (10, "an epoch leaves out 3 images, which fill no batch of 10, others each time"),
        (13, ""),
    ],
)
def test_images_that_fill_no_batch_are_said(batch: int, said: str) -> None:
    batches = Batches(Noise(), replace(RECIPE, batch=batch), ProcessGroup())
    assert batches.left_out == said
    assert batches.order(0).size == 13 - 13 % batch


def test_flips_mirror_columns_and_nothing_else() -> None:
    plain = Batches(Noise(), replace(RECIPE, horizontal_flip=False), ProcessGroup())
    flipped = Batches(Noise(), RECIPE, ProcessGroup())
    mirrored = 0
    for index in range(3):
        for image, other in zip(plain[0, index][0], flipped[0, index][0], strict=True):
            mirrored += int(torch.equal(image.flip(2), other))
            assert torch.equal(image, other) or torch.equal(image.flip(2), other)
    assert 0 < mirrored < 12


def test_pixels_are_normalised_and_averaged_over_areas() -> None:
    images = torch.randint(
        0, 256, (2, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    averaged = normalise(images, Noise(), 8)
    for channel, (mean, std) in enumerate(zip(Noise().mean, Noise().std, strict=True)):
        corner = (images[1, channel, 2:4, 4:6].double().mean() / 255 - mean) / std
        assert float(averaged[1, channel, 1, 2]) == pytest.approx(float(corner), abs=1e-5)
    assert normalise(images, Noise(), 16).shape == (2, 3, 16, 16)


def test_decay_spares_vectors_embeddings_and_the_scan() -> None:
    model = create_model("vim_sprout")
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decayed, spared = (
        {names[id(parameter)] for parameter in group["params"]}
        for optimizer in build_optimizers(model, RECIPE)
        for group in optimizer.param_groups
    )
    assert decayed | spared == set(names.values())
    assert not decayed & spared
    mixer = (
        "in_proj",
        "out_proj",
        "x_proj",
        "x_proj_b",
        "dt_proj",
        "dt_proj_b",
        "conv1d",
        "conv1d_b",
    )
    matrices = {f"layers.{layer}.mixer.{part}.weight" for layer in range(2) for part in mixer}
    assert decayed == matrices | {"patch_embed.proj.weight", "head.weight"}


def test_muon_turns_the_projections_by_hand(tmp_path: Path) -> None:
    recipe = replace(RECIPE, optimizer="muon", weight_decay=0.1)
    model = create_model("vim_sprout")
    adamw, muon = build_optimizers(model, recipe)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    (projections,) = ([names[id(p)] for p in group["params"]] for group in muon.param_groups)
    assert projections == [
        f"layers.{layer}.mixer.{part}_proj.weight" for layer in range(2) for part in ("in", "out")
    ]
    assert not any(names[id(p)] in projections for g in adamw.param_groups for p in g["params"])
    weight = model.layers[0].mixer.in_proj.weight
    before = weight.detach().clone()
    weight.grad = torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    u, _, v = torch.linalg.svd(weight.grad, full_matrices=False)
    muon.step()
    # All singular values near 1, times 0.2 sqrt(64): the size of a step of AdamW.
    step = ((1 - 1e-2 * 0.1) * before - weight.detach()) / (1e-2 * 0.2 * 8)
    turned = u.T @ step @ v.T
    assert ((turned.diag() > 0.6) & (turned.diag() < 1.3)).all()
    assert (turned - turned.diag().diag()).abs().max() < 0.05


def test_the_rate_changes_with_every_step(tmp_path: Path) -> None:
    one, rates = trainer(tmp_path, replace(RECIPE, optimizer="muon")), list[float]()
    for optimizer in one.optimizers:
        optimizer.register_step_pre_hook(lambda self, *_: rates.append(self.param_groups[-1]["lr"]))
    one.run(ignore)
    expected = [learning_rate(RECIPE, step / 3) for step in range(12)]
    assert rates[::2] == rates[1::2] == pytest.approx(expected)


def test_the_average_follows_the_weights_by_hand(tmp_path: Path) -> None:
    one = trainer(tmp_path)
    name = "head.weight"
    average = one.model.state_dict()[name].clone()
    seen = []
    step = one._step

    def spied(images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        out = step(images, labels)
        seen.append(one.model.state_dict()[name].clone())
        return out

    one._step = spied  # type: ignore[method-assign]
    one.run(ignore, max_seconds=0)
    for count, weights in enumerate(seen, start=1):
        decay = min(RECIPE.ema_decay, (1 + count) / (10 + count))
        average = decay * average + (1 - decay) * weights
    torch.testing.assert_close(one.ema[name], average, rtol=1e-5, atol=1e-6)


def test_a_recipe_is_known_by_everything_it_says() -> None:
    assert fingerprint(RECIPE) == fingerprint(replace(RECIPE))
    assert fingerprint(RECIPE) != fingerprint(replace(RECIPE, phases=(Phase(8, 2), Phase(16, 3))))
    assert find_recipe("vim_nano").backbone == "vim_nano"
    with pytest.raises(UserError, match="did you mean vim_nano"):
        find_recipe("vimnano")


def test_no_training_form_is_named() -> None:
    with pytest.raises(UserError, match="no training form of 'imagenet'"):
        training_images("imagenet", "train", None)
    with pytest.raises(UserError, match="does not come with the suite: name the folder"):
        training_images("tiny-imagenet", "train", None)


def test_the_command_leaves_weights_that_load_and_a_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    splits: list[str] = []

    def images(dataset: str, split: str, source: str | None, cache: Path) -> Noise:
        splits.append(split)
        return Noise()

    monkeypatch.setattr("suite.training.images.training_images", images)
    line = [
        "train",
        "--recipe",
        "sprout",
        "--out",
        str(tmp_path),
        "--device",
        "cpu",
        "--workers",
        "0",
    ]
    assert run_cli([*line, "--max-minutes", "0.0000001"]) == 0
    assert "stopped after epoch 1 of 4: run the same command to continue" in capsys.readouterr().out
    assert not (tmp_path / "vim_sprout.md").exists()
    assert run_cli(line) == 0
    assert splits == ["train", "train", "dev"]
    weights = load_file(tmp_path / "vim_sprout.safetensors")
    averaged = load_file(tmp_path / "state.safetensors")
    assert all(torch.equal(tensor, averaged[f"ema.{name}"]) for name, tensor in weights.items())
    model = create_model("vim_sprout", str(tmp_path / "vim_sprout.safetensors"))
    top1 = export.accuracy(model, Noise(), "cpu", batch=5)
    hits = 0
    for index in range(13):
        image = torch.from_numpy(Noise().render(np.array([index]), 0)).permute(0, 3, 1, 2)
        with torch.no_grad():
            hits += int(model(normalise(image, Noise(), 16)).argmax()) == index % 2
    assert top1 == hits / 13
    card = (tmp_path / "vim_sprout.md").read_text("utf-8")
    assert f"| dev | 13 | {100 * top1:.2f} % |" in card
    assert "| test |" not in card
    assert "4 epochs,\n12 steps" in card
    assert "2 epochs at 8 px, then 2 epochs at 16 px" in card
    assert run_cli([*line, "--final"]) == 0
    assert "| test | 13 |" in (tmp_path / "vim_sprout.md").read_text("utf-8")

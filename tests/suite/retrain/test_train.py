"""Training under a reduction: a straight-line loop in fp64, and the same bytes wherever it is cut."""

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from backbones.base import Backbone
from backbones.common.errors import UserError
from backbones.sequence import TokenSequence
from methods.reducer import Reducer
from suite.plan.cells import Cell
from suite.retrain.files import STATES, Files
from suite.retrain.prepare import Retraining, Training, prepare_retraining
from suite.retrain.run import run_retraining
from suite.retrain.spec import RetrainSpec
from suite.retrain.train import train_all, trainer_of
from suite.training import state
from suite.training.distributed import ProcessGroup
from suite.training.loop import Forward, Trainer

Make = Callable[..., RetrainSpec]
ALONE = ProcessGroup()
STREAMS = ("branch", "residual", "position", "size")


def ignore(text: str) -> None:
    """Say it to nobody."""


def trainer(retraining: Retraining, training: Training, folder: Path) -> Trainer:
    model = retraining.models[training.backbone]
    folder.mkdir(exist_ok=True)
    images = retraining.data.images_for(model, retraining.crop, folder)
    return trainer_of(retraining, training, retraining.spec.rates[0], images, folder, ALONE)


def merged_by_hand(reducer: Reducer, tokens: TokenSequence) -> TokenSequence:
    """What `reducer` makes of `tokens`, each new row written out as the mean of its members by size.

    The reducer only says which tokens are together, and where they stand.
    """
    with torch.no_grad():
        out = reducer(tokens)
    assert out.owner is not None
    owner, position, size = out.owner.tolist(), tokens.position.tolist(), tokens.size.tolist()
    streams: dict[str, Tensor] = {}
    for name in ("branch", "residual"):
        rows = getattr(tokens, name)
        images = []
        for b in range(tokens.batch):
            new: list[Tensor] = []
            for slot in range(out.length):
                total, weight = torch.zeros_like(rows[b, 0]), 0.0
                for place in range(tokens.length):
                    if owner[b][position[b][place]] == slot:
                        total = total + size[b][place] * rows[b, place]
                        weight += size[b][place]
                new.append(total / weight)
            images.append(torch.stack(new))
        streams[name] = torch.stack(images)
    return replace(out, **streams)


def logits_by_hand(model: Backbone, pixels: Tensor, cell: Cell) -> Tensor:
    sites = cell.reducers()
    if cell.composition is None:
        model, tokens = fewer_by_hand(model, pixels, cell)
    else:
        tokens = model.embed(pixels).tracked()
    for number, block in enumerate(model.blocks):
        if number in sites:
            tokens = merged_by_hand(sites[number], tokens)
        needs = sites[number + 1].needs if number + 1 in sites else frozenset()
        tokens = block(tokens, needs)
    return model.readout(tokens)


def bicubic(longer: int, shorter: int) -> Tensor:
    """Keys' filter (a = -1/2), stretched by the ratio of the lengths: (shorter, longer)."""
    scale = longer / shorter
    weights = torch.zeros(shorter, longer, dtype=torch.float64)
    for new in range(shorter):
        for old in range(longer):
            x = abs((old + 0.5 - (new + 0.5) * scale) / max(scale, 1.0))
            if x < 1:
                weights[new, old] = 1.5 * x**3 - 2.5 * x**2 + 1
            elif x < 2:
                weights[new, old] = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return weights / weights.sum(1, keepdim=True)


def roughest(image: Tensor, height: float, width: float, whole: int) -> tuple[int, int]:
    """Top and left pixel of the window of most variance within 2 x 2 pixels, place by place."""
    side, steps = image.shape[-1], 2 * whole
    cell = side / steps
    energy = torch.zeros(steps, steps, dtype=torch.float64)
    for row in range(0, side, 2):
        for column in range(0, side, 2):
            block = image[:, row : row + 2, column : column + 2].double()
            spread = (block - block.mean((1, 2), keepdim=True)).square().sum()
            energy[int(row // cell), int(column // cell)] += spread
    down, across = (min(steps, max(1, round(length / cell))) for length in (height, width))
    most, best = -1.0, (0, 0)
    for row in range(steps - down + 1):
        for column in range(steps - across + 1):
            inside = float(energy[row : row + down, column : column + across].sum())
            if inside > most + 1e-9:
                most, best = inside, (row, column)
    top, left = (
        min(max(round((place + span / 2) * cell - length / 2), 0), side - round(length))
        for place, span, length in zip(best, (down, across), (height, width), strict=True)
    )
    return top, left


def fewer_by_hand(model: Backbone, pixels: Tensor, cell: Cell) -> tuple[Backbone, TokenSequence]:
    """A smaller image, or the patches of a window of it, with the model for that size."""
    side, size = pixels.shape[-1], cell.image_size
    smaller = model.resized(size)
    if cell.view is None:
        filters = bicubic(side, size)
        return smaller, smaller.embed(filters @ pixels @ filters.T)
    grid, whole, patches = math.ceil(math.sqrt(cell.view.patches)), 8, cell.view.patches
    shrunk = (patches / whole**2) ** (cell.view.zoom / 2)
    width = min(side, grid * side / whole / shrunk)
    height = min(side, patches / grid * side / whole / shrunk)
    squares = []
    for image in pixels:
        top, left = roughest(image, height, width, whole)
        # Below the image its last row goes on.
        rows = [min(top + step, side - 1) for step in range(round(width))]
        squares.append(image[:, rows, left : left + round(width)])
    filters = bicubic(round(width), size)
    tokens = smaller.embed(filters @ torch.stack(squares) @ filters.T)
    place = int(tokens.special[0, 0])
    kept = [at for at in range(tokens.length) if at == place or at - (at > place) < patches]
    cut = {name: getattr(tokens, name)[:, kept] for name in STREAMS}
    special = torch.full_like(tokens.special, kept.index(place))
    return smaller, replace(tokens, **cut, special=special, lattice=None)


def rate_by_hand(progress: float, epochs: int, most: float) -> float:
    warm = epochs / 10
    if progress < warm:
        return most * progress / warm
    share = (progress - warm) / (epochs - warm)
    return most / 20 + (most - most / 20) * (1 + math.cos(math.pi * share)) / 2


@pytest.mark.parametrize("method", ["tome", "crop-shrink", "downsample"])
def test_steps_are_those_of_a_straight_line(
    method: str, retrain_spec: Make, tmp_path: Path
) -> None:
    # Two budgets in turn, in fp64.
    spec = retrain_spec(
        methods=(method,),
        budgets=(0.2, 0.4),
        mixed=True,
        precision="fp64",
        distill=0.5,
        augment="none",
        epochs=1,
        train_batch=4,
    )
    retraining = prepare_retraining(spec)
    training = retraining.trainings[-1]
    assert [cell.budget for cell in training.cells] == [0.2, 0.4]
    ours = trainer(retraining, training, tmp_path)
    model = copy.deepcopy(ours.model)
    teacher = copy.deepcopy(model).eval()
    mean, std = (torch.tensor(part).view(3, 1, 1) for part in (ours.dataset.mean, ours.dataset.std))
    names = [name for name, _ in model.named_parameters()]
    first = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    second = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    average = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    steps = ours.batches.per_epoch
    assert steps == 3
    for step in range(steps):
        images, labels = ours.batches[0, step]
        pixels = ((images.float() / 255 - mean) / std).double()
        logits = logits_by_hand(model, pixels, training.cells[step % 2])
        chances = logits.log_softmax(1)
        loss = -sum(chances[b, label] for b, label in enumerate(labels.tolist())) / len(labels)
        with torch.no_grad():
            taught = teacher(pixels).log_softmax(1)
        loss = loss + 0.5 * (taught.exp() * (taught - chances)).sum() / len(labels)
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        norm = math.sqrt(sum(float((g * g).sum()) for g in gradients))
        shrink = min(1.0, 1.0 / (norm + 1e-6))
        rate = rate_by_hand(step / steps, 1, 1e-2)
        with torch.no_grad():
            for name, parameter, gradient in zip(names, model.parameters(), gradients, strict=True):
                g = gradient * shrink
                first[name] = 0.9 * first[name] + 0.1 * g
                second[name] = 0.999 * second[name] + 0.001 * g * g
                vector = parameter.ndim < 2 or "token" in name or "pos_embed" in name
                spared = vector or "A_" in name or name.endswith("bias")
                parameter *= 1.0 if spared else 1 - rate * 0.05
                ahead = first[name] / (1 - 0.9 ** (step + 1))
                width = (second[name] / (1 - 0.999 ** (step + 1))).sqrt() + 1e-8
                parameter -= rate * ahead / width
            keep = min(0.9995, (2 + step) / (11 + step))
            for name, value in model.state_dict().items():
                average[name] = keep * average[name] + (1 - keep) * value
    ours.run(lambda figures: None)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(ours.model.state_dict()[name], value, rtol=1e-6, atol=1e-8)
        torch.testing.assert_close(ours.ema[name], average[name], rtol=1e-6, atol=1e-8)


class Cut(Exception):
    """A process that ends here."""


def cut_after(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, calls: int) -> None:
    """Let the function `name` end the process at this call of it, counted from 0."""
    plain, counted = getattr(owner, name), [0]

    def cutting(*arguments: Any, **named: Any) -> Any:
        if counted[0] == calls:
            raise Cut
        counted[0] += 1
        return plain(*arguments, **named)

    monkeypatch.setattr(owner, name, cutting)


PLACES: dict[str, tuple[Any, str, int]] = {
    "at the first step": (Trainer, "_step", 0),
    "within an epoch": (Trainer, "_step", 3),
    "before a state is saved": (state, "save", 1),
    "between trainings": (state, "save", 2),
    "within the last training": (Trainer, "_step", 6),
    "after the last step": (Files, "write_record", 1),
}


WHOLE: dict[str, dict[str, bytes]] = {}  # by method the files that nothing cut, made once


def weights_of(folder: Path) -> dict[str, bytes]:
    files = sorted((folder / "weights").glob("*.safetensors"))
    return {file.name: file.read_bytes() for file in files}


QUICK = ("at the first step", "within an epoch", "within the last training")


@pytest.mark.parametrize(
    "place",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in PLACES],
)
@pytest.mark.parametrize("method", ["random", "crop-shrink[where=random]"])
def test_wherever_it_is_cut_the_weights_are_the_same_bytes(
    method: str, place: str, retrain_spec: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    retraining = prepare_retraining(
        retrain_spec(methods=(method,), budgets=(0.375,), augment="strong")
    )
    with monkeypatch.context() as patch:
        cut_after(patch, *PLACES[place])
        with pytest.raises(Cut):
            train_all(retraining, tmp_path / "cut", ALONE, ignore)
    again = train_all(retraining, tmp_path / "cut", ALONE, ignore)
    if method not in WHOLE:
        train_all(retraining, tmp_path / "whole", ALONE, ignore)
        WHOLE[method] = weights_of(tmp_path / "whole")
    assert len(set(WHOLE[method].values())) == 2
    assert weights_of(tmp_path / "cut") == WHOLE[method]
    assert {len(one.curve) for one in again.values()} == {2}
    assert not (tmp_path / "cut" / STATES).exists()


def test_gradients_of_a_window_are_finite_differences(retrain_spec: Make, tmp_path: Path) -> None:
    # The window is chosen by the pixels, so that no change of a weight moves it.
    spec = retrain_spec(
        methods=("crop-shrink", "downsample"), precision="fp64", augment="none", budgets=(0.4,)
    )
    retraining = prepare_retraining(spec)
    for training in retraining.trainings[1:]:
        ours = trainer(retraining, training, tmp_path)
        model, (reduction,) = ours.model, ours.lesson.reductions
        assert (reduction.view is None) == (training.cells[0].label == "downsample")
        forward = Forward(model, reduction, bf16=False)
        images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(1)).double()
        labels = torch.arange(3)

        def loss(run: Forward = forward, seen: Tensor = images, of: Tensor = labels) -> Tensor:
            return F.cross_entropy(run(seen), of)

        named = dict(model.named_parameters())
        gradients = dict(zip(named, torch.autograd.grad(loss(), list(named.values())), strict=True))
        # All at once, and what the image passes first by itself: each is seen alone there.
        for names in (list(named), *([name] for name in named if "embed" in name)):
            generator = torch.Generator().manual_seed(2)
            ways = {name: torch.randn(named[name].shape, generator=generator) for name in names}
            ends = []
            for step in (1e-6, -2e-6):
                with torch.no_grad():
                    for name, way in ways.items():
                        named[name] += step * way
                    ends.append(float(loss()))
            with torch.no_grad():
                for name, way in ways.items():
                    named[name] += 1e-6 * way
            slope = (ends[0] - ends[1]) / 2e-6
            expected = sum(float((gradients[name] * way).sum()) for name, way in ways.items())
            assert slope == pytest.approx(expected, rel=1e-4), names


def test_all_trainings_see_the_same_images(retrain_spec: Make, tmp_path: Path) -> None:
    retraining = prepare_retraining(retrain_spec())
    seen: list[list[Tensor]] = []
    for training in retraining.trainings:
        one = trainer(retraining, training, tmp_path)
        seen.append([one.batches[epoch, index][0] for epoch in (0, 1) for index in range(2)])
        assert replace(one.recipe, backbone="") == replace(
            retraining.recipe(retraining.trainings[0], 1e-2), backbone=""
        )
    for other in seen[1:]:
        assert all(torch.equal(a, b) for a, b in zip(seen[0], other, strict=True))


def test_images_that_fill_no_batch_are_said_once(retrain_spec: Make, tmp_path: Path) -> None:
    said: list[str] = []
    retraining = prepare_retraining(retrain_spec(epochs=1, train_batch=5))
    train_all(retraining, tmp_path, ALONE, said.append)
    assert said.count("an epoch leaves out 2 images, which fill no batch of 5") == 1


def test_a_random_reduction_draws_anew_at_every_step(
    retrain_spec: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    retraining = prepare_retraining(retrain_spec())
    (training,) = (t for t in retraining.trainings if t.cells and t.cells[0].label == "random")
    numbers: list[list[int]] = []
    plain = Reducer.__call__

    def noting(self: Reducer, tokens: TokenSequence) -> TokenSequence:
        numbers.append(tokens.image.tolist())
        return plain(self, tokens)

    monkeypatch.setattr(Reducer, "__call__", noting)
    trainer(retraining, training, tmp_path).run(lambda figures: None)
    # Each step at the same number of sites; six images a step, four steps.
    distinct = {tuple(batch) for batch in numbers}
    assert sorted(number for batch in distinct for number in batch) == list(range(24))


def test_budgets_take_turns(
    retrain_spec: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = retrain_spec(budgets=(0.2, 0.4), mixed=True, methods=("tome",))
    retraining = prepare_retraining(spec)
    assert [len(training.cells) for training in retraining.trainings] == [0, 2]
    removed: list[int] = []
    plain = Reducer.__call__

    def noting(self: Reducer, tokens: TokenSequence) -> TokenSequence:
        removed.append(self.remove)
        return plain(self, tokens)

    monkeypatch.setattr(Reducer, "__call__", noting)
    trainer(retraining, retraining.trainings[1], tmp_path).run(lambda figures: None)
    sizes = []
    for cell in retraining.trainings[1].cells:
        assert cell.plan is not None
        sizes.append([removal.tokens for removal in cell.plan.removals.values()])
    assert removed == (sizes[0] + sizes[1]) * 2


def test_training_lowers_the_loss_under_a_reduction(retrain_spec: Make, tmp_path: Path) -> None:
    retraining = prepare_retraining(retrain_spec(epochs=12, augment="none"))
    (training,) = (t for t in retraining.trainings if t.cells and t.cells[0].label == "tome")
    one = trainer(retraining, training, tmp_path)
    one.run(lambda figures: None)
    curve = one.done.curve
    assert curve[-1][0] < 0.7 * curve[0][0]


def test_weights_that_were_changed_are_refused(retrain_spec: Make, tmp_path: Path) -> None:
    retraining = prepare_retraining(retrain_spec(methods=("tome",)))
    train_all(retraining, tmp_path, ALONE, ignore)
    file = tmp_path / "weights" / "vim_sprig-tome-0.3.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match="torn or was changed: delete it to train anew"):
        train_all(retraining, tmp_path, ALONE, ignore)
    file.unlink()
    train_all(retraining, tmp_path, ALONE, ignore)
    assert all(bool(tensor.isfinite().all()) for tensor in load_file(file).values())


def test_weights_of_other_images_are_refused(retrain_spec: Make, tmp_path: Path) -> None:
    train_all(prepare_retraining(retrain_spec(methods=("tome",))), tmp_path, ALONE, ignore)
    fewer = prepare_retraining(retrain_spec(methods=("tome",), train_images=9))
    with pytest.raises(UserError, match="on other images or by another version"):
        train_all(fewer, tmp_path, ALONE, ignore)


def test_too_little_memory_is_a_line_that_names_the_batch(
    retrain_spec: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_much(*_: Any) -> Tensor:
        raise MemoryError

    monkeypatch.setattr(Trainer, "_step", too_much)
    with pytest.raises(UserError, match=r"memory ran out .* on 6 images a step: .*such as 3"):
        run_retraining(retrain_spec(), tmp_path / "run", quiet=True)


def test_a_loss_that_is_no_number_is_a_line_that_names_the_rate(
    retrain_spec: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Trainer, "_step", lambda *_: torch.tensor([float("nan"), 0.0]))
    with pytest.raises(UserError, match=r"no number any more in epoch 1: .* --lr below 0\.01"):
        run_retraining(retrain_spec(), tmp_path / "run", quiet=True)


def test_images_are_stratified(retrain_spec: Make) -> None:
    data = prepare_retraining(retrain_spec(train_images=6)).data
    labels = np.repeat([0, 1, 2], 4)[data.rows]
    assert np.bincount(labels).tolist() == [2, 2, 2]


@pytest.mark.gpu
def test_a_gpu_trains_as_a_cpu_does(retrain_spec: Make, tmp_path: Path) -> None:
    curves = []
    for device in ("cpu", "cuda"):
        retraining = prepare_retraining(retrain_spec(device=device, learning_rate=1e-3))
        curves.append([])
        for training in retraining.trainings:
            one = trainer(retraining, training, tmp_path / device)
            one.run(lambda figures: None)
            curves[-1] += [loss for loss, _ in one.done.curve]
    assert curves[0] == pytest.approx(curves[1], rel=1e-2)

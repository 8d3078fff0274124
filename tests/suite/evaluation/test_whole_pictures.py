"""Whole pictures of several sizes, from files to outcomes, beside each worked out by itself."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from backbones.common.errors import UserError
from methods.reducer import Reducer
from suite.data.images.masks import MaskedPictures, whole
from suite.evaluation.runner import evaluate_shard, shrink
from suite.flops.closed_form import dense, total
from suite.plan.cells import Cell
from suite.plan.notes import notes_on_windows
from suite.plan.prepare import Prepared, prepare
from suite.plan.rectangles import NOT_ADAPTIVE, plan_on
from suite.plan.run_time import estimate_seconds
from suite.store.results import differing
from suite.store.schema import SEGMENTATION
from tests.suite.evaluation.test_windows import SIZES, Specs, check_pixels, written

PLAIN = (
    "plainmamba_l1_upernet[dim=48,depth=8,states=8,image_size=32,patch=4,channels=4,classes=3,"
    "table=5]"
)
STAGED = "vmamba_tiny_upernet[dim=32,early=1,third=4,last=1,channels=4,classes=3,image_size=28]"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """One picture of each size."""
    return written(tmp_path, len(SIZES))


def planned(small: Specs, folder: Path, name: str, **settings: object) -> Prepared:
    common = {"task": "segmentation", "backbones": (name,), "budgets": (0.2,), "gallery": 0}
    common |= {"data": f"masks:{folder}", "checkpoint": "random", "across_schedules": False}
    return prepare(small(**(common | settings)))


def resized(folder: Path, number: int, short: int, multiple: int) -> Tensor:
    """A picture as the releases resize it: within 4 times the short side, sides aligned."""
    picture = Image.open(folder / "images" / f"{number:02}.png")
    scale = min(4 * short / max(picture.size), short / min(picture.size))
    sides = [int(side * scale + 0.5) for side in picture.size]
    aligned = [math.ceil(side / multiple) * multiple for side in sides]
    pixels = np.asarray(picture.resize(aligned, Image.Resampling.BILINEAR)) / 255
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    return torch.from_numpy(((pixels - mean) / std).transpose(2, 0, 1).astype(np.float32))[None]


def check(
    prepared: Prepared,
    folder: Path,
    multiple: int,
    logits_of: Callable[[Cell, Tensor, int], Tensor],
) -> None:
    """The outcomes of every cell are those of the logits that `logits_of` makes of a picture."""
    (name,) = prepared.models
    cells = prepared.runnable[name]
    result = evaluate_shard(prepared, name, np.arange(5), cells, 3, lambda count: None)
    assert not result.failures
    for number in range(5):
        pixels = resized(folder, number, prepared.models[name].image_size, multiple)
        truth = np.asarray(Image.open(folder / "masks" / f"{number:02}.png"))
        for cell in cells:
            with torch.inference_mode():
                logits = logits_of(cell, pixels, number)
            shown = F.interpolate(logits, pixels.shape[-2:], mode="bilinear")
            named = F.interpolate(shown, truth.shape, mode="bilinear").argmax(1)[0].numpy()
            check_pixels(result.outcomes[cell.key].iloc[number], truth, named)


def test_outcomes_are_those_of_every_picture_by_itself(small: Specs, pictures: Path) -> None:
    prepared = planned(small, pictures, PLAIN, methods=("tome", "delta"), seeds=1)
    (model,) = prepared.models.values()
    assert prepared.data[PLAIN].inference == "whole"
    kinds = set()

    def logits_of(cell: Cell, pixels: Tensor, number: int) -> Tensor:
        kinds.add(cell.method.name)
        rows, columns = (side // 4 for side in pixels.shape[-2:])
        if cell.image_size != 32:
            share = cell.image_size / 32
            sides = [4 * max(1, round(places * share)) for places in (rows, columns)]
            return model.on_rectangle(sides[0], sides[1])(shrink(pixels, sides))
        on_picture = model.on_rectangle(*pixels.shape[-2:])
        tokens = on_picture.embed(pixels, torch.tensor([number]))
        reducers = {}
        if cell.composition is not None:
            assert cell.plan is not None
            for site, removal in cell.plan.removals.items():
                gone = removal.tokens * rows * columns // 64
                reducers[site] = Reducer(cell.composition, gone, site, cell.seed)
        return on_picture.readout(on_picture.run(tokens, plan=reducers))

    check(prepared, pictures, 32, logits_of)
    assert kinds == {"none", "tome", "delta", "random", "stride", "pool", "downsample"}


def test_stages_see_whole_pictures_of_any_size(small: Specs, pictures: Path) -> None:
    prepared = planned(small, pictures, STAGED, methods=("none",), baselines=False)
    (model,) = prepared.models.values()
    check(
        prepared,
        pictures,
        1,
        lambda cell, pixels, number: model.on_rectangle(*pixels.shape[-2:])(pixels),
    )


@pytest.mark.parametrize(
    ("name", "methods"), [(PLAIN, ("tome", "random")), (STAGED, ("storm", "grid-pool"))]
)
def test_a_picture_does_not_depend_on_the_others(
    small: Specs, pictures: Path, name: str, methods: tuple[str, ...]
) -> None:
    prepared = planned(small, pictures, name, methods=methods, baselines=False, seeds=1)
    cells = prepared.runnable[name]
    assert {cell.method.name for cell in cells} == {"none", *methods}
    run = [(np.arange(5), 7), (np.array([3]), 2), (np.array([0, 3, 4]), 64)]
    found = [
        evaluate_shard(prepared, name, *each, lambda count: None)
        for each in ((images, cells, size) for images, size in run)
    ]
    for key, frame in found[0].outcomes.items():
        for other in found[1:]:
            same = frame[frame.image.isin(other.outcomes[key].image)].reset_index(drop=True)
            assert not differing(same, other.outcomes[key], tuple(SEGMENTATION.outcomes)).any()
            assert len(same)


# At 28 pixels maps are rounded up when they are halved, and what is left of one is another share.
@pytest.mark.parametrize("name", [PLAIN, STAGED.replace("28", "256")])
def test_the_share_that_is_removed_is_kept(small: Specs, pictures: Path, name: str) -> None:
    methods = ("tome", "delta") if name == PLAIN else ("storm", "grid-pool")
    prepared = planned(small, pictures, name, methods=methods, baselines=False, seeds=1)
    model = prepared.models[name]
    short = model.image_size
    for sides in ((short, short), (short, 2 * short), (short + short // 2, short)):
        shape = model.on_rectangle(*sides).describe()
        for cell in prepared.runnable[name][1:]:
            assert cell.plan is not None
            plan = plan_on(cell, cell.plan, shape)
            if sides == (short, short):
                assert plan.removals == cell.plan.removals
            # a small map has few rows; matching costs more of a longer sequence
            assert plan.removed["flops"] == pytest.approx(cell.plan.removed["flops"], abs=0.02)


def test_a_plan_says_what_a_picture_costs(small: Specs, pictures: Path) -> None:
    prepared = planned(small, pictures, PLAIN, methods=("tome",), baselines=False)
    (model,) = prepared.models.values()
    square, works = total(dense(model.describe())), []
    for width, height in SIZES:
        short = min(width, height)
        scale = min(32 / short, 128 / max(width, height))
        sides = [math.ceil(int(side * scale + 0.5) / 32) * 32 for side in (height, width)]
        works.append(total(dense(model.on_rectangle(*sides).describe())) / square)
    assert prepared.mean_work[PLAIN] == pytest.approx(np.mean(works))
    assert prepared.mean_views[PLAIN] == 1
    (note,) = notes_on_windows(prepared)
    assert f"a picture takes {np.mean(works):.2f} times as many in the mean" in note
    assert estimate_seconds(prepared) > 0
    slid = planned(small, pictures, PLAIN, methods=("tome",), baselines=False, inference="slide")
    assert slid.dense[PLAIN].key != prepared.dense[PLAIN].key
    assert slid.mean_work[PLAIN] == slid.mean_views[PLAIN] > 1


def test_counts_of_each_image_are_of_squares(small: Specs, tmp_path: Path) -> None:
    # by others than the evaluated ones alpha is solved
    folder = written(tmp_path, 21)
    methods = ("tome", "delta@adaptive")
    prepared = planned(small, folder, PLAIN, methods=methods, baselines=False, images=4)
    reasons = [cell.reason for cell in prepared.cells if cell.method.schedule]
    assert reasons == [NOT_ADAPTIVE]


def test_a_backbone_of_squares_is_shown_no_whole_picture(small: Specs, pictures: Path) -> None:
    with pytest.raises(
        UserError, match=r"^vim_mini_linear takes squares alone, .* are none: use --inference slide"
    ):
        planned(small, pictures, "vim_mini_linear", methods=("tome",), inference="whole")


def test_each_backbone_is_shown_pictures_of_its_own_multiple(small: Specs, pictures: Path) -> None:
    prepared = planned(small, pictures, PLAIN, backbones=(PLAIN, STAGED))
    multiples = [
        data.multiple for data in prepared.data.values() if isinstance(data, MaskedPictures)
    ]
    assert multiples == [model.multiple for model in prepared.models.values()] == [32, 1]


def test_the_published_sizes() -> None:
    """2048 x 512 at most, ratio kept; PlainMamba's in steps of 32 (SegFormer's AlignedResize)."""
    for (height, width), multiple, expected in (
        ((512, 683), 1, (512, 683)),
        ((512, 683), 32, (512, 704)),
        ((1024, 683), 1, (768, 512)),
        ((300, 400), 1, (512, 683)),
        ((200, 1000), 1, (410, 2048)),
        ((200, 1000), 32, (416, 2048)),
    ):
        layout = whole(height, width, 512, multiple)
        assert (layout.height, layout.width) == expected
        assert layout.places == ((0, 0),)

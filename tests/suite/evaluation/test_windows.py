"""Pictures of several sizes through windows, from files to outcomes, beside each worked out by itself."""

from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from backbones.base import Backbone
from backbones.common.errors import UserError
from suite.config.run_spec import RunSpec
from suite.data import open_dataset
from suite.data.base import IGNORED
from suite.data.images.masks import MAX_WINDOWS, laid_out
from suite.data.loading.decode import MAX_ASPECT
from suite.evaluation.runner import evaluate_shard, shrink
from suite.plan.notes import notes_on_windows
from suite.plan.prepare import Prepared, prepare
from suite.plan.tuning_notes import notes_on_settings
from suite.stats.confusion import matrix_miou, summed
from suite.store.results import differing
from suite.store.schema import SEGMENTATION

Specs = Callable[..., RunSpec]
NAME = "vim_mini_linear"
# width and height; the windows of 40 pixels, 26 apart
SIZES = {(41, 97): 4, (90, 37): 4, (40, 40): 1, (33, 150): 7, (201, 163): 2}
CLASSES = 3


def written(root: Path, count: int) -> Path:
    """Pictures of noise with masks in stripes, some pixels of no class."""
    for kind in ("images", "masks"):
        (root / kind).mkdir()
    (root / "classes.txt").write_text("one\ntwo\nthree\n")
    for number, (width, height) in enumerate(islice(cycle(SIZES), count)):
        rng = np.random.default_rng(number)
        picture = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        mask = (np.arange(height)[:, None] // 7 + np.arange(width) // 11) % CLASSES
        mask[:3] = IGNORED
        Image.fromarray(picture).save(root / "images" / f"{number:02}.png")
        Image.fromarray(mask.astype(np.uint8)).save(root / "masks" / f"{number:02}.png")
    return root


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """One picture of each size."""
    return written(tmp_path, len(SIZES))


def planned(small: Specs, folder: Path, **settings: object) -> Prepared:
    common = {"task": "segmentation", "backbones": (NAME,), "budgets": (0.3,), "gallery": 0}
    spec = small(**(common | {"data": f"masks:{folder}", "inference": "slide"} | settings))
    return prepare(spec)


def windows_of(folder: Path, number: int) -> tuple[Tensor, list[tuple[int, int]], tuple[int, int]]:
    """The windows of a picture, their corners, and the height and width they are of."""
    picture = Image.open(folder / "images" / f"{number:02}.png")
    scale = 40 / min(picture.size)
    width, height = (int(side * scale + 0.5) for side in picture.size)
    resized = np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR))
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    pixels = torch.from_numpy(((resized / 255 - mean) / std).transpose(2, 0, 1).astype(np.float32))
    # as MMSegmentation's `slide_inference` counts them
    places = []
    for i in range(max(height - 40 + 25, 0) // 26 + 1):
        for j in range(max(width - 40 + 25, 0) // 26 + 1):
            bottom, right = min(26 * i + 40, height), min(26 * j + 40, width)
            places.append((bottom - 40, right - 40))
    parts = [pixels[:, top : top + 40, left : left + 40] for top, left in places]
    return torch.stack(parts), places, (height, width)


def joined(logits: Tensor, places: list[tuple[int, int]], size: tuple[int, int]) -> Tensor:
    """The logits of windows as MMSegmentation adds and counts them, (1, K, *size)."""
    total, count = torch.zeros(1, logits.shape[1], *size), torch.zeros(1, 1, *size)
    enlarged = F.interpolate(logits, (40, 40), mode="bilinear")
    for (top, left), own in zip(places, enlarged, strict=True):
        after = (left, size[1] - left - 40, top, size[0] - top - 40)
        total += F.pad(own[None], after)
        count[:, :, top : top + 40, left : left + 40] += 1
    return total / count


def check_pixels(row: Any, truth: NDArray[np.uint8], named: NDArray[np.int64]) -> None:
    """The outcomes `row` of a picture are those of the classes `named` at the pixels of `truth`."""
    pairs = (CLASSES * truth.astype(int) + named)[truth != IGNORED]
    codes, counts = np.unique(pairs, return_counts=True)
    expected = dict(zip(codes.tolist(), counts.tolist(), strict=True))
    found = dict(zip(row.confusion.tolist(), row.pixels.tolist(), strict=True))
    assert sum(found.values()) == len(pairs)
    # Where two logits are equal but for the last bit, sums in another order may differ.
    apart = {code: found.get(code, 0) - expected.get(code, 0) for code in found | expected}
    assert sum(map(abs, apart.values())) <= 2e-4 * truth.size


def test_outcomes_are_those_of_every_picture_by_itself(small: Specs, pictures: Path) -> None:
    prepared = planned(small, pictures, methods=("mtr", "evit"), across_schedules=False, seeds=1)
    cells, model = prepared.runnable[NAME], prepared.models[NAME]
    assert len(cells) > 3
    result = evaluate_shard(prepared, NAME, np.arange(5), cells, 3, lambda count: None)
    assert not result.failures
    assert [len(windows_of(pictures, number)[0]) for number in range(5)] == list(SIZES.values())
    for number in range(5):
        parts, places, size = windows_of(pictures, number)
        truth = np.asarray(Image.open(pictures / "masks" / f"{number:02}.png"))
        numbers = torch.tensor([number * MAX_WINDOWS + n for n in range(len(parts))])
        for cell in cells:
            with torch.inference_mode():
                if cell.image_size == 40:
                    tokens = model.embed(parts, numbers)
                    logits = model.readout(model.run(tokens, plan=cell.reducers()))
                else:
                    logits = model.resized(cell.image_size)(shrink(parts, cell.image_size))
                whole = joined(logits, places, size)
                named = F.interpolate(whole, truth.shape, mode="bilinear").argmax(1)[0].numpy()
            check_pixels(result.outcomes[cell.key].iloc[number], truth, named)


@pytest.mark.parametrize("methods", [("tome",), ("random",), ("mtr@adaptive",)])
def test_a_picture_does_not_depend_on_its_batch(
    small: Specs, tmp_path: Path, methods: tuple[str, ...]
) -> None:
    # more than are evaluated: by others the alpha of adaptive counts is solved
    folder = written(tmp_path, 21)
    prepared = planned(small, folder, methods=methods, baselines=False, images=4)
    cells = prepared.runnable[NAME]
    orders = [np.arange(5), np.array([3]), np.array([0, 3, 4]), np.arange(5)]
    found = []
    for images, size in zip(orders, (7, 2, 64, 1), strict=True):
        found.append(evaluate_shard(prepared, NAME, images, cells, size, lambda count: None))
    for key, frame in found[0].outcomes.items():
        for other in found[1:]:
            same = frame[frame.image.isin(other.outcomes[key].image)].reset_index(drop=True)
            assert not differing(same, other.outcomes[key], tuple(SEGMENTATION.outcomes)).any()
            assert len(same)


def test_a_plan_says_how_many_windows_there_are(small: Specs, pictures: Path) -> None:
    prepared = planned(small, pictures, methods=("tome",), baselines=False)
    assert prepared.samples(NAME) == sum(SIZES.values())
    (note,) = notes_on_windows(prepared)
    assert f"40 x 40 pixels, 26 apart: {sum(SIZES.values()) / 5:.2f} of a picture" in note
    centre = planned(small, pictures, methods=("tome",), baselines=False, inference="centre")
    assert centre.samples(NAME) == 5
    assert notes_on_windows(centre) == []
    assert centre.dense[NAME].key != prepared.dense[NAME].key
    # The centre is what a model without published windows looks at.
    published = planned(small, pictures, methods=("tome",), baselines=False, inference="published")
    assert published.dense[NAME].key == centre.dense[NAME].key


def test_a_published_segmenter_slides(
    small: Specs, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Backbone, "inference", "slide")
    published = planned(small, pictures, methods=("tome",), baselines=False, inference="published")
    assert published.samples(NAME) == sum(SIZES.values())
    # of data that a model sees whole nothing is left to slide over
    spec = small(task="segmentation", backbones=(NAME,), methods=("tome",), baselines=False)
    assert prepare(spec).samples(NAME) == 30


def test_tries_on_centres_are_none_on_windows(
    small: Specs, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(
        "suite.plan.prepare.find_tries", lambda spec, *_: asked.append(spec.inference)
    )
    hints = {}
    for inference in ("centre", "slide"):
        tuned = {"methods": ("tome",), "inference": inference, "schedule": "tuned"}
        notes = notes_on_settings(planned(small, pictures, **tuned))
        hints[inference] = any(note.startswith("to tune:") for note in notes)
    assert asked == ["centre"]
    assert hints == {"centre": True, "slide": False}
    with pytest.raises(UserError, match="of other images than --inference slide shows"):
        planned(small, pictures, methods=("tome",), inference="slide", tries="any")


def test_data_that_are_seen_whole_have_no_windows(small: Specs) -> None:
    spec = small(task="segmentation", backbones=(NAME,), methods=("tome",), inference="slide")
    with pytest.raises(UserError, match="sees each of the images of 'blots' whole already"):
        prepare(spec)


def test_a_damaged_picture_is_named_and_counts_no_windows(pictures: Path) -> None:
    data = open_dataset(f"masks:{pictures}", task="segmentation").shown_as("slide")
    assert data is not None
    (pictures / "images" / "01.png").write_bytes(b"\x89PNG")
    assert data.mean_views(np.arange(5), 40) == (sum(SIZES.values()) - 4) / 4
    with pytest.raises(UserError, match=r"01\.png"):
        data.samples(np.arange(5), 40)
    Image.fromarray(np.full((40, 40), IGNORED, np.uint8)).save(pictures / "masks" / "02.png")
    with pytest.raises(UserError, match=r"02\.png has no pixel of a class: take it and its image"):
        data.whole_truth(2)


def test_no_picture_has_more_windows_than_numbers() -> None:
    for window in (2, 3, 4, 5, 7, 40, 512):
        for short in (1, 3, 40):
            assert laid_out(short * MAX_ASPECT, short, window).count <= MAX_WINDOWS


def test_classes_found_in_windows_make_the_mean_iou(small: Specs, pictures: Path) -> None:
    prepared = planned(small, pictures, methods=("tome",), baselines=False)
    result = evaluate_shard(
        prepared, NAME, np.arange(5), prepared.runnable[NAME], 4, lambda count: None
    )
    frame = result.outcomes[prepared.dense[NAME].key]
    matrix = summed(frame.confusion, frame.pixels, CLASSES)
    assert matrix.sum() == sum(width * (height - 3) for width, height in SIZES)
    assert 0 < matrix_miou(matrix) < 1
    assert frame.agree.tolist() == [1.0] * 5
    assert frame.kl.tolist() == [0.0] * 5

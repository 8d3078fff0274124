"""What is kept of an image's pixels, against loops over pixels and PyTorch's own functions."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from suite.data.base import IGNORED
from suite.evaluation import segmentation
from suite.evaluation.segmentation import (
    DensePixels,
    Part,
    border,
    border_radius,
    metrics,
    miou,
    outcomes,
    pieces,
)

SIZE, CLASSES = 20, 5


def drawn(seed: int, batch: int, places: int = 7) -> tuple[Tensor, Tensor, np.ndarray]:
    """Logits of a cell and of the dense model on maps, and a truth in blocks, partly ignored."""
    generator = torch.Generator().manual_seed(seed)
    cell, dense = 3 * torch.randn(2, batch, CLASSES, places, places, generator=generator)
    rng = np.random.default_rng(seed)
    truth = np.kron(rng.integers(0, CLASSES, (batch, 5, 5)), np.ones((1, 4, 4))).astype(np.uint8)
    truth[rng.random(truth.shape) < 0.1] = IGNORED
    return cell, dense, truth


def kept(cell: Tensor, dense: Tensor, truth: np.ndarray) -> dict[str, np.ndarray]:
    near = border(truth, 2)
    at_rows = Part(truth).at_rows
    return outcomes(DensePixels(dense, truth, at_rows).name(cell), truth, near, CLASSES)


def border_by_loops(truth: np.ndarray, radius: int) -> np.ndarray:
    found = np.zeros(truth.shape, bool)
    rows, columns = truth.shape
    for y in range(rows):
        for x in range(columns):
            if truth[y, x] == IGNORED:
                continue
            window = truth[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1]
            found[y, x] = bool(((window != truth[y, x]) & (window != IGNORED)).any())
    return found


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(3, 12))
def test_a_border_is_near_a_pixel_of_another_class(seed: int, radius: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.choice([0, 0, 0, 0, 0, 3, 254, IGNORED], (2, size, size)).astype(np.uint8)
    found = border(truth, radius)
    for image in range(2):
        assert np.array_equal(found[image], border_by_loops(truth[image], radius))


def test_the_border_is_two_percent_of_the_diagonal() -> None:
    assert [border_radius(size, size) for size in (8, 56, 224, 512)] == [1, 2, 6, 14]
    assert border_radius(512, 683) == border_radius(683, 512) == 17


def test_pieces_are_every_pixel_once() -> None:
    for batch, classes, size, limit in (
        (5, 3, 8, 400),
        (2, 7, 9, 100),
        (3, 4, 5, 1),
        (1, 1, 4, 99),
    ):
        covered = np.zeros((batch, size), int)
        for images, parts in pieces((batch, size, size + 2), classes, limit):
            for rows in parts:
                covered[images, rows] += 1
                part = covered[images, rows]
                assert part.size * (size + 2) * classes <= limit or part.size == 1
        assert (covered == 1).all()


def test_outcomes_are_those_of_pixels_one_by_one() -> None:
    cell, dense, truth = drawn(3, 2)
    columns = kept(cell, dense, truth)
    for image in range(2):
        ours, theirs = (
            F.interpolate(each[image : image + 1].double(), (SIZE, SIZE), mode="bilinear")[0]
            for each in (cell, dense)
        )
        confusion: dict[str, dict[int, int]] = {"": {}, "border_": {}}
        losses, kls, agree = [], [], []
        near = border_by_loops(truth[image], 2)
        for y in range(SIZE):
            for x in range(SIZE):
                true = int(truth[image, y, x])
                if true == IGNORED:
                    continue
                p = [math.exp(value) for value in ours[:, y, x].tolist()]
                q = [math.exp(value) for value in theirs[:, y, x].tolist()]
                p, q = [v / sum(p) for v in p], [v / sum(q) for v in q]
                code = true * CLASSES + p.index(max(p))
                for prefix in ("", "border_") if near[y, x] else ("",):
                    confusion[prefix][code] = confusion[prefix].get(code, 0) + 1
                losses.append(-math.log(p[true]))
                kls.append(sum(b * math.log(b / a) for a, b in zip(p, q, strict=True)))
                agree.append(p.index(max(p)) == q.index(max(q)))
        for prefix, counted in confusion.items():
            assert columns[f"{prefix}confusion"][image].tolist() == sorted(counted)
            pixels = [counted[code] for code in sorted(counted)]
            assert columns[f"{prefix}pixels"][image].tolist() == pixels
            assert columns[f"{prefix}pixels"][image].dtype == np.int32
        assert columns["loss"][image] == pytest.approx(np.mean(losses), rel=1e-5)
        assert columns["kl"][image] == pytest.approx(np.mean(kls), rel=1e-4)
        assert columns["agree"][image] == pytest.approx(np.mean(agree))


def test_the_dense_model_agrees_with_itself_exactly() -> None:
    _, dense, truth = drawn(5, 3)
    columns = kept(dense, dense, truth)
    assert columns["agree"].tolist() == [1, 1, 1]
    assert columns["kl"].tolist() == [0, 0, 0]


@pytest.mark.parametrize("limit", [1, 700, 5 * SIZE * SIZE * CLASSES, 1 << 22])
@pytest.mark.parametrize("keeps", [True, False])
def test_outcomes_do_not_depend_on_batch_or_pieces_to_the_bit(
    limit: int, keeps: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell, dense, truth = drawn(7, 9)
    expected = [kept(cell[i : i + 1], dense[i : i + 1], truth[i : i + 1]) for i in range(9)]
    monkeypatch.setattr(segmentation, "MAX_LOGITS", limit)
    monkeypatch.setattr(segmentation, "MAX_KEPT", 1 << 30 if keeps else 0)
    for chosen in (slice(0, 9), slice(2, 7), slice(8, 9)):
        columns = kept(cell[chosen], dense[chosen], truth[chosen])
        for name, values in columns.items():
            for value, alone in zip(values, expected[chosen], strict=True):
                assert np.array_equal(value, alone[name][0]), name


def test_an_ignored_pixel_counts_for_nothing() -> None:
    cell, dense, truth = drawn(11, 1)
    where = truth[0] == IGNORED
    assert where.any()
    columns = kept(cell, dense, truth)
    assert columns["pixels"][0].sum() == (~where).sum()
    # What stands in an ignored corner cannot change anything.
    truth[0, :8, :8] = IGNORED
    before = kept(cell, dense, truth)
    cell[0, :, :2, :2] += torch.randn(CLASSES, 2, 2)
    after = kept(cell, dense, truth)
    assert all(np.array_equal(before[name][0], after[name][0]) for name in before)


def test_metrics_are_those_of_all_pixels_together() -> None:
    cell, dense, truth = drawn(13, 6)
    frame = pd.DataFrame(kept(cell, dense, truth)).assign(tau=np.linspace(0, 1, 6))
    upsampled = F.interpolate(cell, (SIZE, SIZE), mode="bilinear").argmax(1).numpy()
    counts = truth != IGNORED
    ratios, near_ratios, weighted = [], [], 0.0
    near = border(truth, 2)
    for number in range(CLASSES):
        for chosen, into in ((counts, ratios), (near, near_ratios)):
            true, named = truth[chosen] == number, upsampled[chosen] == number
            into.append((true & named).sum() / (true | named).sum())
        weighted += (truth[counts] == number).mean() * ratios[-1]
    found = metrics(frame, CLASSES, 0.25)
    assert found.miou == pytest.approx(np.mean(ratios)) == miou(frame, CLASSES)
    assert found.border_miou == pytest.approx(np.mean(near_ratios))
    assert found.frequency_iou == pytest.approx(weighted)
    assert found.pixel_accuracy == pytest.approx((truth == upsampled)[counts].mean())
    assert (found.tau, found.dense_miou) == (0.5, 0.25)
    assert found.loss == pytest.approx(frame.loss.mean())

"""Figures of a confusion matrix, against loops over classes and pixels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.stats.confusion import (
    class_ious,
    frequency_iou,
    overlaps,
    pixel_accuracy,
    summed,
)
from suite.stats.overlap import mean_iou


def by_sets(truth: np.ndarray, named: np.ndarray, classes: int) -> dict[int, float]:
    """IoU of the classes that occur, from the sets of their pixels."""
    found = {}
    for number in range(classes):
        true = set(np.flatnonzero(truth == number).tolist())
        called = set(np.flatnonzero(named == number).tolist())
        if true | called:
            found[number] = len(true & called) / len(true | called)
    return found


@given(st.integers(0, 10**6), st.integers(2, 7), st.integers(1, 40))
def test_figures_are_those_of_sets_of_pixels(seed: int, classes: int, pixels: int) -> None:
    rng = np.random.default_rng(seed)
    truth, named = rng.integers(0, classes, (2, 3, pixels))
    codes, counts = [], []
    for image in range(3):
        pairs, how_many = np.unique(truth[image] * classes + named[image], return_counts=True)
        codes.append(pairs)
        counts.append(how_many.astype(np.int32))
    matrix = summed(codes, counts, classes)
    assert matrix.shape == (classes, classes)
    expected = by_sets(truth.ravel(), named.ravel(), classes)
    ious = class_ious(matrix)
    for number in range(classes):
        if number in expected:
            assert ious[number] == pytest.approx(expected[number], abs=1e-15)
        else:
            assert np.isnan(ious[number])
    assert mean_iou(overlaps(matrix)) == pytest.approx(np.mean(list(expected.values())), abs=1e-12)
    assert pixel_accuracy(matrix) == (truth == named).mean()
    weighted = sum((truth == number).mean() * expected.get(number, 0) for number in range(classes))
    assert frequency_iou(matrix) == pytest.approx(weighted, abs=1e-12)
    assert overlaps(matrix)[1].sum() == 2 * matrix.sum() - matrix.trace()


def test_a_case_by_hand() -> None:
    # 6 pixels of class 0, of which 4 are right; 2 of class 1, of which 1 is; class 2 is never seen.
    matrix = np.array([[4, 2, 0], [1, 1, 0], [0, 0, 0]])
    assert class_ious(matrix)[:2].tolist() == [4 / 7, 1 / 4]
    assert mean_iou(overlaps(matrix)) == pytest.approx((4 / 7 + 1 / 4) / 2)
    assert pixel_accuracy(matrix) == 5 / 8
    assert frequency_iou(matrix) == pytest.approx(6 / 8 * 4 / 7 + 2 / 8 / 4)


def test_a_class_that_is_only_predicted_counts_in_the_mean() -> None:
    """As in MMSegmentation: its union is not empty, its IoU 0."""
    assert mean_iou(overlaps(np.array([[3, 1], [0, 0]]))) == pytest.approx((3 / 4 + 0) / 2)


def test_without_pixels_there_is_no_figure() -> None:
    nothing = np.zeros((2, 2), np.int64)
    for figure in (pixel_accuracy, frequency_iou):
        assert np.isnan(figure(nothing))

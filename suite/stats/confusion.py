"""Segmentation in numbers: what follows from how many pixels of each class were called what.

A confusion matrix (K, K) of int64 has truth by row and prediction by column. Of an image only the
pairs that occur are kept: their codes, true * K + predicted, and how many pixels each has.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from suite.stats.overlap import mean_iou

Integers = NDArray[np.integer]
Matrix = NDArray[np.int64]
Shares = NDArray[np.float64]


def summed(codes: Sequence[Integers], pixels: Sequence[Integers], classes: int) -> Matrix:
    """The confusion matrix (K, K) of several images, from the pairs that occur in each."""
    total = np.zeros(classes * classes, np.int64)
    for of_image, counts in zip(codes, pixels, strict=True):
        # each pair occurs once in an image
        total[of_image] += counts
    return total.reshape(classes, classes)


def overlaps(matrix: Matrix) -> Matrix:
    """Pixels (2, K) of each class in both truth and prediction, and in either.

    `matrix_miou` takes the mean over classes, as OpenMMLab's MMSegmentation does.
    """
    both = matrix.diagonal()
    return np.stack([both, matrix.sum(0) + matrix.sum(1) - both])


def overlaps_by_image(
    codes: Sequence[Integers], pixels: Sequence[Integers], classes: int
) -> Matrix:
    """`overlaps` (n, 2, K) of each image by itself, from the pairs that occur in it."""
    of_images = []
    for one, counts in zip(codes, pixels, strict=True):
        of_images.append(overlaps(summed([one], [counts], classes)))
    return np.stack(of_images)


def matrix_miou(matrix: Matrix) -> float:
    """Mean IoU over the classes that occur in truth or prediction; NaN without pixels."""
    return float(mean_iou(overlaps(matrix)))


def class_ious(matrix: Matrix) -> Shares:
    """Intersection over union (K,) of each class; NaN of one in neither truth nor prediction."""
    both, either = overlaps(matrix)
    return np.divide(both, either, out=np.full(len(both), np.nan), where=either > 0)


def pixel_accuracy(matrix: Matrix) -> float:
    """Share of pixels whose class is named right; NaN without pixels."""
    total = int(matrix.sum())
    return int(matrix.trace()) / total if total else float("nan")


def frequency_iou(matrix: Matrix) -> float:
    """Mean of `class_ious`, each weighted by its share of the truth's pixels; NaN without pixels.

    (Long, Shelhamer and Darrell, CVPR 2015.)
    """
    frequency = matrix.sum(1)
    present = frequency > 0
    if not present.any():
        return float("nan")
    weighted = frequency[present] * class_ious(matrix)[present]
    return float(weighted.sum() / frequency.sum())

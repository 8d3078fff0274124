"""What it costs to narrow a map of tokens, for one image, in arithmetic operations.

A map of h x w cells becomes one of h' x w'; F is the width of the feature, C that of both streams.
"""

from __future__ import annotations

from methods.parts.cost import Cost, Widths
from methods.parts.features import FEATURES
from methods.parts.grid_pairs import DISTANCES, Rectangle

# Operations on one number of a source that merges: a sum adds it; a mean takes share and what the
# target gives back, their difference, and its addition.
MERGING = {"sum": 1, "drop": 0}
MEAN = 4


def of_merging(weights: str, before: Rectangle, after: Rectangle, shape: Widths) -> int:
    """Operations to merge what leaves, in both streams."""
    gone = before[0] * before[1] - after[0] * after[1]
    return 2 * gone * shape.dim * MERGING.get(weights, MEAN)


def of_comparing(
    feature: str,
    distance: str,
    weights: str,
    before: Rectangle,
    after: Rectangle,
    shape: Widths,
) -> int:
    """Operations to form the feature, to compare pairs, and to merge the feature between axes."""
    (height, width), (lower, narrower) = before, after
    F = FEATURES[feature].width(shape)
    work = height * width * F * FEATURES[feature].per_value(shape)
    along_rows, along_columns = narrower < width, lower < height
    pairs = height * (width // 2) if along_rows else 0
    pairs += narrower * (height // 2) if along_columns else 0
    work += pairs * DISTANCES[distance].arithmetic(F)
    if along_rows and along_columns:
        work += height * (width - narrower) * F * MERGING.get(weights, MEAN)
    return work


def of_resizing(kind: str, before: Rectangle, after: Rectangle, shape: Widths) -> Cost:
    """Operations to resample both streams: four products and their sum, or the mean of a window."""
    if kind == "bilinear":
        return Cost(0, 2 * shape.dim * after[0] * after[1] * 7)
    windows = 1
    for cells, left in zip(before, after, strict=True):
        # window i of the mean reaches from floor(i n / m) to ceil((i + 1) n / m)
        windows *= sum(-(-(i + 1) * cells // left) - i * cells // left for i in range(left))
    return Cost(0, 2 * shape.dim * windows)

"""Segmentation: which pixels a method names right, and two methods by their mean IoU.

The mean IoU is no mean over images: pixels are added up over all images, class by class, before
the ratios are taken. So images are drawn, or exchanged between two methods, and the whole figure is
computed anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from suite.stats.correctness import Outcomes, in_one_order
from suite.stats.metric import MIOU, Metric
from suite.stats.paired import DRAWS, SEEDS_FOR_INTERVAL
from suite.stats.power import Z_POWER, Z_TEST
from suite.stats.spread import Spread

Array = NDArray[np.float64]
Pixels = NDArray[np.int64]
IN_BOTH, IN_EITHER = 0, 1  # of a class, by truth and by prediction


def mean_iou(pixels: Array | Pixels) -> Array:
    """Mean IoU (...) of pixels (..., 2, K) of each class, over the classes that have any.

    Of a class the pixels that both truth and prediction call so, over those that either does. NaN
    where no class has a pixel.
    """
    both, either = pixels[..., IN_BOTH, :], pixels[..., IN_EITHER, :]
    occurs = either > 0
    ratios = np.divide(both, either, out=np.zeros(both.shape), where=occurs)
    classes = occurs.sum(-1)
    return np.divide(ratios.sum(-1), classes, out=np.full(classes.shape, np.nan), where=classes > 0)


# All cells of a run have as many images, and draw them alike.
@lru_cache(1)
def draws_of_images(n: int) -> NDArray[np.uint8]:
    """How often each of n images is drawn (DRAWS, n), n of them with replacement."""
    # An image that is drawn 256 times is not to be feared.
    drawn = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), size=DRAWS)
    return drawn.astype(np.uint8)


@lru_cache(1)
def exchanges(n: int) -> NDArray[np.uint8]:
    """Which of n images the methods exchange (DRAWS, n)."""
    return np.random.default_rng(0).integers(0, 2, size=(DRAWS, n), dtype=np.uint8)


@dataclass(frozen=True, eq=False)
class Overlaps(Outcomes):
    """Pixels of one method at one budget.

    ``pixels`` (S, n, 2, K) are those of each of K classes in n images under S seeds: in both truth
    and prediction, and in either.
    """

    metric: ClassVar[Metric] = MIOU

    label: str
    pixels: Pixels
    images: NDArray[np.int64]
    removed: float = 0.0
    kind: str = "images"
    coarse: bool = False

    def __post_init__(self) -> None:
        """ValueError unless each image has one row, and there is a pixel."""
        shape = self.pixels.shape
        if len(shape) != 4 or shape[2] != 2 or not self.pixels.any():
            raise ValueError(
                f"{self.label}: pixels must be of shape (seeds, images, 2, classes), and not empty"
            )
        if self.images.shape != shape[1:2] or len(np.unique(self.images)) != self.count:
            raise ValueError(f"{self.label}: every row of pixels needs an image index of its own")

    @property
    def seeds(self) -> int:
        """Seeds evaluated."""
        return len(self.pixels)

    @property
    def accuracy(self) -> float:
        """Mean IoU of all images, mean over seeds."""
        return float(mean_iou(self.pixels.sum(axis=1)).mean())

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Percentile bootstrap of the mean IoU over images, seeds averaged."""
        ends = (1 - level) / 2, (1 + level) / 2
        low, high = np.quantile(self.resampled.mean(axis=0), ends)
        return float(low), float(high)

    @cached_property
    def resampled(self) -> Array:
        """Mean IoU (S, DRAWS) of images drawn with replacement.

        Outcomes of the same images have the same draws, which pairs them.
        """
        ordered = self.pixels[:, np.argsort(self.images)]
        flat = ordered.reshape(self.seeds, self.count, -1).astype(float)
        sums = draws_of_images(self.count).astype(float) @ flat
        return mean_iou(sums.reshape(self.seeds, DRAWS, *self.pixels.shape[2:]))

    def each_seed(self) -> list[Self]:
        """The outcomes of each seed by itself."""
        return [replace(self, pixels=pixels[None]) for pixels in self.pixels]

    def called(self, label: str, removed: float) -> Self:
        """The same under another label, with another share of work removed."""
        return replace(self, label=label, removed=removed)

    @classmethod
    def drawn(cls, single: Sequence[Self]) -> Array:
        """Mean IoU (k, DRAWS) of k outcomes of one seed each, in images drawn with replacement."""
        return np.concatenate([each.resampled for each in single])

    def paired(self, other: Self) -> PairedOverlaps:
        """Compare with `other` on the same images; ValueError if these are not the same."""
        first, second = in_one_order(self, other)
        return PairedOverlaps(
            self.pixels[:, first], other.pixels[:, second], self.resampled, other.resampled
        )


@dataclass(frozen=True, eq=False)
class PairedOverlaps:
    """Two methods on the same images, in one order.

    ``first``, ``second``  (S, n, 2, K) and (T, n, 2, K) pixels of each class
    ``drawn``, ``against`` (S, DRAWS) and (T, DRAWS) mean IoU of the same draws of images
    """

    first: Pixels
    second: Pixels
    drawn: Array
    against: Array

    @cached_property
    def p(self) -> float:
        """Two-sided p of the difference in mean IoU, by exchanging the methods image by image.

        If both were alike, either's answer on an image might as well be the other's. Of DRAWS
        random exchanges p is the share that differ at least as much, the one that happened counted
        among them; so it is never below 1 / (DRAWS + 1). It is about the seeds that were run.
        """
        # The pixels of all seeds of an image are exchanged together; where the methods have
        # different numbers of seeds, each is repeated up to the least common multiple.
        times = np.lcm(len(self.first), len(self.second))
        one = np.repeat(self.first, times // len(self.first), axis=0)
        other = np.repeat(self.second, times // len(self.second), axis=0)
        if np.array_equal(one, other):
            return 1.0
        n = one.shape[1]
        moved = exchanges(n).astype(float) @ (other - one).reshape(times, n, -1).astype(float)
        moved = moved.reshape(times, DRAWS, *one.shape[2:])
        ones, others = one.sum(axis=1)[:, None], other.sum(axis=1)[:, None]
        differences = (mean_iou(ones + moved) - mean_iou(others - moved)).mean(axis=0)
        seen = float((mean_iou(ones) - mean_iou(others)).mean())
        # Sums of ratios in another order differ in their last bits.
        as_large = np.abs(differences) >= abs(seen) - 1e-12
        return float((1 + as_large.sum()) / (DRAWS + 1))

    @property
    def ahead(self) -> tuple[int, int]:
        """Images on which the first has the larger mean IoU, and on which the second has."""
        lead = mean_iou(self.first).mean(axis=0) - mean_iou(self.second).mean(axis=0)
        return int((lead > 1e-12).sum()), int((lead < -1e-12).sum())

    @property
    def smallest(self) -> float:
        """Smallest difference that a test at 5 % finds in four runs of five.

        From the normal approximation, with the standard error of the paired bootstrap.
        """
        error = float((self.drawn.mean(axis=0) - self.against.mean(axis=0)).std())
        return min(1.0, (Z_TEST + Z_POWER) * error)

    def spread(self, alpha: float = 0.05) -> Spread:
        """Paired percentile bootstrap over images of the difference, at level 1 - `alpha`.

        Seeds are drawn, too, where there are five or more; with two to four the result is a range
        over them, as in `suite.stats.paired.bootstrap`.
        """
        ends = [alpha / 2, 1 - alpha / 2]
        if any(1 < len(draws) < SEEDS_FOR_INTERVAL for draws in (self.drawn, self.against)):
            single = (self.drawn[:, None] - self.against[None]).reshape(-1, DRAWS)
            low, high = np.quantile(single, ends, axis=1)
            return Spread(float(low.min()), float(high.max()), "range")
        rng = np.random.default_rng(0)
        sides = []
        for draws in (self.drawn, self.against):
            seeds = rng.integers(0, len(draws), size=(len(draws), DRAWS))
            sides.append(np.take_along_axis(draws, seeds, axis=0).mean(axis=0))
        low, high = np.quantile(sides[0] - sides[1], ends)
        return Spread(float(low), float(high))

    def corrected(self, p: float, alpha: float) -> Spread:
        """The spread at level 1 - `alpha`, with zero in it exactly where a test of `p` allows it.

        It is extended to zero where the test does not reject, and ends before zero where it does;
        so that of a smaller `alpha` contains that of a larger one. A range over seeds may hold zero
        although the test rejects it.
        """
        spread = self.spread(alpha)
        if p >= alpha:
            return replace(spread, low=min(spread.low, 0.0), high=max(spread.high, 0.0))
        if spread.kind == "range":
            return spread
        # Mean IoU has no smallest step, as accuracy has one image.
        step = float(np.finfo(float).tiny)
        ones, others = (mean_iou(side.sum(axis=1)).mean() for side in (self.first, self.second))
        if ones > others:
            return replace(spread, low=max(spread.low, step))
        return replace(spread, high=min(spread.high, -step))

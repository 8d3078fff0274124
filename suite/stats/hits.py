"""Classification: which images a method is right on, and two methods by that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from suite.stats.correctness import Bits, Outcomes, in_one_order
from suite.stats.metric import TOP1, Metric
from suite.stats.paired import DRAWS, bootstrap, corrected_interval, sign_flip
from suite.stats.power import smallest_detectable
from suite.stats.single import wilson
from suite.stats.spread import Spread


@dataclass(frozen=True)
class Hits(Outcomes):
    """Correctness of one method at one budget.

    ``correct`` are the (S, n) top-1 hits for S seeds (1 for a deterministic method) and n images.
    """

    metric: ClassVar[Metric] = TOP1

    label: str
    correct: Bits
    images: NDArray[np.int64]
    removed: float = 0.0
    kind: str = "images"
    coarse: bool = False

    def __post_init__(self) -> None:
        """ValueError unless each image has one column, and there is at least one hit or miss."""
        if self.correct.ndim != 2 or self.correct.dtype != np.bool_ or not self.correct.size:
            raise ValueError(
                f"{self.label}: correct must be booleans of shape (seeds, images), and not empty"
            )
        # An image that counts twice would make every test too sure.
        if self.images.shape != self.correct.shape[1:] or len(np.unique(self.images)) != self.count:
            raise ValueError(
                f"{self.label}: every column of correct needs an image index of its own"
            )

    @property
    def seeds(self) -> int:
        """Seeds evaluated."""
        return int(self.correct.shape[0])

    @property
    def accuracy(self) -> float:
        """Mean top-1 over seeds and images."""
        return float(self.correct.mean())

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Wilson's interval of top-1."""
        # hits averaged over seeds: several seeds of one image are not several images
        right = round(float(self.correct.mean(axis=0).sum()))
        return wilson(right, self.count, level)

    def paired(self, other: Self) -> PairedHits:
        """Compare with `other` on the same images; ValueError if these are not the same."""
        return PairedHits(*aligned(self, other))

    def each_seed(self) -> list[Self]:
        """The outcomes of each seed by itself."""
        return [replace(self, correct=hits[None]) for hits in self.correct]

    def called(self, label: str, removed: float) -> Self:
        """The same under another label, with another share of work removed."""
        return replace(self, label=label, removed=removed)

    @classmethod
    def drawn(cls, single: Sequence[Self]) -> NDArray[np.float64]:
        """Top-1 (k, DRAWS) of k outcomes of one seed each, in images drawn with replacement."""
        # a column is what all say of one image
        table = np.stack([each.correct[0][np.argsort(each.images)] for each in single])
        # Images with equal columns are one class of a multinomial draw (see `suite.stats.paired`).
        patterns, how_many = np.unique(table, axis=1, return_counts=True)
        images = int(how_many.sum())
        drawn = np.random.default_rng(0).multinomial(images, how_many / images, size=DRAWS)
        shares: NDArray[np.float64] = patterns.astype(float) @ drawn.T / images
        return shares


@dataclass(frozen=True)
class PairedHits:
    """Hits (S, n) and (T, n) of two methods on the same images, in one order."""

    first: Bits
    second: Bits

    @cached_property
    def p(self) -> float:
        """Exact two-sided p of the difference (`sign_flip`)."""
        return sign_flip(self.first, self.second)

    @property
    def ahead(self) -> tuple[int, int]:
        """Images on which the first is right under more seeds, and on which the second is."""
        lead = self.first.mean(axis=0) - self.second.mean(axis=0)
        return int((lead > 0).sum()), int((lead < 0).sum())

    @property
    def smallest(self) -> float:
        """Smallest difference that so many images can show at the discordance between the two."""
        # Over all pairs of seeds, as in the difference itself.
        discordance = float((self.first[:, None] != self.second[None]).mean())
        return smallest_detectable(self.first.shape[1], discordance)

    def spread(self, alpha: float = 0.05) -> Spread:
        """Bootstrap of the difference over images, at level 1 - `alpha`."""
        return bootstrap(self.first, self.second, alpha)

    def corrected(self, p: float, alpha: float) -> Spread:
        """The same, so that it agrees with the exact test of this `p` at `alpha`."""
        return corrected_interval(self.first, self.second, p, alpha)


def aligned(one: Hits, two: Hits) -> tuple[Bits, Bits]:
    """Hits of both in one order of images; ValueError unless both have the very same images."""
    first, second = in_one_order(one, two)
    return one.correct[:, first], two.correct[:, second]

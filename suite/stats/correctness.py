"""What one method gave on each image: the input of every comparison."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from suite.stats.metric import Metric
from suite.stats.spread import Spread

Bits = NDArray[np.bool_]
UNDIVIDED = "all"  # the split of a data set without splits


def counted(number: int, kind: str = "images", split: str = "") -> str:
    """So many images, or videos, of a split, in words; of data without splits no split is named."""
    noun = kind.removesuffix("s") if number == 1 else kind
    named = split and split != UNDIVIDED
    return f"{number:,} {split} {noun}" if named else f"{number:,} {noun}"


def sample_name(kind: str) -> str:
    """What goes through a model, costs FLOPs and takes time: an image, or a clip of a video."""
    return "clip" if kind == "videos" else "image"


class Pairing(Protocol):
    """Two methods on the same images: what a comparison asks of them."""

    @property
    def p(self) -> float:
        """Two-sided p of the difference of their accuracies."""
        ...

    @property
    def ahead(self) -> tuple[int, int]:
        """Images on which the first is better, and on which the second is."""
        ...

    @property
    def smallest(self) -> float:
        """Smallest difference that a test at 5 % of so many images finds in four runs of five."""
        ...

    def spread(self, alpha: float = 0.05) -> Spread:
        """Where the difference lies, at level 1 - `alpha`."""
        ...

    def corrected(self, p: float, alpha: float) -> Spread:
        """The same, so that it agrees with a test of this `p` at `alpha`."""
        ...


class Outcomes(ABC):
    """Outcomes of one method at one budget.

    Attributes:
        label: label of the method's cells.
        images: (n,) number of each image in its data set.
        removed: share of the dense model's work removed, in the run's convention.
        kind: whether the images are images or videos.
        coarse: whether whole rows and columns leave, so that a budget is met only as near as those
            allow.
        metric: what `accuracy` is.

    """

    metric: ClassVar[Metric]
    label: str
    images: NDArray[np.int64]
    removed: float
    kind: str
    coarse: bool

    @property
    @abstractmethod
    def seeds(self) -> int:
        """Seeds evaluated."""

    @property
    def count(self) -> int:
        """Images evaluated."""
        return len(self.images)

    @property
    @abstractmethod
    def accuracy(self) -> float:
        """The task's main figure, mean over seeds, in [0, 1]."""

    @abstractmethod
    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Interval of `accuracy` over images."""

    @abstractmethod
    def paired(self, other: Self) -> Pairing:
        """Compare with `other` on the same images; ValueError if these are not the same."""

    @classmethod
    @abstractmethod
    def drawn(cls, single: Sequence[Self]) -> NDArray[np.float64]:
        """Accuracies (k, draws) of k outcomes of one seed each, in images drawn with replacement.

        All have the same images in a draw.
        """

    @abstractmethod
    def each_seed(self) -> list[Self]:
        """The outcomes of each seed by itself."""

    @abstractmethod
    def called(self, label: str, removed: float) -> Self:
        """The same under another label, with another share of work removed."""


def in_one_order(one: Outcomes, two: Outcomes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices that bring the images of both into one order; ValueError unless they are the same."""
    # By number, since shards and runs may have images in other orders.
    first, second = np.argsort(one.images), np.argsort(two.images)
    if not np.array_equal(one.images[first], two.images[second]):
        raise ValueError(
            f"{one.label} and {two.label} were not evaluated on the same images, so they cannot be "
            "paired"
        )
    return first, second

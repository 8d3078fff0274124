"""What one method got right, image by image: the input of every comparison."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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


@dataclass(frozen=True)
class Outcomes:
    """Correctness of one method at one budget.

    Attributes:
        label: label of the method's cells.
        correct: (S, n) top-1 hits for S seeds (1 for a deterministic method) and n images.
        images: (n,) number of each image in its data set.
        removed: share of the dense model's work removed, in the run's convention.
        kind: whether the images are images or videos.
        coarse: whether whole rows and columns leave, so that a budget is met only as near as those
            allow.

    """

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
    def count(self) -> int:
        """Images evaluated."""
        return int(self.correct.shape[1])

    @property
    def accuracy(self) -> float:
        """Mean top-1 over seeds and images."""
        return float(self.correct.mean())


def aligned(one: Outcomes, two: Outcomes) -> tuple[Bits, Bits]:
    """Hits of both in one order of images; ValueError unless both have the very same images."""
    # By number, since shards and runs may have images in other orders.
    first, second = np.argsort(one.images), np.argsort(two.images)
    if not np.array_equal(one.images[first], two.images[second]):
        raise ValueError(
            f"{one.label} and {two.label} were not evaluated on the same images, so they cannot be "
            "paired"
        )
    return one.correct[:, first], two.correct[:, second]

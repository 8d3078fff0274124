"""Training images: fresh variants of a data set, a batch at a time, as bytes that workers can hand over cheaply."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from backbones.errors import UserError
from suite.data import clutter
from suite.data.sources import Garments


class TrainingImages(Protocol):
    """What the training loop asks of its data."""

    @property
    def mean(self) -> tuple[float, float, float]:
        """Of the pixels in 0..1, by channel."""
        ...

    @property
    def std(self) -> tuple[float, float, float]:
        """Of the pixels in 0..1, by channel."""
        ...

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class of every image (N,)."""
        ...

    def render(self, indices: NDArray[np.int64], variant: int) -> NDArray[np.uint8]:
        """Images (B, H, W, 3); each `variant` is another view of the same sources, 0 the data set as evaluated."""
        ...


@dataclass(frozen=True)
class ClutterImages:
    """`fashion-clutter`: every variant puts the garment on a new canvas."""

    garments: Garments
    mean: tuple[float, float, float] = clutter.MEAN
    std: tuple[float, float, float] = clutter.STD

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class of every garment."""
        return self.garments.labels

    def render(self, indices: NDArray[np.int64], variant: int = 0) -> NDArray[np.uint8]:
        """Canvases (B, 56, 56, 3)."""
        return clutter.render_batch(self.garments, indices, variant)


def training_images(dataset: str, split: str, source: str | None) -> TrainingImages:
    """The images of `dataset` for training or scoring; UserError for a data set without a training form."""
    if dataset != "fashion-clutter":
        raise UserError(f"there is no training form of '{dataset}': recipes train on fashion-clutter")
    return ClutterImages(clutter.open_garments(split, source))

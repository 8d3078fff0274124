"""`fashion-mnist`: the garments and splits of `fashion-clutter`, large and centred on black."""

from __future__ import annotations

import numpy as np

from suite.data.base import (
    Dataset,
    Grid,
    IntArray,
    Manifest,
    Mask,
    Pixels,
    Request,
    Samples,
    digest,
)
from suite.data.images.clutter import covered_cells, garments_for
from suite.data.images.composite import GARMENT_THRESHOLD
from suite.data.images.sources import CLASSES, SIDE, Garments
from suite.data.loading.pixels import normalise, resize

# Of the 60,000 training garments at 28x28: the values in common use.
MEAN = (0.2860, 0.2860, 0.2860)
STD = (0.3530, 0.3530, 0.3530)


class FashionMnist(Dataset):
    """Garments in grey, resized from 28x28 to the model's size (bilinear)."""

    name = "fashion-mnist"
    classes = CLASSES
    mean, std = MEAN, STD

    def __init__(self, garments: Garments, split: str | None = None) -> None:
        """`split` is what these garments are called, by default as in their file."""
        self.garments = garments
        self.split, self.labels = split or garments.split, garments.labels

    def image(self, index: int) -> Pixels:
        """The original photograph, (28, 28, 3)."""
        grey = self.garments.images[self.check_index(index)]
        return np.repeat(grey[..., None], 3, axis=2)

    def sample(self, index: int, image_size: int) -> Samples:
        """The garment resized and normalised, (3, image_size, image_size)."""
        resized = resize(self.image(index)[None], image_size)
        sample: Samples = normalise(resized, MEAN, STD)[0]
        return sample

    def foreground(self, index: int, grid: Grid) -> Mask | None:
        """Cells of `grid` that the garment covers, as in `fashion-clutter`."""
        # Cells smaller than a pixel of the photograph have no share of it.
        if max(grid) > SIDE:
            return None
        grey = self.garments.images[self.check_index(index)]
        alpha = np.uint8(255) * (grey >= GARMENT_THRESHOLD)
        covered: Mask = covered_cells(alpha[None], grid)[0]
        return covered

    def content(self, indices: IntArray) -> str:
        """Hash of the garments at `indices` and of all else that is drawn from."""
        shown = {"name": self.name, "garments": self.garments.checksum_of(indices)}
        return digest({**self.identity(), **shown})

    def identity(self) -> Manifest:
        """Garments and normalisation."""
        return {"garments": self.garments.checksum(), "mean": MEAN, "std": STD}


def open_fashion(request: Request) -> FashionMnist:
    """Open ``fashion-mnist``."""
    return FashionMnist(garments_for(request, "fashion-mnist"), request.split)

"""Plain `fashion-mnist`: the garments of `fashion-clutter`, same splits, large and centred on black."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backbones.common.errors import UserError
from suite.data.base import Dataset, Manifest, Request, check_index
from suite.data.images.clutter import FOREGROUND_SHARE, open_garments, token_coverage
from suite.data.images.composite import GARMENT_THRESHOLD
from suite.data.images.sources import CLASSES, Garments
from suite.data.loading.pixels import normalise, resize

# Of the 60,000 training garments at 28x28, the values in common use.
MEAN = (0.2860, 0.2860, 0.2860)
STD = (0.3530, 0.3530, 0.3530)


class FashionMnist(Dataset):
    """Garments in grey, resized from 28x28 to what the model takes (bilinear)."""

    name = "fashion-mnist"
    classes = CLASSES
    mean, std = MEAN, STD

    def __init__(self, garments: Garments) -> None:
        self.garments = garments
        self.split = garments.split
        self.labels = garments.labels

    def image(self, index: int) -> NDArray[np.uint8]:
        """The garment as it was photographed, (28, 28, 3)."""
        grey = self.garments.images[check_index(index, len(self))]
        return np.repeat(grey[..., None], 3, axis=2)

    def sample(self, index: int, image_size: int) -> NDArray[np.float32]:
        """The garment resized and normalised, (3, image_size, image_size)."""
        pixels: NDArray[np.float32] = normalise(
            resize(self.image(index)[None], image_size), MEAN, STD
        )[0]
        return pixels

    def foreground(self, index: int, grid: tuple[int, int]) -> NDArray[np.bool_] | None:
        """Cells of `grid` that the garment covers, by the rule of `fashion-clutter`; None for grids finer than 28."""
        if max(grid) > self.garments.images.shape[1]:
            return None
        alpha = (self.garments.images[check_index(index, len(self))] >= GARMENT_THRESHOLD).astype(
            np.uint8
        ) * 255
        covered: NDArray[np.bool_] = token_coverage(alpha[None], grid)[0] >= FOREGROUND_SHARE
        return covered

    def identity(self) -> Manifest:
        """Garments and normalisation."""
        return {"garments": self.garments.checksum(), "mean": MEAN, "std": STD}


def open_fashion(request: Request) -> FashionMnist:
    """Open ``fashion-mnist``; the usual split is `test`."""
    if request.path:
        raise UserError(
            "fashion-mnist takes no path: name the folder of the originals with --source"
        )
    return FashionMnist(open_garments(request.split or "test", request.source))

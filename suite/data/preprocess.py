"""The evaluation preprocessing of image classifiers: resize the short side, centre crop, normalise."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backbones.errors import UserError
from backbones.registry import nearest
from suite.data.base import Manifest, Request
from suite.data.pixels import normalise

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
FILTERS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "lanczos": Image.Resampling.LANCZOS,
}


@dataclass(frozen=True)
class Preprocess:
    """How an image of any size becomes a model's input; the defaults are Vim's and DeiT's evaluation.

    The short side becomes int(size / crop), the middle size x size is kept: 224 of 256 at the default.
    """

    crop: float = 0.875
    interpolation: str = "bicubic"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def __post_init__(self) -> None:
        if not 0 < self.crop <= 1:
            raise UserError(f"crop {self.crop} is not a share: choose more than 0 and at most 1")
        if self.interpolation not in FILTERS:
            raise UserError(f"unknown interpolation '{self.interpolation}': {nearest(self.interpolation, FILTERS)}")

    def __call__(self, pixels: NDArray[np.uint8], image_size: int) -> NDArray[np.float32]:
        """`pixels` (H, W, 3) to (3, image_size, image_size)."""
        height, width = pixels.shape[:2]
        size = self.resized_size(height, width, image_size)
        left, top = round((size[0] - image_size) / 2), round((size[1] - image_size) / 2)
        middle = self.resized(pixels, size)[top : top + image_size, left : left + image_size]
        result: NDArray[np.float32] = normalise(middle[None], self.mean, self.std)[0]
        return result

    def resized_size(self, height: int, width: int, image_size: int) -> tuple[int, int]:
        """(width, height) after the resize."""
        short = int(image_size / self.crop)
        return (short, int(short * height / width)) if width <= height else (int(short * width / height), short)

    def resized(self, pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
        """`pixels` (H, W, 3) at `size` (width, height)."""
        return np.asarray(Image.fromarray(pixels).resize(size, FILTERS[self.interpolation]))

    def identity(self) -> Manifest:
        """The settings, for a manifest."""
        return asdict(self)


def requested(request: Request) -> Preprocess:
    """The default preprocessing with what `request` changes of it."""
    default = Preprocess()
    return Preprocess(
        crop=default.crop if request.crop is None else request.crop,
        interpolation=request.interpolation or default.interpolation,
    )

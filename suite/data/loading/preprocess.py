"""The evaluation preprocessing of image classifiers: resize the short side, centre crop, normalise."""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backbones.common.errors import UserError
from backbones.common.registry import nearest
from backbones.preprocessing import Preprocessing
from suite.data.base import Dataset, Manifest, Request
from suite.data.loading.pixels import normalise

FILTERS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "lanczos": Image.Resampling.LANCZOS,
}


@dataclass(frozen=True)
class Preprocess(Preprocessing):
    """How an image of any size becomes a model's input; the defaults are Vim's evaluation.

    The short side becomes int(size / crop), the middle size x size is kept: 224 of 256 at the
    default.
    """

    def __post_init__(self) -> None:
        if not 0 < self.crop <= 1:
            raise UserError(f"crop {self.crop} is not a share: choose more than 0 and at most 1")
        if self.interpolation not in FILTERS:
            raise UserError(
                f"unknown interpolation '{self.interpolation}': {nearest(self.interpolation, FILTERS)}"
            )

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
        return (
            (short, int(short * height / width))
            if width <= height
            else (int(short * width / height), short)
        )

    def resized(self, pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
        """`pixels` (H, W, 3) at `size` (width, height)."""
        return np.asarray(Image.fromarray(pixels).resize(size, FILTERS[self.interpolation]))

    def identity(self) -> Manifest:
        """The settings, for a manifest."""
        return asdict(self)


def asked_of(request: Request) -> dict[str, Any]:
    """What `request` fixes of the preprocessing, whatever a backbone was published with."""
    given = {"crop": request.crop, "interpolation": request.interpolation}
    return {name: value for name, value in given.items() if value is not None}


class Photographs(Dataset):
    """A data set of pictures of any size, prepared as each model's published accuracy wants them."""

    stored: ClassVar[bool] = True
    preprocess: Preprocess
    asked: dict[str, Any]

    def prepare(self, usual: Preprocessing, asked: dict[str, Any]) -> None:
        """Prepare pictures as is `usual`, but for what the user `asked`."""
        self.asked = asked
        self.preprocess = Preprocess(**asdict(usual) | asked)
        self.mean, self.std = self.preprocess.mean, self.preprocess.std

    def prepared_as(self, usual: Preprocessing) -> Self:
        """The same pictures prepared as is `usual`, but for what the user asked."""
        other = copy.copy(self)
        other.prepare(usual, self.asked)
        return other

"""The evaluation preprocessing of image classifiers: resize, centre crop, normalise."""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

import numpy as np
from PIL import Image

from backbones.common.errors import UserError
from backbones.common.registry import nearest
from backbones.preprocessing import Preprocessing
from suite.data.base import Dataset, Manifest, Pixels, Request, Samples
from suite.data.loading.pixels import normalise

FILTERS = ("bicubic", "bilinear", "lanczos")


@dataclass(frozen=True)
class Preprocess(Preprocessing):
    """A `Preprocessing` that is applied to images; the defaults are Vim's evaluation.

    The short side becomes int(size / crop), of which the centre size x size is kept: 224 of 256 at
    the default. UserError for a crop or an interpolation that does not exist.
    """

    def __post_init__(self) -> None:
        if not 0 < self.crop <= 1:
            raise UserError(f"crop {self.crop} is not a share: choose more than 0 and at most 1")
        if self.interpolation not in FILTERS:
            hint = nearest(self.interpolation, FILTERS)
            raise UserError(f"unknown interpolation '{self.interpolation}': {hint}")

    def __call__(self, pixels: Pixels, image_size: int) -> Samples:
        """`pixels` (H, W, 3) to (3, image_size, image_size)."""
        height, width = pixels.shape[:2]
        size = self.resized_size(height, width, image_size)
        left, top = round((size[0] - image_size) / 2), round((size[1] - image_size) / 2)
        resized = self.resized(pixels, size)
        centre = resized[top : top + image_size, left : left + image_size]
        result: Samples = normalise(centre[None], self.mean, self.std)[0]
        return result

    def resized_size(self, height: int, width: int, image_size: int) -> tuple[int, int]:
        """(width, height) after the resize."""
        # Rounded down as torchvision does, else pixels would differ from the published evaluation.
        short = int(image_size / self.crop)
        if width <= height:
            return short, int(short * height / width)
        return int(short * width / height), short

    def resized(self, pixels: Pixels, size: tuple[int, int]) -> Pixels:
        """`pixels` (H, W, 3) at `size` (width, height)."""
        resample = Image.Resampling[self.interpolation.upper()]
        return np.asarray(Image.fromarray(pixels).resize(size, resample))

    def identity(self) -> Manifest:
        """The settings, for a manifest."""
        return asdict(self)


def overrides_in(request: Request) -> dict[str, Any]:
    """Settings of the preprocessing that `request` fixes for every backbone."""
    settings = {"crop": request.crop, "interpolation": request.interpolation}
    return {name: value for name, value in settings.items() if value is not None}


class Photographs(Dataset):
    """Pictures of any size, preprocessed as each backbone was published."""

    stored: ClassVar[bool] = True
    preprocess: Preprocess
    overrides: dict[str, Any]

    def prepare(self, preprocessing: Preprocessing, overrides: dict[str, Any]) -> None:
        """Set the preprocessing; `overrides` are the user's own settings of it."""
        self.overrides = overrides
        self.preprocess = Preprocess(**asdict(preprocessing) | overrides)
        self.mean, self.std = self.preprocess.mean, self.preprocess.std

    def prepared_as(self, preprocessing: Preprocessing) -> Self:
        """The same pictures under another `preprocessing` and the same overrides."""
        other = copy.copy(self)
        other.prepare(preprocessing, self.overrides)
        return other

    def sample(self, index: int, image_size: int) -> Samples:
        """The picture resized, cropped and normalised."""
        return self.preprocess(self.image(index), image_size)

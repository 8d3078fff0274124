"""The preprocessing of images with which a backbone's published accuracy was measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
Channels = tuple[float, float, float]
# Segmented are the centre of a picture, windows that slide over all of it, or all of it at once.
Inference = Literal["centre", "slide", "whole"]


@dataclass(frozen=True)
class Preprocessing:
    """Resize the short side to int(size / crop), crop the centre, normalise pixels in 0..1.

    The defaults are the evaluation of Vim, VideoMamba and DeiT: bicubic, 224 of 256.
    """

    crop: float = 0.875
    interpolation: str = "bicubic"
    mean: Channels = IMAGENET_MEAN
    std: Channels = IMAGENET_STD

    @property
    def text(self) -> str:
        """A short description, for tables."""
        normalised = "" if self.mean == IMAGENET_MEAN else f", mean {self.mean[0]:g}"
        return f"crop {self.crop:g} {self.interpolation}{normalised}"


# VideoMamba's on videos: the short side of every frame becomes the model's, and crops are spread
# over the long one.
CLIPS = Preprocessing(crop=1.0, interpolation="bilinear")
# For images as small as the model's input: a crop would remove part of the object.
WHOLE = Preprocessing(crop=1.0)

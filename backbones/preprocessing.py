"""How a backbone's images were prepared when its published accuracy was measured."""

from __future__ import annotations

from dataclasses import dataclass

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
Channels = tuple[float, float, float]


@dataclass(frozen=True)
class Preprocessing:
    """Resize the short side to int(size / crop), cut out the middle, normalise pixels in 0..1 by mean and std.

    The defaults are the evaluation of Vim, VideoMamba and DeiT: bicubic, 224 of 256.
    """

    crop: float = 0.875
    interpolation: str = "bicubic"
    mean: Channels = IMAGENET_MEAN
    std: Channels = IMAGENET_STD

    @property
    def text(self) -> str:
        """In a few words."""
        normalised = "" if self.mean == IMAGENET_MEAN else f", mean {self.mean[0]:g}"
        return f"crop {self.crop:g} {self.interpolation}{normalised}"


CLIPS = Preprocessing(crop=1.0, interpolation="bilinear")
"""VideoMamba's on videos: the short side of every frame becomes the model's, crops are spread over the long one."""

WHOLE = Preprocessing(crop=1.0)
"""Of pictures that are as small as the model's input: nothing is cut off."""

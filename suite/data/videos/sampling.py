"""Clips: the frames of a video, and the crops of them, that a model is tested on.

The sampling is the sparse test of VideoMamba (Li et al., ECCV 2024, arXiv 2403.06977) and of UMT
before it: a video of n frames is cut into T equal segments and a clip takes one frame of each, so
that it spans the whole video; clip k of K takes the frame (k + 1) / (K + 1) of a segment after its
start. Frames are counted as they are shown, whatever their rate. A video shorter than T repeats
frames. The short side is resized to the model's and square crops are spread evenly over the long
side.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np

from backbones.common.errors import UserError
from suite.data.base import IntArray, Pixels

# Frame numbers to decode, from the number of frames; what is kept of a decoded frame.
Choose = Callable[[int], IntArray]
Keep = Callable[[Pixels], Pixels]
# Raise with any change that alters which frames or pixels come out.
SAMPLING_VERSION = 2


@dataclass(frozen=True)
class Views:
    """Views of a video: `clips` in time, each under `crops` in space, written ``4x3``."""

    clips: int = 4
    crops: int = 3

    @property
    def count(self) -> int:
        """Views of one video."""
        return self.clips * self.crops

    def __str__(self) -> str:
        return f"{self.clips}x{self.crops}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``CLIPSxCROPS``; UserError if `text` is not of that form."""
        match = re.fullmatch(r"([1-9][0-9]?)x([1-9][0-9]?)", text)
        if not match:
            raise UserError(
                f"views '{text}' are not CLIPSxCROPS: write 4x3 for 4 clips under 3 crops each"
            )
        return cls(int(match[1]), int(match[2]))


def frame_indices(count: int, frames: int, clips: int) -> IntArray:
    """Frames, of `count`, of each clip: (clips, frames), ascending in each row."""
    segment = (count - 1) / frames
    # Starts are rounded to the nearest frame and offsets down, as in the released code.
    starts = np.rint(segment * np.arange(frames)).astype(np.int64)
    offsets = np.floor(segment / (clips + 1) * np.arange(1, clips + 1)).astype(np.int64)
    return np.minimum(starts[None, :] + offsets[:, None], count - 1)


def crop_offsets(length: int, size: int, crops: int) -> list[int]:
    """First pixels of `crops` windows of `size`, from end to end of `length`; one is centred."""
    if crops == 1:
        return [int((length - size) / 2)]
    return [int(index * (length - size) / (crops - 1)) for index in range(crops)]


def cropped(frames: Pixels, size: int, crops: int) -> list[Pixels]:
    """Square crops (N, size, size, 3) of (N, H, W, 3), spread over the longer side."""
    height, width = frames.shape[1:3]
    (across,) = crop_offsets(min(height, width), size, 1)
    squares = []
    for along in crop_offsets(max(height, width), size, crops):
        top, left = (along, across) if height >= width else (across, along)
        squares.append(frames[:, top : top + size, left : left + size])
    return squares

"""Clips: which frames of a video and which crops of them a model is tested on.

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
from numpy.typing import NDArray

from backbones.common.errors import UserError

Choose = Callable[[int], NDArray[np.int64]]
Keep = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
# Raise with any change that alters which frames or pixels come out.
SAMPLING_VERSION = 1


@dataclass(frozen=True)
class Views:
    """How often a video is looked at: `clips` in time, each under `crops` in space. Text form: ``4x3``."""

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
        """The views `text` asks for, ``CLIPSxCROPS``; UserError if it is not of that form."""
        found = re.fullmatch(r"([1-9]\d?)x([1-9]\d?)", text)
        if not found:
            raise UserError(
                f"views '{text}' are not CLIPSxCROPS: write 4x3 for 4 clips under 3 crops each"
            )
        return cls(int(found[1]), int(found[2]))


def frame_indices(count: int, frames: int, clips: int) -> NDArray[np.int64]:
    """Which of `count` frames make up each clip, (clips, frames), ascending in each row."""
    segment = (count - 1) / frames
    starts = np.rint(segment * np.arange(frames)).astype(np.int64)
    offsets = np.floor(segment / (clips + 1) * np.arange(1, clips + 1)).astype(np.int64)
    return np.minimum(starts[None, :] + offsets[:, None], count - 1)


def crop_offsets(length: int, size: int, crops: int) -> list[int]:
    """Where `crops` windows of `size` begin on a side of `length`: from end to end, a single one in the middle."""
    if crops == 1:
        return [int((length - size) / 2)]
    return [int(index * (length - size) / (crops - 1)) for index in range(crops)]


def cropped(frames: NDArray[np.uint8], size: int, crops: int) -> list[NDArray[np.uint8]]:
    """Square crops (N, size, size, 3) of `frames` (N, H, W, 3): along the longer side, in the middle of the other."""
    height, width = frames.shape[1:3]
    across = crop_offsets(min(height, width), size, 1)[0]
    along = crop_offsets(max(height, width), size, crops)
    places = [(offset, across) if height >= width else (across, offset) for offset in along]
    return [frames[:, top : top + size, left : left + size] for top, left in places]

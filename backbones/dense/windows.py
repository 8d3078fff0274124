"""Windows over a picture of any size: sliding squares, or a single one that shows all of it.

As OpenMMLab's MMSegmentation lays them: the last of a row or column is moved inwards to end with
the picture. Logits are averaged where windows overlap.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self

from backbones.common.errors import UserError


def usual_stride(window: int) -> int:
    """Pixels from one window of this side to the next in the releases: 341 of 512."""
    return max(1, 2 * window // 3)


def window_starts(length: int, window: int, stride: int) -> list[int]:
    """First pixels of the windows along one side, which cover all of its `length` pixels.

    UserError unless 1 <= `stride` <= `window`, since a longer step would leave pixels out.
    """
    if not 1 <= stride <= window:
        raise UserError(
            f"windows of {window} pixels cannot be moved by {stride}: use a stride from 1 to "
            f"{window}"
        )
    last = max(length - window, 0)
    return [*range(0, last, stride), last]


@dataclass(frozen=True)
class Layout:
    """The windows of one picture of `height` x `width` pixels, each of `rows` x `columns` pixels.

    Each is `stride` pixels further than the one before. No side is shorter than a window.
    """

    height: int
    width: int
    rows: int
    columns: int
    stride: int

    @classmethod
    def whole(cls, height: int, width: int) -> Self:
        """The whole picture as one window."""
        return cls(height, width, height, width, stride=1)

    @cached_property
    def places(self) -> tuple[tuple[int, int], ...]:
        """First row and column of each window, row by row."""
        across = window_starts(self.width, self.columns, self.stride)
        down = window_starts(self.height, self.rows, self.stride)
        return tuple((top, left) for top in down for left in across)

    @property
    def count(self) -> int:
        """How many windows there are."""
        return len(self.places)

"""Position embeddings on another grid."""

from __future__ import annotations

from math import isqrt

import torch
import torch.nn.functional as F
from torch import Tensor

Grid = tuple[int, int]


def resample_positions(rows: Tensor, old_grid: Grid, new_grid: Grid) -> Tensor:
    """A learned embedding (1, h*w, C) of patches on `old_grid`, resampled (bicubic) to `new_grid`: (1, h'*w', C).

    Worked out in fp32 at least.
    """
    image = _precise(rows).transpose(1, 2).reshape(1, -1, *old_grid)
    resampled = F.interpolate(image, size=new_grid, mode="bicubic", align_corners=False)
    return resampled.flatten(2).transpose(1, 2).to(rows.dtype)


def interpolate_pos_embed(
    pos: Tensor, place: int, old_grid: Grid, new_place: int, new_grid: Grid
) -> Tensor:
    """A learned embedding (1, h*w + 1, C) of `old_grid` resampled (bicubic) to `new_grid`, (1, h'*w' + 1, C).

    The class token's row stands at `place` in the sequence and goes to `new_place` in the new one;
    it is cut out first, so that it is never mixed with patches.
    """
    cls = pos[:, place : place + 1]
    rows = resample_positions(
        torch.cat([pos[:, :place], pos[:, place + 1 :]], dim=1), old_grid, new_grid
    )
    return torch.cat([rows[:, :new_place], cls, rows[:, new_place:]], dim=1)


def side_of(patches: int) -> int | None:
    """Patches along one side of a square of `patches`; None if they form none."""
    side = isqrt(patches)
    return side if patches and side**2 == patches else None


def resample_frames(rows: Tensor, frames: int) -> Tensor:
    """A learned embedding (1, T, C) of the frames of a clip, resampled linearly to `frames`, in fp32 at least."""
    resampled = F.interpolate(
        _precise(rows).transpose(1, 2), size=frames, mode="linear", align_corners=False
    )
    return resampled.transpose(1, 2).to(rows.dtype)


def _precise(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))

"""Position embeddings on another grid."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

Grid = tuple[int, int]


def resample_positions(rows: Tensor, old_grid: Grid, new_grid: Grid) -> Tensor:
    """A learned embedding (1, h*w, C) of patches on `old_grid`, resampled (bicubic) to `new_grid`: (1, h'*w', C)."""
    image = rows.transpose(1, 2).reshape(1, -1, *old_grid)
    resampled = F.interpolate(image, size=new_grid, mode="bicubic", align_corners=False)
    return resampled.flatten(2).transpose(1, 2)


def interpolate_pos_embed(pos: Tensor, place: int, old_grid: Grid, new_place: int, new_grid: Grid) -> Tensor:
    """A learned embedding (1, h*w + 1, C) of `old_grid` resampled (bicubic) to `new_grid`, (1, h'*w' + 1, C).

    The class token's row stands at `place` in the sequence and goes to `new_place` in the new one; it is cut out
    first, so that it is never mixed with patches.
    """
    cls = pos[:, place : place + 1]
    rows = resample_positions(torch.cat([pos[:, :place], pos[:, place + 1 :]], dim=1), old_grid, new_grid)
    return torch.cat([rows[:, :new_place], cls, rows[:, new_place:]], dim=1)

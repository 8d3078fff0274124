"""Position embeddings on another grid."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def interpolate_pos_embed(pos: Tensor, place: int, old_grid: tuple[int, int], new_grid: tuple[int, int]) -> Tensor:
    """A learned embedding (1, h*w + 1, C) of `old_grid` resampled (bicubic) to `new_grid`, (1, h'*w' + 1, C).

    The class token's row stands at `place` in the sequence and goes to the middle of the new one, as Vim places it;
    it is cut out first, so that it is never mixed with patches.
    """
    cls = pos[:, place : place + 1]
    patches = torch.cat([pos[:, :place], pos[:, place + 1 :]], dim=1)
    image = patches.transpose(1, 2).reshape(1, -1, *old_grid)
    resampled = F.interpolate(image, size=new_grid, mode="bicubic", align_corners=False)
    rows = resampled.flatten(2).transpose(1, 2)
    middle = rows.shape[1] // 2
    return torch.cat([rows[:, :middle], cls, rows[:, middle:]], dim=1)

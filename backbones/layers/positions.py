"""Resampling position embeddings to another grid or number of frames."""

from __future__ import annotations

from collections.abc import Callable
from math import isqrt

import torch
import torch.nn.functional as F
from torch import Tensor

Grid = tuple[int, int]


def resample_grid(
    positions: Tensor, grid: int, class_place_of: Callable[[int], int] | None = None
) -> Tensor | None:
    """Resample an embedding (1, L, C) of a square of patches to `grid` x `grid` patches.

    `class_place_of` maps a number of patches to the index of the class token; None: there is no
    class token. The result is None if the patches form no square.
    """
    patches = positions.shape[1] - (class_place_of is not None)
    side = isqrt(patches)
    if not patches or side**2 != patches:
        return None
    if class_place_of is None:
        return resample_positions(positions, (side, side), (grid, grid))
    # in some families the class token's index depends on the number of patches
    old = class_place_of(patches)
    new = class_place_of(grid**2)
    return interpolate_pos_embed(positions, old, (side, side), new, (grid, grid))


def resample_positions(rows: Tensor, old_grid: Grid, new_grid: Grid) -> Tensor:
    """Resample a learned embedding (1, h*w, C), bicubically, to (1, h'*w', C); in at least fp32."""
    image = _precise(rows).transpose(1, 2).reshape(1, -1, *old_grid)
    resampled = F.interpolate(image, size=new_grid, mode="bicubic", align_corners=False)
    tokens = resampled.flatten(2).transpose(1, 2)
    return tokens.to(rows.dtype)


def interpolate_pos_embed(
    pos: Tensor,
    place: int,
    old_grid: Grid,
    new_place: int,
    new_grid: Grid,
) -> Tensor:
    """Resample a learned embedding (1, h*w + 1, C) with a class token to (1, h'*w' + 1, C).

    Patches are resampled bicubically; the class token's row moves from index `place` to
    `new_place`.
    """
    # The class token is cut out first: it must not be mixed with the patches beside it.
    cls = pos[:, place : place + 1]
    patches = torch.cat([pos[:, :place], pos[:, place + 1 :]], dim=1)
    rows = resample_positions(patches, old_grid, new_grid)
    return torch.cat([rows[:, :new_place], cls, rows[:, new_place:]], dim=1)


def resample_frames(rows: Tensor, frames: int) -> Tensor:
    """Resample a learned embedding (1, T, C) of frames, linearly, to `frames`; in at least fp32."""
    series = _precise(rows).transpose(1, 2)
    resampled = F.interpolate(series, size=frames, mode="linear", align_corners=False)
    return resampled.transpose(1, 2).to(rows.dtype)


def _precise(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))

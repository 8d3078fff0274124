"""Undoing a reduction: every place of the unreduced sequence gets back a value, as dense prediction needs it."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from backbones.sequence import TokenSequence

Fill = Literal["nearest", "zeros"]


def unreduce(values: Tensor, tokens: TokenSequence, fill: Fill = "nearest") -> Tensor:
    """Values (B, L, F) of the tokens that are left, spread to all original ones (B, L0, F); `tokens` are tracked.

    A merged token gives its value to every token that went into it. A dropped one has none: with
    `fill` nearest it takes that of the nearest place of the (T, H, W) grid, one frame counting as
    far as one row or column, whose token lives in a patch token (ties go to the earlier place;
    zeros if no place has one); with zeros, zeros.
    """
    if tokens.owner is None:
        raise ValueError(
            "unreduce follows every token to where it went: track the sequence before its first reduction"
        )
    owner = tokens.owner
    if fill == "nearest":
        owner = _nearest_owner(owner, tokens)
    found = values.gather(1, owner.clamp_min(0)[:, :, None].expand(-1, -1, values.shape[2]))
    return found.masked_fill((owner < 0)[:, :, None], 0)


def on_grid(full: Tensor, tokens: TokenSequence) -> Tensor:
    """The patches' part of what `unreduce` gave (B, L0, F), on the grid (B, T, H, W, F)."""
    places = _patch_places(tokens)
    patches = full.gather(1, places[:, :, None].expand(-1, -1, full.shape[2]))
    return patches.unflatten(1, tokens.grid)


def _patch_places(tokens: TokenSequence) -> Tensor:
    """The original places (B, T H W) of the patch tokens, in the order of the grid."""
    special = tokens.position.gather(1, tokens.special)
    is_special = torch.zeros(
        tokens.batch, tokens.original_length, dtype=torch.uint8, device=special.device
    )
    order = is_special.scatter_(1, special, 1).argsort(dim=1, stable=True)
    return order[:, : tokens.original_length - special.shape[1]]


def _nearest_owner(owner: Tensor, tokens: TokenSequence) -> Tensor:
    """`owner` (B, L0) with every -1 replaced by the owner of the nearest place that has one, -1 where there is none."""
    places = _patch_places(tokens)
    patch_owner = owner.gather(1, places)
    in_special = (patch_owner[:, :, None] == tokens.special[:, None, :]).any(2)
    usable = (patch_owner >= 0) & ~in_special
    key = _distances(tokens.grid, owner.device)
    never = int(key.max()) + 1
    # image by image: a clip's table of distances is large enough alone
    nearest = torch.stack([key.where(row, never).argmin(1) for row in usable])
    filled = patch_owner.gather(1, nearest).where(usable.any(1, keepdim=True), -1)
    return owner.scatter(1, places, torch.where(patch_owner < 0, filled, patch_owner))


def _distances(grid: tuple[int, int, int], device: torch.device) -> Tensor:
    """Squared distance between every two cells (P, P), made unique by the place of the second one."""
    axes = torch.meshgrid(*(torch.arange(side, device=device) for side in grid), indexing="ij")
    cells = torch.stack(axes).flatten(1)
    squared = (cells[:, :, None] - cells[:, None, :]).square().sum(0)
    return squared * cells.shape[1] + torch.arange(cells.shape[1], device=device)

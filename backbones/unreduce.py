"""Undo a reduction: a value for every token of the unreduced sequence, for dense prediction."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from backbones.sequence import TokenSequence

Fill = Literal["nearest", "zeros"]


def unreduce(values: Tensor, tokens: TokenSequence, fill: Fill = "nearest") -> Tensor:
    """Spread values (B, L, F) of the remaining tokens to all original ones, (B, L0, F).

    `tokens` must be tracked. A merged token gives its value to every token that went into it. A
    dropped token has no value of its own: with `fill` "nearest" it takes that of the nearest cell
    of the (T, H, W) grid whose token is part of a remaining patch token; one frame is as far as one
    row or column, ties go to the earlier cell, and without any such cell the value is zero. With
    "zeros" it is zero.
    """
    if tokens.owner is None:
        raise ValueError(
            "unreduce follows every token to where it went: "
            "track the sequence before its first reduction"
        )
    owner = tokens.owner
    if fill == "nearest":
        owner = _nearest_owner(owner, tokens)
    # Dropped tokens gather any value first and are zeroed afterwards.
    index = owner.clamp_min(0)[:, :, None]
    full = values.gather(1, index.expand(-1, -1, values.shape[2]))
    dropped = owner < 0
    return full.masked_fill(dropped[:, :, None], 0)


def on_grid(full: Tensor, tokens: TokenSequence) -> Tensor:
    """The patches of `unreduce`'s result (B, L0, F), on the grid (B, T, H, W, F)."""
    index = _patch_positions(tokens)[:, :, None]
    patches = full.gather(1, index.expand(-1, -1, full.shape[2]))
    return patches.unflatten(1, tokens.grid)


def _patch_positions(tokens: TokenSequence) -> Tensor:
    """Original positions (B, T H W) of the patch tokens, in the order of the grid."""
    special = tokens.position.gather(1, tokens.special)
    shape = (tokens.batch, tokens.original_length)
    is_special = torch.zeros(shape, dtype=torch.uint8, device=special.device)
    # A stable sort of the flags keeps patches in order and moves special tokens to the end.
    is_special.scatter_(1, special, 1)
    order = is_special.argsort(dim=1, stable=True)
    patches = tokens.original_length - special.shape[1]
    return order[:, :patches]


def _nearest_owner(owner: Tensor, tokens: TokenSequence) -> Tensor:
    """`owner` (B, L0) with every -1 replaced by the owner of the nearest cell that has one."""
    positions = _patch_positions(tokens)
    patch_owner = owner.gather(1, positions)
    # A special token's value describes the whole image, not the cell of a patch merged into it.
    in_special = (patch_owner[:, :, None] == tokens.special[:, None, :]).any(2)
    usable = (patch_owner >= 0) & ~in_special
    key = _distances(tokens.grid, owner.device)
    farthest = int(key.max()) + 1
    # Image by image: the table of a clip's distances is large enough for one.
    nearest = torch.stack([key.where(row, farthest).argmin(1) for row in usable])
    filled = patch_owner.gather(1, nearest)
    filled = filled.where(usable.any(1, keepdim=True), -1)
    patch_owner = patch_owner.where(patch_owner >= 0, filled)
    return owner.scatter(1, positions, patch_owner)


def _distances(grid: tuple[int, int, int], device: torch.device) -> Tensor:
    """Squared distances between all cells (P, P), made unique by the index of the second cell."""
    sides = [torch.arange(side, device=device) for side in grid]
    axes = torch.meshgrid(*sides, indexing="ij")
    cells = torch.stack(axes).flatten(1)
    offsets = cells[:, :, None] - cells[:, None, :]
    squared = offsets.square().sum(0)
    # unique keys, so that ties do not depend on how argmin is implemented on a device
    count = cells.shape[1]
    return squared * count + torch.arange(count, device=device)

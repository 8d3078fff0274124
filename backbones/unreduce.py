"""Undo a reduction: a value for every token of the unreduced sequence, for dense prediction."""

from __future__ import annotations

from typing import Literal, Protocol, get_args

import torch
from torch import Tensor

Fill = Literal["frozen", "nearest", "bilinear", "zeros"]
FILLS: tuple[Fill, ...] = get_args(Fill)


class Tracked(Protocol):
    """Tokens that know where each original one went: a TokenSequence, or a reading of one."""

    @property
    def owner(self) -> Tensor | None:
        """Index (B, L0) of the token that each original one is part of, -1 if it was dropped."""
        ...

    @property
    def position(self) -> Tensor:
        """Indices (B, L) in the unreduced sequence."""
        ...

    @property
    def special(self) -> Tensor:
        """Current indices (B, S) of the special tokens."""
        ...

    @property
    def grid(self) -> tuple[int, int, int]:
        """(T, H, W) of the unreduced patch tokens."""
        ...


def unreduce(
    values: Tensor,
    tokens: Tracked,
    fill: Fill = "nearest",
    last: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Spread values (B, L, F) of the remaining tokens to all original ones, (B, L0, F).

    `tokens` must be tracked. A merged token gives its value to every token that went into it. A
    dropped token has no value of its own. By `fill`:

    ``frozen``    it keeps the value it had last, as in DyVM (arXiv 2504.04787): `last` are such
                  values (B, R, F), and the index (B, L0) of each original token among them, -1 for
                  none; without one it takes zero
    ``nearest``   that of the nearest cell of the (T, H, W) grid whose token is part of a remaining
                  patch token; one frame is as far as one row or column, ties go to the earlier
                  cell, and without any such cell the value is zero
    ``bilinear``  the mean of the next such cells before and behind it on each axis of the grid,
                  weighted by one over their distance: between two of a row, what a straight line
                  between them has there. Without any on an axis that of the nearest
    ``zeros``     zero
    """
    if tokens.owner is None:
        raise ValueError(
            "unreduce follows every token to where it went: "
            "track the sequence before its first reduction"
        )
    owner = tokens.owner
    if fill == "frozen":
        if last is None:
            raise ValueError("a frozen fill needs the values that dropped tokens had last")
        values, owner = with_last(values, owner, *last)
    elif fill != "zeros":
        owner = _nearest_owner(owner, tokens)
    # Dropped tokens gather any value first and are zeroed afterwards.
    index = owner.clamp_min(0)[:, :, None]
    full = values.gather(1, index.expand(-1, -1, values.shape[2]))
    full = full.masked_fill((owner < 0)[:, :, None], 0)
    return _between(full, tokens) if fill == "bilinear" else full


def with_last(values: Tensor, owner: Tensor, last: Tensor, row: Tensor) -> tuple[Tensor, Tensor]:
    """Values (B, L + R, F), the `last` ones behind the others, and the owners among them.

    `row` (B, L0) is the index of a dropped token's own among the `last` (B, R, F), -1 without one.
    """
    owner = owner.where(row < 0, row + values.shape[1])
    return torch.cat([values, last.to(values.dtype)], 1), owner


def on_grid(full: Tensor, tokens: Tracked) -> Tensor:
    """The patches of `unreduce`'s result (B, L0, F), on the grid (B, T, H, W, F)."""
    index = _patch_positions(tokens)[:, :, None]
    patches = full.gather(1, index.expand(-1, -1, full.shape[2]))
    return patches.unflatten(1, tokens.grid)


def _patch_positions(tokens: Tracked) -> Tensor:
    """Original positions (B, T H W) of the patch tokens, in the order of the grid."""
    special = tokens.position.gather(1, tokens.special)
    frames, height, width = tokens.grid
    patches = frames * height * width
    shape = (len(special), patches + special.shape[1])
    is_special = torch.zeros(shape, dtype=torch.uint8, device=special.device)
    # A stable sort of the flags keeps patches in order and moves special tokens to the end.
    is_special.scatter_(1, special, 1)
    order = is_special.argsort(dim=1, stable=True)
    return order[:, :patches]


def _usable(patch_owner: Tensor, tokens: Tracked) -> Tensor:
    """Which cells (B, P), owned by `patch_owner`, are part of a remaining patch token."""
    # A special token's value describes the whole image, not the cell of a patch merged into it.
    in_special = (patch_owner[:, :, None] == tokens.special[:, None, :]).any(2)
    return (patch_owner >= 0) & ~in_special


def _nearest_owner(owner: Tensor, tokens: Tracked) -> Tensor:
    """`owner` (B, L0) with every -1 replaced by the owner of the nearest cell that has one."""
    positions = _patch_positions(tokens)
    patch_owner = owner.gather(1, positions)
    usable = _usable(patch_owner, tokens)
    # Image by image: the table of all cells and rows is large enough for one.
    nearest = torch.stack([_nearest_cells(row.view(tokens.grid)) for row in usable])
    filled = patch_owner.gather(1, nearest)
    filled = filled.where(usable.any(1, keepdim=True), -1)
    patch_owner = patch_owner.where(patch_owner >= 0, filled)
    return owner.scatter(1, positions, patch_owner)


def _nearest_cells(usable: Tensor) -> Tensor:
    """Of each cell (P,) the index of the nearest one that is `usable` (T, H, W), any if none is.

    Of equally near ones the first.
    """
    frames, height, width = usable.shape
    lines = usable.flatten(0, 1)
    steps = torch.arange(width, device=usable.device).expand_as(lines)
    # In each row the nearest to either side is enough: a table of cells and rows, not of all pairs.
    # farther than any cell is from another
    nowhere = frames + height + 2 * width
    before = steps.where(lines, -nowhere).cummax(1).values
    behind = steps.where(lines, nowhere).flip(1).cummin(1).values.flip(1)
    column = before.where(steps - before <= behind - steps, behind)
    places = [torch.arange(side, device=usable.device) for side in (frames, height)]
    rows = torch.cartesian_prod(*places)
    apart = (rows[:, None] - rows[None]).square().sum(2)
    squared = apart[:, :, None] + (steps - column).square()
    # unique keys, so that ties do not depend on how argmin is implemented on a device
    first = width * torch.arange(len(rows), device=usable.device)
    index = first[:, None] + column.clamp(0, width - 1)
    best = (squared * usable.numel() + index).argmin(1, keepdim=True)
    return index.expand_as(squared).gather(1, best).flatten()


def _between(full: Tensor, tokens: Tracked) -> Tensor:
    """`full` (B, L0, F) with the cells of dropped tokens interpolated along the axes."""
    assert tokens.owner is not None
    positions = _patch_positions(tokens)
    patch_owner = tokens.owner.gather(1, positions)
    usable = _usable(patch_owner, tokens).unflatten(1, tokens.grid)
    cells = on_grid(full, tokens)
    wide = cells.to(torch.promote_types(full.dtype, torch.float32))
    total = torch.zeros_like(wide)
    weights = wide.new_zeros(usable.shape)
    for axis in (1, 2, 3):
        for backwards in (False, True):
            place, distance = _next(usable, axis, backwards)
            weight = distance.clamp_min(1).to(wide.dtype).reciprocal().where(distance > 0, 0)
            index = place[..., None].expand_as(wide)
            total = total + wide.gather(axis, index) * weight[..., None]
            weights = weights + weight
    dropped = (patch_owner < 0).unflatten(1, tokens.grid)
    mean = total / weights.where(weights > 0, 1)[..., None]
    filled = mean.where((dropped & (weights > 0))[..., None], wide).to(full.dtype)
    index = positions[:, :, None].expand(-1, -1, full.shape[2])
    return full.scatter(1, index, filled.flatten(1, 3))


def _next(usable: Tensor, axis: int, backwards: bool) -> tuple[Tensor, Tensor]:
    """The next usable cell before or behind each cell along `axis`, and how far it is.

    Of `usable` (B, T, H, W); where there is none the distance is 0.
    """
    seen = usable.flip(axis) if backwards else usable
    shape = [1] * seen.ndim
    shape[axis] = seen.shape[axis]
    steps = torch.arange(seen.shape[axis], device=seen.device).view(shape)
    # The largest index so far is that of the last usable cell.
    place = steps.where(seen, -1).cummax(axis).values
    distance = (steps - place).where(place >= 0, 0)
    place = place.clamp_min(0)
    if not backwards:
        return place, distance
    return seen.shape[axis] - 1 - place.flip(axis), distance.flip(axis)

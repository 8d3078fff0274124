"""A map of tokens with half as many rows and columns, as between the stages of a hierarchy."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from backbones.sequence import TokenSequence
from backbones.shape import halved as halved_rectangle


def halved(tokens: TokenSequence, values: Tensor) -> TokenSequence:
    """The sequence after each 2 x 2 cells of its map have become one token.

    `values` (B, L', C') are the new tokens, row by row, of ceil(rows / 2) x ceil(columns / 2); they
    become the residual, over a branch of zeros. Cells at an odd edge hold fewer tokens. A new token
    has the position of its cell's first, and the sizes and owners of all. ValueError unless the
    tokens fill a rectangle and no decay is handed over.
    """
    rectangle = tokens.rectangle
    if rectangle is None or tokens.special.shape[1] or tokens.carry is not None:
        raise ValueError("only patch tokens that fill a rectangle can be halved")
    after = halved_rectangle(rectangle)
    cell = cells(rectangle, tokens.position.device)
    count = after[0] * after[1]
    # Of tokens row by row the first of a cell is at even row and column.
    first = tokens.position.unflatten(1, rectangle)[:, ::2, ::2].flatten(1)
    # whole numbers: the order of additions cannot change a bit
    size = tokens.size.new_zeros(tokens.batch, count).index_add(1, cell, tokens.size)
    owner = tokens.owner
    if owner is not None:
        owner = cell[owner.clamp_min(0)].where(owner >= 0, -1)
    wide = torch.promote_types(values.dtype, torch.float32)
    return replace(
        tokens,
        branch=torch.zeros_like(values),
        residual=values.to(wide),
        position=first,
        size=size,
        lattice=after,
        owner=owner,
        trace=None,
    )


def cells(rectangle: tuple[int, int], device: torch.device) -> Tensor:
    """Index of the cell (L,) that each token of a map of (rows, columns) goes to, row by row."""
    rows, columns = rectangle
    row = torch.arange(rows, device=device) // 2
    column = torch.arange(columns, device=device) // 2
    return (row[:, None] * -(-columns // 2) + column).flatten()

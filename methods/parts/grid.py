"""The image grid: where patch tokens stand on it, and what surrounds them there."""

from __future__ import annotations

import torch
from torch import Tensor

from backbones.sequence import TokenSequence


def cells(tokens: TokenSequence, patches: Tensor) -> Tensor:
    """Row-major grid cell (B, n) of each patch token: its position less the specials before it."""
    # Positions are those of the unreduced sequence, so cells are right at later sites as well.
    position = tokens.position.gather(1, patches)
    special = tokens.position.gather(1, tokens.special)
    return position - (special[:, None, :] < position[:, :, None]).sum(2)


def local_maximum(values: Tensor, cell: Tensor, grid: tuple[int, int, int], window: int) -> Tensor:
    """The largest of `values` (B, n) in the `window` x `window` cells centred on each token.

    `cell` (B, n) are the tokens' cells in the (frames, height, width) `grid`; cells whose token is
    gone hold nothing, and neighbours are of the same frame. `window` is odd.
    """
    frames, height, width = grid
    # -inf, so that a hole never wins; the token's own cell is always filled.
    canvas = values.new_full((values.shape[0], frames * height * width), -torch.inf).scatter_(
        1, cell, values
    )
    # Frames take the place of channels: pooling does not mix them.
    pooled = torch.nn.functional.max_pool2d(
        canvas.view(-1, frames, height, width), window, 1, window // 2
    )
    return pooled.flatten(1).gather(1, cell)

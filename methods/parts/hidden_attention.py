"""Hidden attention: both selective scans of a block written as attention, and its row of one token.

A scan that begins empty gives token c the output sum_j alpha_{c,j} u_j (plus its skip connection),

    alpha_{c,j} = sum_n C_c[n] (prod_{t=j+1..c} exp(Delta_t A[n])) Delta_j B_j[n]

for every token j scanned before c, in each channel. It stands for the attention that c pays to j.
In Mamba-2 a head has one timescale and one decay, so that all its channels have the same alpha.
"""

from __future__ import annotations

import torch
from torch import Tensor

IMAGES = 4  # worked on at a time, so that what is multiplied for each state stays in cache


def hidden_attention(
    delta: Tensor, A: Tensor, B: Tensor, C: Tensor, readers: Tensor, direction: str
) -> Tensor:
    """|Attention| that `readers` (B, S) pay to each token, mean over timescales and readers (B, L).

    `delta` (K, B, L, G), `A` (K, G, N), or (K, G, 1) for a decay that all states share, `B` and `C`
    (K, B, L, N). The forward scan carries the tokens before a reader to it, the backward one, where
    K is 2, those behind; `direction` counts one or both. A reader pays none to itself.
    """
    parts = zip(
        delta.split(IMAGES, 1),
        B.split(IMAGES, 1),
        C.split(IMAGES, 1),
        readers.split(IMAGES),
        strict=True,
    )
    return torch.cat([_of_images(steps, A, b, c, read, direction) for steps, b, c, read in parts])


def _of_images(
    delta: Tensor, A: Tensor, B: Tensor, C: Tensor, readers: Tensor, direction: str
) -> Tensor:
    # The product of exp(Delta_t A) is exp of a sum, and that a difference of sums from one end.
    sums = [delta[0].cumsum(1)]
    if len(delta) == 2:
        sums.append(delta[1].flip(1).cumsum(1).flip(1))
    elapsed = torch.stack(sums)
    total = delta.new_zeros(delta.shape[1:3])
    for reader in readers.unbind(1):
        total = total + _row(delta, elapsed, A, B, C, reader, direction)
    return total / readers.shape[1]


def _row(
    delta: Tensor,
    elapsed: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    reader: Tensor,
    direction: str,
) -> Tensor:
    """The row (B, L) of the tokens at `reader` (B,)."""
    place, own = torch.arange(delta.shape[2], device=delta.device), reader[:, None]
    before = place < own
    forward = before[..., None]

    # A token is on one side of the reader, where one scan alone carries it there.
    def chosen(values: Tensor) -> Tensor:
        return torch.where(forward, values[0], values[1]) if len(values) == 2 else values[0]

    def at_reader(values: Tensor) -> Tensor:
        index = reader[None, :, None, None].expand(len(values), -1, 1, values.shape[3])
        return values.gather(2, index)

    gap = chosen(at_reader(elapsed)) - chosen(elapsed)
    weight = chosen(at_reader(C)) * chosen(B)
    if A.shape[2] < weight.shape[2]:
        weight = weight.sum(-1, keepdim=True)
    alpha = torch.zeros_like(gap)
    # State by state: all at once would hold B L E N numbers.
    for n in range(A.shape[2]):
        decay = torch.exp(gap * chosen(A[:, :, n]))
        alpha = torch.addcmul(alpha, decay, weight[..., n : n + 1])
    row = (alpha * chosen(delta)).abs().mean(-1)
    both = before if len(delta) == 1 else place != own
    seen = {"forward": before, "backward": place > own, "both": both}[direction]
    return row.where(seen, 0)

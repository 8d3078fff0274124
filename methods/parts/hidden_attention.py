"""Hidden attention: both selective scans of a block written as attention, and its row of one token.

A scan that begins empty gives token c the output sum_j alpha_{c,j} u_j (plus its skip connection),

    alpha_{c,j} = sum_n C_c[n] (prod_{t=j+1..c} exp(Delta_t A[n])) Delta_j B_j[n]

for every token j scanned before c, in each channel. It stands for the attention that c pays to j.
In Mamba-2 a head has one timescale and one decay, so that all its channels have the same alpha.

Without the decay, the product, alpha is C_c . B_j times Delta_j: one number a token times its
timescales.
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
    forward = _before(delta, reader)[..., None]
    gap = _carrying(forward, _at(reader, elapsed)) - _carrying(forward, elapsed)
    weight = _carrying(forward, _at(reader, C)) * _carrying(forward, B)
    if A.shape[2] < weight.shape[2]:
        weight = weight.sum(-1, keepdim=True)
    alpha = torch.zeros_like(gap)
    # State by state: all at once would hold B L E N numbers.
    for n in range(A.shape[2]):
        decay = torch.exp(gap * _carrying(forward, A[:, :, n]))
        alpha = torch.addcmul(alpha, decay, weight[..., n : n + 1])
    row = (alpha * _carrying(forward, delta)).abs().mean(-1)
    return row.where(_seen(delta, reader, direction), 0)


def undecayed_attention(
    delta_mean: Tensor, B: Tensor, C: Tensor, readers: Tensor, direction: str
) -> Tensor:
    """The same with a decay of 1: |C_c . B_j| times the mean timescale `delta_mean` (K, B, L)."""
    total = delta_mean.new_zeros(delta_mean.shape[1:])
    for reader in readers.unbind(1):
        before = _before(delta_mean, reader)
        forward = before[..., None]
        written = (_carrying(forward, _at(reader, C)) * _carrying(forward, B)).sum(-1)
        # Delta is positive: the mean over its channels may be taken first.
        row = (written * _carrying(before, delta_mean)).abs()
        total = total + row.where(_seen(delta_mean, reader, direction), 0)
    return total / readers.shape[1]


def _places(values: Tensor) -> Tensor:
    return torch.arange(values.shape[2], device=values.device)


def _before(values: Tensor, reader: Tensor) -> Tensor:
    """Which tokens of `values` (K, B, L, ...) stand before their image's `reader` (B,)."""
    return _places(values) < reader[:, None]


def _seen(values: Tensor, reader: Tensor, direction: str) -> Tensor:
    """Which tokens the scans of `direction` carry to the `reader`."""
    before, place, own = _before(values, reader), _places(values), reader[:, None]
    both = before if len(values) == 1 else place != own
    return {"forward": before, "backward": place > own, "both": both}[direction]


def _carrying(forward: Tensor, values: Tensor) -> Tensor:
    """For each token the `values` (K, ...) of the scan that carries it to the reader."""
    # A token is on one side of the reader, where one scan alone carries it there.
    return torch.where(forward, values[0], values[1]) if len(values) == 2 else values[0]


def _at(reader: Tensor, values: Tensor) -> Tensor:
    """The rows (K, B, 1, N) of `values` (K, B, L, N) at the `reader`."""
    index = reader[None, :, None, None].expand(len(values), -1, 1, values.shape[3])
    return values.gather(2, index)

"""The most similar token of another set, without storing the cosines, as a Triton program."""

# mypy: ignore-errors
from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

ONES, OTHERS, CHANNELS = 32, 32, 64  # of one step
TINY = tl.constexpr(1.1754944e-38)


def most_similar(
    features: tuple[Tensor, ...], ones: Tensor, others: Tensor
) -> tuple[Tensor, Tensor]:
    """The nearest of `others` (B, t) to each of `ones` (B, m) by cosine, and that cosine.

    Of equals the earlier wins.

    Both are places in the sequence; a token's feature is the sum of its rows in one or two
    `features` (B, L, F).
    """
    batch, count = ones.shape
    one, two = features[0], features[-1]
    best = torch.empty(batch, count, dtype=others.dtype, device=others.device)
    edge = torch.empty(batch, count, dtype=torch.float32, device=others.device)
    with torch.cuda.device_of(one):
        nearest[(triton.cdiv(count, ONES), batch)](
            one, two, ones, others, best, edge, count, others.shape[1], one.shape[2],
            *one.stride()[:2], *two.stride()[:2], *ones.stride(), *others.stride(),
            TWO=len(features) == 2, ONES=ONES, OTHERS=OTHERS, CHANNELS=CHANNELS, num_warps=4,
        )  # fmt: skip
    return best, edge


@triton.jit
def _feature(one, two, place, channel, inside, one_l, two_l, TWO: tl.constexpr):
    """Rows of the feature, in fp32."""
    values = tl.load(one + place[:, None] * one_l + channel[None, :], inside, 0.0).to(tl.float32)
    if TWO:
        values += tl.load(two + place[:, None] * two_l + channel[None, :], inside, 0.0).to(
            tl.float32
        )
    return values


@triton.jit(do_not_specialize=("count", "total"))
def nearest(
    one, two, ones, others, best, edge, count, total, width,
    one_b, one_l, two_b, two_l, ones_b, ones_l, others_b, others_l,
    TWO: tl.constexpr, ONES: tl.constexpr, OTHERS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Grid (blocks of `ones`, batch)."""
    b = tl.program_id(1).to(tl.int64)
    one += b * one_b
    two += b * two_b
    i = tl.program_id(0) * ONES + tl.arange(0, ONES)
    this = tl.load(ones + b * ones_b + i * ones_l, i < count, 0)
    top = tl.full((ONES,), float("-inf"), tl.float32)
    leader = tl.zeros((ONES,), tl.int32)
    for start in range(0, total, OTHERS):
        j = start + tl.arange(0, OTHERS)
        that = tl.load(others + b * others_b + j * others_l, j < total, 0)
        product = tl.zeros((ONES, OTHERS), tl.float32)
        across, down = tl.zeros((ONES,), tl.float32), tl.zeros((OTHERS,), tl.float32)
        for first in range(0, width, CHANNELS):
            channel = first + tl.arange(0, CHANNELS)
            lane = (channel < width)[None, :]
            mine = _feature(one, two, this, channel, (i < count)[:, None] & lane, one_l, two_l, TWO)
            theirs = _feature(
                one, two, that, channel, (j < total)[:, None] & lane, one_l, two_l, TWO
            )
            # Three TF32 products are as good as fp32; one would confuse tokens nearly alike.
            product = tl.dot(mine, tl.trans(theirs), product, input_precision="tf32x3")
            across += tl.sum(mine * mine, axis=1)
            down += tl.sum(theirs * theirs, axis=1)
        lengths = (
            tl.maximum(tl.sqrt(across), TINY)[:, None],
            tl.maximum(tl.sqrt(down), TINY)[None, :],
        )
        cosine = tl.where((j < total)[None, :], product / lengths[0] / lengths[1], float("-inf"))
        high = tl.max(cosine, axis=1)
        # the earliest of equals in this block; by `>` below, an earlier block also wins
        at = tl.min(tl.where(cosine == high[:, None], j[None, :], total), axis=1)
        leader = tl.where(high > top, at, leader)
        top = tl.maximum(high, top)
    target = tl.load(others + b * others_b + tl.minimum(leader, total - 1) * others_l, i < count, 0)
    tl.store(best + b * count + i, target, i < count)
    tl.store(edge + b * count + i, top, i < count)

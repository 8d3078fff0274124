"""Combination: what a target becomes when its sources go into it.

Every combination is linear: target <- w_t x_t + sum of w_s x_s over its sources. The coefficients are worked out once
and used for both streams, so merging both equals merging their sum. A token nothing goes into keeps its bits.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from methods.match import Matching


@dataclass(frozen=True)
class Coefficients:
    """``own`` (B, n) of every patch token, 1 where nothing goes in; ``source`` (B, r) of every source, 0 if dropped."""

    own: Tensor
    source: Tensor


def _arrived(matching: Matching, amount: Tensor, patches: int) -> Tensor:
    """Sum of the `amount` (B, r) that goes into each token (B, n); what is dropped arrives nowhere."""
    zero = torch.zeros(amount.shape[0], patches, dtype=amount.dtype, device=amount.device)
    return zero.scatter_add(1, matching.target, amount.where(matching.target != matching.source, 0))


def _coefficients(matching: Matching, weight: Tensor, total: Tensor) -> Coefficients:
    """Each token's `weight` (B, n) over its target's `total` (B, n)."""
    merged = matching.target != matching.source
    touched = _arrived(matching, torch.ones_like(matching.source), weight.shape[1]) > 0
    own = (weight / total).where(touched, 1)
    share = weight.gather(1, matching.source) / total.gather(1, matching.target)
    return Coefficients(own, share.where(merged, 0))


def averaged(matching: Matching, weight: Tensor) -> Coefficients:
    """Weighted mean of a target and its sources, `weight` (B, n) not negative; all ones make the plain mean.

    Where a whole group weighs nothing, its members count equally.
    """
    weight = weight.clamp_min(torch.finfo(weight.dtype).tiny)
    return _coefficients(
        matching, weight, weight + _arrived(matching, weight.gather(1, matching.source), weight.shape[1])
    )


def summed(matching: Matching, weight: Tensor) -> Coefficients:
    """Weighted sum, not renormalised over the group (EViT's fused token)."""
    return _coefficients(matching, weight, torch.ones_like(weight))


def paired(matching: Matching, like: Tensor) -> Coefficients:
    """Pair averages (x_t + x_s) / 2, one source after the other in the order they were matched.

    The source with j others after it for the same target keeps 2^-(j+1), the target itself 2^-(number of sources).
    `like` (B, n) gives the dtype.
    """
    merged = matching.target != matching.source
    same = (matching.target[:, :, None] == matching.target[:, None, :]) & merged[:, None, :]
    after = same.triu(1).sum(2).to(like.dtype)
    sources = _arrived(matching, merged.to(like.dtype), like.shape[1])
    return Coefficients(torch.exp2(-sources), torch.exp2(-1 - after).where(merged, 0))


def attention(score: Tensor, kind: str) -> Tensor:
    """A score as the attention EViT weighs by, which sums to 1 over the tokens (B, n).

    Real attention is used as it is (its row includes the class token), a cosine goes through a softmax, and what is
    not negative is divided by its sum.
    """
    if kind == "cls-attention":
        return score
    if kind == "cls-similarity":
        return score.softmax(1)
    return score / score.sum(1, keepdim=True).clamp_min(torch.finfo(score.dtype).tiny)

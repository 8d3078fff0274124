"""Combination: what a target becomes when its sources go into it.

Every combination is linear, target <- w_t x_t + sum of w_s x_s over its sources, and is carried out
as what each source brings: target <- x_t + sum over its sources of (share_s x_s - back_s x_t). The
coefficients are worked out once and used for both streams, so merging both equals merging their
sum; only rows that take part are touched, so all others keep their bits.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from methods.parts.match import Matching


@dataclass(frozen=True)
class Coefficients:
    """Each source's ``share`` (B, r) and what it takes ``back`` of its target; 0 if dropped."""

    share: Tensor
    back: Tensor


def _arrived(matching: Matching, amount: Tensor, patches: int) -> Tensor:
    """Sum the `amount` (B, r) over the sources of each token (B, n); dropped ones count nowhere."""
    # A dropped token, its own target, would otherwise count towards itself.
    zero = torch.zeros(amount.shape[0], patches, dtype=amount.dtype, device=amount.device)
    return zero.scatter_add(1, matching.target, amount.where(matching.target != matching.source, 0))


def averaged(matching: Matching, weight: Tensor) -> Coefficients:
    """Weighted mean of a target and its sources; equal weights (B, n) >= 0 make the plain mean.

    The shares and what is left of the target make one whole, so every source takes back its share.
    Where a whole group weighs nothing, its members count equally.
    """
    # Not 0 but tiny: a group that weighs nothing would divide 0 by 0.
    weight = weight.clamp_min(torch.finfo(weight.dtype).tiny)
    source = weight.gather(1, matching.source)
    total = weight + _arrived(matching, source, weight.shape[1])
    share = (source / total.gather(1, matching.target)).where(matching.target != matching.source, 0)
    return Coefficients(share, share)


def summed(matching: Matching, weight: Tensor) -> Coefficients:
    """Weighted sum, not renormalised over the group (EViT's fused token).

    Each of a target's sources takes back the same part of 1 - w_t.
    """
    merged = matching.target != matching.source
    share = weight.gather(1, matching.source).where(merged, 0)
    sources = _arrived(matching, torch.ones_like(share), weight.shape[1])
    # The parts taken back add up to 1 - w_t, which leaves w_t of the target. One part at least: a
    # division by 0 has no finite gradient, even where its result is not used.
    parts = sources.gather(1, matching.target).clamp_min(1)
    back = (1 - weight.gather(1, matching.target)) / parts
    return Coefficients(share, back.where(merged, 0))


def added(matching: Matching, like: Tensor) -> Coefficients:
    """The plain sum of a target and its sources (STORM as released). `like` gives the dtype."""
    share = (matching.target != matching.source).to(like.dtype)
    return Coefficients(share, torch.zeros_like(share))


def paired(matching: Matching, like: Tensor) -> Coefficients:
    """Pair averages (x_t + x_s) / 2, one source after the other in the order they were matched.

    The source with j others after it for the same target keeps 2^-(j+1), the target itself what is
    left of 1. `like` (B, n) gives the dtype.
    """
    merged = matching.target != matching.source
    # (B, r, r): entry (e, f) tells whether pairs e and f share a target and f is merged.
    same = (matching.target[:, :, None] == matching.target[:, None, :]) & merged[:, None, :]
    # Averaging in turn halves a share once for every later source. Powers of 2 are exact.
    after = same.triu(1).sum(2).to(like.dtype)
    share = torch.exp2(-1 - after).where(merged, 0)
    return Coefficients(share, share)


def attention(score: Tensor, kind: str) -> Tensor:
    """A score as the attention EViT weighs by, which sums to 1 over the tokens (B, n).

    Real attention is used as it is (its row includes the class token), a cosine goes through a
    softmax, and what is not negative is divided by its sum.
    """
    if kind == "cls-attention":
        return score
    if kind == "cls-similarity":
        # a cosine may be negative, which no weight may be
        return score.softmax(1)
    return score / score.sum(1, keepdim=True).clamp_min(torch.finfo(score.dtype).tiny)

"""Assembly: the new token sequence, once it is known who goes into whom and where the survivors stand."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from backbones.sequence import TokenSequence
from methods.combine import Coefficients
from methods.features import precise, rows
from methods.match import Matching
from methods.order import Chance, Survivors, permutation, slots


@dataclass(frozen=True)
class Arrangement:
    """``index`` (B, k) current places of the survivors in their new order; ``special`` (B, S) new places of those."""

    index: Tensor
    special: Tensor


@dataclass(frozen=True)
class Move:
    """A matching in terms of the whole sequence.

    ``source`` (B, r) and ``target`` (B, r) current places; ``landing`` (B, r) new places of the targets, -1 if dropped;
    ``coefficients`` of the combination, None when all sources are dropped.
    """

    source: Tensor
    target: Tensor
    landing: Tensor
    coefficients: Coefficients | None


def arrange(
    tokens: TokenSequence,
    patches: Tensor,
    matching: Matching,
    score: Tensor | None,
    policy: str,
    share: float,
    chance: Chance,
) -> Arrangement:
    """Where the survivors among `patches` (B, n) and the special tokens will stand under `policy`."""
    count = patches.shape[1] - matching.source.shape[1]
    position = tokens.position.gather(1, patches)
    gone = torch.zeros_like(position, dtype=torch.bool).scatter_(1, matching.source, 1)
    last = torch.iinfo(position.dtype).max
    kept = position.masked_fill(gone, last).argsort(dim=1, stable=True)[:, :count]
    place = position.gather(1, kept)
    patch_slot, special_slot = slots(place, tokens.position.gather(1, tokens.special))
    if policy != "restored":
        destination = torch.zeros_like(gone).scatter_(1, matching.destinations, 1)
        ranked = None if score is None else score.gather(1, kept)
        survivors = Survivors(place, destination.gather(1, kept), ranked)
        kept = kept.gather(1, permutation(policy, survivors, share, chance))
    index = kept.new_empty(kept.shape[0], count + special_slot.shape[1])
    index.scatter_(1, patch_slot, patches.gather(1, kept)).scatter_(1, special_slot, tokens.special)
    return Arrangement(index, special_slot)


def inverse(index: Tensor, length: int) -> Tensor:
    """New place of every old token (B, length), -1 for those not in `index` (B, k)."""
    nowhere = index.new_full((index.shape[0], length), -1)
    return nowhere.scatter_(1, index, torch.arange(index.shape[1], device=index.device).expand_as(index))


def moved(
    tokens: TokenSequence, patches: Tensor, matching: Matching, coefficients: Coefficients | None, index: Tensor
) -> Move:
    """`matching` of the `patches` (B, n), in current and new (`index`) places of the sequence."""
    source, target = patches.gather(1, matching.source), patches.gather(1, matching.target)
    return Move(source, target, inverse(index, tokens.length).gather(1, target), coefficients)


def _added(values: Tensor, move: Move, amount: Tensor) -> Tensor:
    """`values` (B, k, ...) with `amount` (B, r, ...) added in place where the sources land."""
    batch, count = values.shape[:2]
    offset = torch.arange(batch, device=values.device)[:, None] * count
    # Rows added to a flat view are much faster than a scatter of single numbers, and each image keeps its own order.
    flat = values.view(batch * count, *values.shape[2:])
    flat.index_add_(0, (move.landing.clamp_min(0) + offset).flatten(), amount.flatten(0, 1))
    return values


def merged_stream(stream: Tensor, index: Tensor, move: Move) -> Tensor:
    """One of the two streams (B, L, C) after the reduction (B, k, C), worked out in fp32 at least."""
    survivors = rows(stream, index)
    if move.coefficients is None:
        return survivors
    merged = precise(survivors)
    share, back = (part[..., None].to(merged.dtype) for part in (move.coefficients.share, move.coefficients.back))
    brought = precise(rows(stream, move.source)) * share - precise(rows(stream, move.target)) * back
    return _added(merged, move, brought).to(stream.dtype)


def new_sizes(tokens: TokenSequence, index: Tensor, move: Move) -> Tensor:
    """Sizes (B, k): a target gains those of its sources, those of dropped tokens are lost."""
    sizes = tokens.size.gather(1, index)
    gained = tokens.size.gather(1, move.source).where(move.landing >= 0, 0)
    return _added(sizes, move, gained)


def new_owners(owner: Tensor, index: Tensor, move: Move, length: int) -> Tensor:
    """Owners (B, L0) after the reduction: a merged token lives on in its target, a dropped one nowhere (-1)."""
    place = inverse(index, length).scatter_(1, move.source, move.landing)
    return place.gather(1, owner.clamp_min(0)).where(owner >= 0, -1)


def assembled(tokens: TokenSequence, arrangement: Arrangement, move: Move) -> TokenSequence:
    """The reduced sequence; the trace, which spoke of the old one, is gone."""
    index = arrangement.index
    return replace(
        tokens,
        branch=merged_stream(tokens.branch, index, move),
        residual=merged_stream(tokens.residual, index, move),
        position=tokens.position.gather(1, index),
        size=new_sizes(tokens, index, move),
        special=arrangement.special,
        owner=None if tokens.owner is None else new_owners(tokens.owner, index, move, tokens.length),
        carry=None if tokens.carry is None else torch.stack([rows(one, index) for one in tokens.carry]),
        trace=None,
    )


def permuted(tokens: TokenSequence, policy: str, share: float, chance: Chance) -> TokenSequence:
    """The pure permutation: every token survives, patches stand in the order of `policy`.

    The policies score and appended say what they sort by only in a reduction; here they keep the order of position.
    """
    patches = tokens.patches()
    nothing = patches[:, :0]
    matching = Matching(nothing, nothing, nothing)
    policy = "restored" if policy == "score" else policy
    arrangement = arrange(tokens, patches, matching, None, policy, share, chance)
    return assembled(tokens, arrangement, moved(tokens, patches, matching, None, arrangement.index))

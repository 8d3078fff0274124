"""Assembly: the new token sequence from a matching and an order."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from backbones.common.errors import UserError
from backbones.sequence import TokenSequence
from methods.parts.combine import Coefficients
from methods.parts.features import precise, rows
from methods.parts.match import Matching
from methods.parts.order import Chance, Survivors, permutation


@dataclass(frozen=True)
class Arranged:
    """The requested order: a `policy`, the `share` a shuffle moves, the class token's place.

    ``cls_placement``  exact: at its rank among the surviving positions; else see `_misplaced`
    """

    policy: str
    share: float
    cls_placement: str
    chance: Chance


@dataclass(frozen=True)
class Arrangement:
    """Indices from the old sequence to the new one, and back.

    ``index``   (B, k) current places of the survivors in their new order
    ``special`` (B, S) new places of the special tokens
    ``slot``    (B, L) new place of every current token, -1 for those that are gone
    ``gone``    (B, r) current places of those
    ``before``  (B, L) number of survivors whose position is not above that of each current token
    """

    index: Tensor
    special: Tensor
    slot: Tensor
    gone: Tensor
    before: Tensor


@dataclass(frozen=True)
class Merge:
    """The merges of one stream: indices ``source`` and ``target`` (B, m), and coefficients.

    A source that is its own target is dropped; without ``coefficients`` all are.
    """

    source: Tensor
    target: Tensor
    coefficients: Coefficients | None

    @staticmethod
    def of(patches: Tensor, matching: Matching, coefficients: Coefficients | None) -> Merge:
        """`matching` of the `patches` (B, n)."""
        return Merge(
            patches.gather(1, matching.source), patches.gather(1, matching.target), coefficients
        )


def arrange(
    tokens: TokenSequence,
    patches: Tensor,
    matching: Matching,
    score: Tensor | None,
    requested: Arranged,
) -> Arrangement:
    """Place the survivors among `patches` (B, n) and the special tokens."""
    source = patches.gather(1, matching.source)
    count = tokens.length - source.shape[1]
    stays = torch.ones_like(tokens.position).scatter_(1, source, 0)
    # Counting on the unreduced sequence orders by position without a sort.
    original = stays.new_zeros(tokens.batch, tokens.original_length).scatter_(
        1, tokens.position, stays
    )
    before = original.cumsum(1).gather(1, tokens.position)
    # `before` counts the token itself.
    slot = (before - 1).masked_fill(stays == 0, -1)
    index = _inverted(slot, count)
    special = slot.gather(1, tokens.special)
    # By position the special tokens are at their exact ranks: the usual case is done.
    if requested.policy != "restored" or requested.cls_placement != "exact":
        kept = index.gather(1, _others(special, count))
        if requested.policy != "restored":
            survivors = _survivors(tokens, patches, matching, score, kept)
            places = permutation(requested.policy, survivors, requested.share, requested.chance)
            kept = kept.gather(1, places)
        if requested.cls_placement != "exact":
            special = _misplaced(tokens, count, requested.cls_placement)
        return _filled(Arrangement(index, special, slot, source, before), tokens, kept)
    return Arrangement(index, special, slot, source, before)


def arrange_on_grid(
    tokens: TokenSequence, patches: Tensor, matching: Matching, kept: Tensor
) -> Arrangement:
    """Place the survivors among `patches` (B, n) in the order `kept` (B, m), given by rank.

    Special tokens stand at their exact ranks by position.
    """
    requested = Arranged("restored", 1.0, "exact", Chance(0, tokens.image, 0))
    arrangement = arrange(tokens, patches, matching, None, requested)
    return _filled(arrangement, tokens, patches.gather(1, kept))


def _filled(arrangement: Arrangement, tokens: TokenSequence, kept: Tensor) -> Arrangement:
    """The arrangement with the patch tokens at `kept` (B, m), in that order, round the specials."""
    special, count = arrangement.special, arrangement.index.shape[1]
    # Special tokens keep their places; the patches fill the others in their new order.
    index = (
        torch.empty_like(arrangement.index)
        .scatter_(1, special, tokens.special)
        .scatter_(1, _others(special, count), kept)
    )
    return replace(arrangement, index=index, slot=inverse(index, tokens.length))


def _inverted(slot: Tensor, count: int) -> Tensor:
    """Invert `slot` (B, L), -1 for tokens that are gone: the token (B, count) in each slot."""
    place = torch.arange(slot.shape[1], device=slot.device).expand_as(slot)
    # Tokens that are gone all write to one column too many, which is cut off.
    index = slot.new_empty(slot.shape[0], count + 1)
    return index.scatter_(1, slot.where(slot >= 0, count), place)[:, :count]


def _others(special: Tensor, count: int) -> Tensor:
    """The places 0..count-1 that are not `special` (B, S), ascending (B, count - S)."""
    # A stable sort of flags keeps equal ones ascending. nonzero would do, but makes a GPU wait.
    taken = torch.zeros(special.shape[0], count, dtype=torch.uint8, device=special.device).scatter_(
        1, special, 1
    )
    return taken.argsort(dim=1, stable=True)[:, : count - special.shape[1]]


def _survivors(
    tokens: TokenSequence, patches: Tensor, matching: Matching, score: Tensor | None, kept: Tensor
) -> Survivors:
    """Describe the patch tokens `kept` (B, m), in order of position, for a policy."""
    destination = torch.zeros_like(tokens.position, dtype=torch.bool)
    destination.scatter_(1, patches.gather(1, matching.destinations), 1)
    ranked = None
    if score is not None:
        # Scores are by rank among the patches, `kept` by place in the sequence.
        ranked = (
            score.new_zeros(tokens.batch, tokens.length).scatter_(1, patches, score).gather(1, kept)
        )
    return Survivors(tokens.position.gather(1, kept), kept, destination.gather(1, kept), ranked)


def _misplaced(tokens: TokenSequence, count: int, policy: str) -> Tensor:
    """Places (B, S) of the special tokens among `count` that are not their ranks.

    first, last: before or behind all patches, in their own order. proportional: R-MeeTo's released
    place floor(p k / t), p that of the class token before, of t tokens, and k those after.
    """
    specials = tokens.special.shape[1]
    if policy in ("first", "last"):
        start = 0 if policy == "first" else count - specials
        # The argsort of an argsort is the rank.
        own = tokens.position.gather(1, tokens.special).argsort(dim=1).argsort(dim=1)
        return own + start
    if specials > 1:
        raise UserError(
            "cls_placement=proportional places one class token and this backbone has several: "
            "use exact"
        )
    return torch.div(tokens.special * count, tokens.length, rounding_mode="floor")


def inverse(index: Tensor, length: int) -> Tensor:
    """New place of every old token (B, length), -1 for those not in `index` (B, k)."""
    nowhere = index.new_full((index.shape[0], length), -1)
    return nowhere.scatter_(
        1, index, torch.arange(index.shape[1], device=index.device).expand_as(index)
    )


def merged_stream(stream: Tensor, arrangement: Arrangement, merge: Merge) -> Tensor:
    """Reduce one of the two streams (B, L, C) to (B, k, C), computed in fp32 at least."""
    survivors = rows(stream, arrangement.index)
    if merge.coefficients is None:
        return survivors
    # A bf16 branch would lose the small shares of a large group.
    merged = precise(survivors)
    share, back = (
        part[..., None].to(merged.dtype)
        for part in (merge.coefficients.share, merge.coefficients.back)
    )
    # Read from the old stream: a target gives back its old row, whatever other sources add to it.
    brought = (
        precise(rows(stream, merge.source)) * share - precise(rows(stream, merge.target)) * back
    )
    batch, count = merged.shape[:2]
    # A dropped source, its own target, has no slot; its coefficients are 0, so row 0 gains none.
    landing = arrangement.slot.gather(1, merge.target).clamp_min(0)
    offset = torch.arange(batch, device=merged.device)[:, None] * count
    # Rows added to a flat view are much faster than a scatter of single numbers, and each image
    # keeps its own order.
    merged.view(batch * count, -1).index_add_(
        0, (landing + offset).flatten(), brought.flatten(0, 1)
    )
    return merged.to(stream.dtype)


def new_sizes(tokens: TokenSequence, arrangement: Arrangement, merge: Merge) -> Tensor:
    """Sizes (B, k): a target gains those of its sources, those of dropped tokens are lost."""
    sizes = tokens.size.gather(1, arrangement.index)
    landing = arrangement.slot.gather(1, merge.target)
    gained = tokens.size.gather(1, merge.source).where(landing >= 0, 0)
    # Sizes are whole numbers, so the order of additions cannot change a bit.
    return sizes.scatter_add_(1, landing.clamp_min(0), gained)


def new_owners(owner: Tensor, arrangement: Arrangement, merge: Merge) -> Tensor:
    """Owners (B, L0) after the reduction: a merged token's is its target, a dropped one's -1."""
    # A merged source leads to its target's slot; a dropped one is its own target and stays at -1.
    place = arrangement.slot.scatter(1, merge.source, arrangement.slot.gather(1, merge.target))
    return place.gather(1, owner.clamp_min(0)).where(owner >= 0, -1)


def assembled(
    tokens: TokenSequence,
    arrangement: Arrangement,
    branch: Merge,
    residual: Merge,
    lattice: tuple[int, int] | None = None,
) -> TokenSequence:
    """Build the reduced sequence, without the trace, which describes the old one.

    `lattice` is the rectangle that its patch tokens fill, None for none.

    A token that is merged in either stream lives on in its target.
    """
    index = arrangement.index
    # Each stream merges a prefix of the same pairs, so the longer list contains the shorter.
    living = branch if branch.source.shape[1] > residual.source.shape[1] else residual
    return replace(
        tokens,
        branch=merged_stream(tokens.branch, arrangement, branch),
        residual=merged_stream(tokens.residual, arrangement, residual),
        position=tokens.position.gather(1, index),
        size=new_sizes(tokens, arrangement, living),
        special=arrangement.special,
        lattice=lattice,
        owner=None if tokens.owner is None else new_owners(tokens.owner, arrangement, living),
        carry=None if tokens.carry is None else _carried(tokens.carry, index),
        trace=None,
    )


def _carried(carry: Tensor, index: Tensor) -> Tensor:
    """`carry` (K, B, L, G) of the survivors `index` (B, k), all directions in one pass."""
    # the directions as so many times as many images: one gather for all
    scans = len(carry)
    return rows(carry.flatten(0, 1), torch.cat([index] * scans)).view(
        scans, *index.shape, carry.shape[3]
    )


def taken(tokens: TokenSequence, index: Tensor, special: Tensor) -> TokenSequence:
    """The tokens at `index` (B, k), in that order; `special` (B, S) of them are special."""
    owner = tokens.owner
    if owner is not None:
        slot = inverse(index, tokens.length)
        owner = slot.gather(1, owner.clamp_min(0)).where(owner >= 0, -1)
    return replace(
        tokens,
        branch=rows(tokens.branch, index),
        residual=rows(tokens.residual, index),
        position=tokens.position.gather(1, index),
        size=tokens.size.gather(1, index),
        special=special,
        owner=owner,
    )


def permuted(tokens: TokenSequence, policy: str, share: float, chance: Chance) -> TokenSequence:
    """Permute the patches by `policy`; every token survives.

    The policies score and appended sort by what only a reduction has; here they keep the order.
    """
    patches = tokens.patches()
    nothing = patches[:, :0]
    matching = Matching(nothing, nothing, nothing)
    policy = "restored" if policy == "score" else policy
    arrangement = arrange(tokens, patches, matching, None, Arranged(policy, share, "exact", chance))
    merge = Merge.of(patches, matching, None)
    # Of a whole map, and of no other, the order by position is that of its rows.
    stays = policy in ("restored", "appended") and tokens.length == tokens.original_length
    lattice = tokens.rectangle if stays else None
    return assembled(tokens, arrangement, merge, merge, lattice)

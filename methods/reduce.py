"""A composition applied to the tokens that enter one block, as pure functions: the plain path."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from backbones.sequence import TokenSequence
from methods.composition import Composition, part
from methods.parts import combine, match
from methods.parts.align import aligned
from methods.parts.assemble import Arranged, Merge, arrange, assembled
from methods.parts.combine import Coefficients
from methods.parts.features import FEATURES, cosine, cosine_of_neighbours
from methods.parts.grid import cells, local_maximum
from methods.parts.match import Matching
from methods.parts.order import Chance
from methods.parts.score import SCORES, SiteContext, faded, score_of


def scored(context: SiteContext, composition: Composition) -> Tensor | None:
    """The score (B, n) of the patch tokens, or None if nothing is scored."""
    if composition.score is None:
        return None
    asked = score_of(composition.score, composition.reading, composition.decay)
    score = asked.read(context, composition.direction)
    # Pooled before it fades, so that fading depends on the token's own place, not a neighbour's.
    if composition.window > 1:
        score = local_maximum(
            score, cells(context.tokens, context.patches), context.tokens.grid, composition.window
        )
    return faded(score, context, composition.sensitivity) if composition.sensitivity else score


def _featured(context: SiteContext, feature: str, ranks: Tensor) -> Tensor:
    """Features (B, m, F) of the patch tokens of these ranks (B, m)."""
    return FEATURES[feature].read(context.tokens, context.patches.gather(1, ranks))


def _bipartite(
    context: SiteContext, composition: Composition, sets: tuple[Tensor, Tensor]
) -> Tensor:
    """Cosine (B, m, t) of the patch tokens of two sets of ranks."""
    assert composition.feature is not None
    # Only rows of the two sets are gathered: m t cosines rather than n^2.
    a, b = (_featured(context, composition.feature, ranks) for ranks in sets)
    return cosine(a, b)


def _compared(
    context: SiteContext, composition: Composition, score: Tensor | None, r: int
) -> Matching:
    """Match `r` tokens by the cosine of their features."""
    batch, count = context.patches.shape
    if composition.matching == "neighbours":
        assert composition.feature is not None
        bonds = cosine_of_neighbours(
            FEATURES[composition.feature].read(context.tokens, context.patches)
        )
        # Two patches with a special token or a protected window between them are no neighbours.
        adjacent = context.patches[:, 1:] == context.patches[:, :-1] + 1
        return match.neighbours(bonds, adjacent, r)
    if composition.matching == "odd-even":
        even, odd = match.alternate(count, batch, context.patches.device)
        sets = (odd, even) if composition.sources == "odd" else (even, odd)
        return match.top_edges(
            *sets, _bipartite(context, composition, sets), r, composition.neighbour_rank
        )
    assert score is not None
    if composition.matching == "halves":
        sets = match.halves(score)
        return match.top_edges(
            *sets, _bipartite(context, composition, sets), r, composition.neighbour_rank
        )
    sets = match.split(score, r, match.target_count(count, r, composition.target_ratio))
    return match.to_best(*sets, _bipartite(context, composition, sets), composition.neighbour_rank)


def _matching(
    context: SiteContext, composition: Composition, score: Tensor | None, r: int
) -> Matching:
    """Match `r` of the patch tokens of `context`, any of which may go."""
    batch, count = context.patches.shape
    if composition.feature is not None:
        return _compared(context, composition, score, r)
    if composition.matching == "spaced":
        return match.spaced(count, r, batch, context.patches.device)
    if composition.matching == "runs":
        ranks = torch.arange(count, device=context.patches.device).expand(batch, -1)
        # A Z curve keeps a run compact on the image; a run along a row is a stripe.
        on_grid = composition.path == "grid"
        path = (
            match.curve(cells(context.tokens, context.patches), context.tokens.grid)
            if on_grid
            else ranks
        )
        return match.runs(path, r)
    assert score is not None
    return (match.fused if composition.matching == "fused" else match.lowest)(score, r)


def matched(
    context: SiteContext, composition: Composition, score: Tensor | None, r: int
) -> Matching:
    """Match `r` patch tokens: first those pruned by score, then those of the matching."""
    # None means all tokens: the usual method needs no gathers.
    ranks = pruned = None
    if composition.cls_window and context.tokens.special.shape[1]:
        ranks = match.unprotected(context.patches, context.tokens.special, composition.cls_window)
    if count := part(composition.prune_ratio, r):
        assert score is not None
        # Only tokens outside the windows may be pruned.
        low, left = match.cut(score if ranks is None else score.gather(1, ranks), count)
        pruned, ranks = (
            (low, left) if ranks is None else (ranks.gather(1, low), ranks.gather(1, left))
        )
    if ranks is None:
        matching = _matching(context, composition, score, r)
    else:
        scores = None if score is None else score.gather(1, ranks)
        matching = _matching(context.part(ranks), composition, scores, r - count).among(ranks)
    # Dropped only now: similarity has already decided which tokens go.
    if composition.weights == "drop":
        matching = matching.dropped()
    # Pruned pairs come first and are their own targets: a prefix of the pairs holds them all.
    return matching if pruned is None else matching.after(pruned)


def weighed(
    context: SiteContext, composition: Composition, score: Tensor | None, matching: Matching
) -> Coefficients:
    """The coefficients of the combination."""
    # Sizes are fp32 always; an fp64 model must not lose digits through its coefficients.
    sizes = context.tokens.size.gather(1, context.patches).to(context.tokens.residual.dtype)
    if composition.weights == "sum":
        return combine.added(matching, sizes)
    if composition.weights == "pair":
        return combine.paired(matching, sizes)
    if composition.weights == "attention":
        assert score is not None
        assert composition.score is not None
        return combine.summed(matching, combine.attention(score, composition.score).to(sizes.dtype))
    if composition.weights == "delta-b":
        # A token counts by what it writes into the state, which the mean is to preserve.
        return combine.averaged(matching, SCORES["delta-b"].read(context, "both").to(sizes.dtype))
    return combine.averaged(
        matching, sizes if composition.weights == "size" else torch.ones_like(sizes)
    )


def reduced(composition: Composition, context: SiteContext, removed: int) -> TokenSequence:
    """Remove `removed` patch tokens from the tokens of `context`."""
    score = scored(context, composition)
    matching = matched(context, composition, score, removed)
    chance = Chance(context.seed, context.tokens.image, context.site)
    order = Arranged(composition.order, composition.shuffle, composition.cls_placement, chance)
    arrangement = arrange(context.tokens, context.patches, matching, score, order)
    out = assembled(
        context.tokens, arrangement, *_merges(composition, context, matching, score, removed)
    )
    if composition.proportional:
        out = replace(out, weighted=True)
    return aligned(context.tokens, out, arrangement) if composition.aligned else out


def _merges(
    composition: Composition,
    context: SiteContext,
    matching: Matching,
    score: Tensor | None,
    removed: int,
) -> tuple[Merge, Merge]:
    """The merges of the branch and of the residual."""
    pruned = part(composition.prune_ratio, removed)
    merges = {}
    # Most methods merge the same pairs in both streams: coefficients are worked out once.
    for count in set(composition.merged(removed)):
        # Pairs are in order of matching: a stream that drops some drops the last.
        pairs = matching.first(pruned + count if count else 0)
        coefficients = weighed(context, composition, score, pairs) if count else None
        merges[count] = Merge.of(context.patches, pairs, coefficients)
    branch, residual = composition.merged(removed)
    return merges[branch], merges[residual]

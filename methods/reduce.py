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
from methods.parts.score import SCORES, Place, faded


def scored(place: Place, composition: Composition) -> Tensor | None:
    """The score (B, n) of the patch tokens, or None if nothing is scored."""
    if composition.score is None:
        return None
    score = SCORES[composition.score].read(place, composition.direction)
    if composition.window > 1:
        score = local_maximum(
            score, cells(place.tokens, place.patches), place.tokens.grid, composition.window
        )
    return faded(score, place, composition.sensitivity) if composition.sensitivity else score


def _featured(place: Place, feature: str, ranks: Tensor) -> Tensor:
    """What the patch tokens of these ranks (B, m) are compared by, (B, m, F)."""
    return FEATURES[feature].read(place.tokens, place.patches.gather(1, ranks))


def _bipartite(place: Place, composition: Composition, sets: tuple[Tensor, Tensor]) -> Tensor:
    """Cosine (B, m, t) of the patch tokens of two sets of ranks."""
    assert composition.feature is not None
    a, b = (_featured(place, composition.feature, ranks) for ranks in sets)
    return cosine(a, b)


def _compared(place: Place, composition: Composition, score: Tensor | None, r: int) -> Matching:
    """The matchings that compare tokens."""
    batch, count = place.patches.shape
    if composition.matching == "neighbours":
        assert composition.feature is not None
        bonds = cosine_of_neighbours(
            FEATURES[composition.feature].read(place.tokens, place.patches)
        )
        adjacent = place.patches[:, 1:] == place.patches[:, :-1] + 1
        return match.neighbours(bonds, adjacent, r)
    if composition.matching == "odd-even":
        even, odd = match.alternate(count, batch, place.patches.device)
        sets = (odd, even) if composition.sources == "odd" else (even, odd)
        return match.top_edges(*sets, _bipartite(place, composition, sets), r, composition.best)
    assert score is not None
    if composition.matching == "halves":
        sets = match.halves(score)
        return match.top_edges(*sets, _bipartite(place, composition, sets), r, composition.best)
    sets = match.split(score, r, match.target_count(count, r, composition.target_ratio))
    return match.to_best(*sets, _bipartite(place, composition, sets), composition.best)


def _matching(place: Place, composition: Composition, score: Tensor | None, r: int) -> Matching:
    """Who goes into whom, of tokens that may all go."""
    batch, count = place.patches.shape
    if composition.feature is not None:
        return _compared(place, composition, score, r)
    if composition.matching == "spaced":
        return match.spaced(count, r, batch, place.patches.device)
    if composition.matching == "runs":
        ranks = torch.arange(count, device=place.patches.device).expand(batch, -1)
        on_grid = composition.walk == "grid"
        path = (
            match.curve(cells(place.tokens, place.patches), place.tokens.grid) if on_grid else ranks
        )
        return match.runs(path, r)
    assert score is not None
    return (match.fused if composition.matching == "fused" else match.lowest)(score, r)


def matched(place: Place, composition: Composition, score: Tensor | None, r: int) -> Matching:
    """Who goes into whom when `r` patch tokens are to go: first those pruned by score, then the matching's."""
    ranks = pruned = None
    if composition.protect and place.tokens.special.shape[1]:
        ranks = match.unprotected(place.patches, place.tokens.special, composition.protect)
    if count := part(composition.pruned, r):
        assert score is not None
        low, left = match.cut(score if ranks is None else score.gather(1, ranks), count)
        pruned, ranks = (
            (low, left) if ranks is None else (ranks.gather(1, low), ranks.gather(1, left))
        )
    if ranks is None:
        matching = _matching(place, composition, score, r)
    else:
        those = None if score is None else score.gather(1, ranks)
        matching = _matching(place.part(ranks), composition, those, r - count).among(ranks)
    if composition.weights == "drop":
        matching = matching.dropped()
    return matching if pruned is None else matching.after(pruned)


def weighed(
    place: Place, composition: Composition, score: Tensor | None, matching: Matching
) -> Coefficients:
    """The coefficients of the combination."""
    sizes = place.tokens.size.gather(1, place.patches).to(place.tokens.residual.dtype)
    if composition.weights == "pair":
        return combine.paired(matching, sizes)
    if composition.weights == "attention":
        assert score is not None
        assert composition.score is not None
        return combine.summed(matching, combine.attention(score, composition.score).to(sizes.dtype))
    if composition.weights == "delta-b":
        return combine.averaged(matching, SCORES["delta-b"].read(place, "both").to(sizes.dtype))
    return combine.averaged(
        matching, sizes if composition.weights == "size" else torch.ones_like(sizes)
    )


def reduced(composition: Composition, place: Place, removed: int) -> TokenSequence:
    """The tokens of `place` with `removed` patch tokens less."""
    score = scored(place, composition)
    matching = matched(place, composition, score, removed)
    chance = Chance(place.seed, place.tokens.image, place.site)
    asked = Arranged(composition.order, composition.shuffle, composition.special, chance)
    arrangement = arrange(place.tokens, place.patches, matching, score, asked)
    out = assembled(
        place.tokens, arrangement, *_merges(composition, place, matching, score, removed)
    )
    if composition.proportional:
        out = replace(out, weighted=True)
    return aligned(place.tokens, out, arrangement) if composition.aligned else out


def _merges(
    composition: Composition, place: Place, matching: Matching, score: Tensor | None, removed: int
) -> tuple[Merge, Merge]:
    """What is merged in the branch, and in the residual."""
    pruned = part(composition.pruned, removed)
    merges = {}
    for count in set(composition.merged(removed)):
        those = matching.first(pruned + count if count else 0)
        coefficients = weighed(place, composition, score, those) if count else None
        merges[count] = Merge.of(place.patches, those, coefficients)
    branch, residual = composition.merged(removed)
    return merges[branch], merges[residual]

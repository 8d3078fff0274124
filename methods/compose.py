"""The reducer: a composition applied to the tokens that enter one block."""

from __future__ import annotations

import torch
from torch import Tensor

from backbones.errors import UserError
from backbones.sequence import TokenSequence
from methods import combine, match
from methods.assemble import arrange, assembled, moved
from methods.combine import Coefficients
from methods.composition import Composition
from methods.features import FEATURES, cosine
from methods.match import Matching
from methods.order import Chance
from methods.score import SCORES, Place

__all__ = ["Composition", "Reducer"]


def cells(tokens: TokenSequence, patches: Tensor) -> Tensor:
    """Index (B, n) of each patch token's cell in the row-major grid: its position less the specials before it."""
    position = tokens.position.gather(1, patches)
    special = tokens.position.gather(1, tokens.special)
    return position - (special[:, None, :] < position[:, :, None]).sum(2)


def scored(place: Place, composition: Composition) -> Tensor | None:
    """The score (B, n) of the patch tokens, or None if nothing is scored."""
    return None if composition.score is None else SCORES[composition.score].read(place, composition.direction)


def _compared(place: Place, feature: str, a: Tensor, b: Tensor) -> Tensor:
    """Cosine of the patch tokens of ranks `a` (B, m) and `b` (B, t), (B, m, t)."""
    read = FEATURES[feature].read
    return cosine(read(place.tokens, place.patches.gather(1, a)), read(place.tokens, place.patches.gather(1, b)))


def _compared_matching(place: Place, composition: Composition, score: Tensor | None, r: int) -> Matching:
    """The matchings that compare tokens."""
    batch, count = place.patches.shape
    assert composition.feature is not None
    if composition.matching == "odd-even":
        a, b = match.alternate(count, batch, place.patches.device)
        return match.top_edges(a, b, _compared(place, composition.feature, a, b), r)
    assert score is not None
    source, targets = match.split(score, r, match.target_count(count, r, composition.target_ratio))
    return match.to_best(source, targets, _compared(place, composition.feature, source, targets))


def matched(place: Place, composition: Composition, score: Tensor | None, r: int) -> Matching:
    """Who goes into whom when `r` patch tokens are to go."""
    batch, count = place.patches.shape
    if composition.feature is not None:
        matching = _compared_matching(place, composition, score, r)
        return matching.dropped() if composition.weights == "drop" else matching
    if composition.matching == "spaced":
        return match.spaced(count, r, batch, place.patches.device)
    if composition.matching == "runs":
        ranks = torch.arange(count, device=place.patches.device).expand(batch, -1)
        on_grid = composition.walk == "grid"
        path = match.curve(cells(place.tokens, place.patches), place.tokens.grid) if on_grid else ranks
        matching = match.runs(path, r)
        return matching.dropped() if composition.weights == "drop" else matching
    assert score is not None
    return (match.fused if composition.matching == "fused" else match.lowest)(score, r)


def weighed(place: Place, composition: Composition, score: Tensor | None, matching: Matching) -> Coefficients | None:
    """The coefficients of the combination, None if what goes is dropped."""
    sizes = place.tokens.size.gather(1, place.patches).to(place.tokens.residual.dtype)
    if composition.weights == "drop":
        return None
    if composition.weights == "pair":
        return combine.paired(matching, sizes)
    if composition.weights == "attention":
        assert score is not None
        assert composition.score is not None
        return combine.summed(matching, combine.attention(score, composition.score).to(sizes.dtype))
    if composition.weights == "delta-b":
        return combine.averaged(matching, SCORES["delta-b"].read(place, "both").to(sizes.dtype))
    return combine.averaged(matching, sizes if composition.weights == "size" else torch.ones_like(sizes))


class Reducer:
    """A composition at one site, taking `remove` patch tokens away from whatever sequence it is given.

    ``needs`` are the trace fields the block before has to supply. With nothing to remove the tokens are returned as
    they are, whatever the order: a site where nothing goes is no site.
    """

    def __init__(self, composition: Composition, remove: int, site: int, seed: int = 0) -> None:
        """`site` is the block whose input is reduced; `seed` and it are what random numbers hang on."""
        if remove < 0:
            raise ValueError(f"cannot remove {remove} tokens")
        self.composition = composition
        self.remove = remove
        self.site = site
        self.seed = seed
        self.needs = composition.needs if remove else frozenset[str]()

    def __call__(self, tokens: TokenSequence) -> TokenSequence:
        """The sequence with exactly `remove` patch tokens less; UserError if the method's cap does not allow it."""
        if self.remove == 0:
            return tokens
        patches = tokens.patches()
        cap = self.composition.cap(patches.shape[1])
        if self.remove > cap:
            raise UserError(
                f"cannot remove {self.remove} of {patches.shape[1]} tokens at site {self.site}: at most {cap}"
            )
        place = Place(tokens, patches, self.seed, self.site)
        score = scored(place, self.composition)
        matching = matched(place, self.composition, score, self.remove)
        coefficients = weighed(place, self.composition, score, matching)
        chance = Chance(self.seed, tokens.image, self.site)
        order, share = self.composition.order, self.composition.shuffle
        arrangement = arrange(tokens, patches, matching, score, order, share, chance)
        return assembled(tokens, arrangement, moved(tokens, patches, matching, coefficients, arrangement.index))

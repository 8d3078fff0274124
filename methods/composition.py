"""Composition: the four parts of a method put together, closed under "same result, same fields"."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from backbones.errors import UserError
from methods.cost import NO_COST, Cost, Widths
from methods.features import FEATURES, cosine_cost
from methods.match import target_count
from methods.score import SCORES

SCORED = ("lowest", "fused", "keep-target-source")
COMPARED = ("keep-target-source", "odd-even")
WEIGHTS = ("mean", "size", "pair", "delta-b", "attention", "drop")


@dataclass(frozen=True)
class Composition:
    """A way to reduce, as its four parts and their options.

    ``matching``      lowest | fused | keep-target-source | odd-even | spaced | runs (see `methods.match`)
    ``score``         a name of `methods.score.SCORES`, or None when nothing is scored
    ``direction``     scan the score is read from: both | forward | backward
    ``feature``       a name of `methods.features.FEATURES`, or None when nothing is compared
    ``target_ratio``  size of the Target group over that of the Source group, None: all the rest (keep-target-source)
    ``walk``          sequence | grid: what neighbours are (runs)
    ``weights``       mean | size | pair | delta-b | attention | drop (see `methods.combine`)
    ``order``         a name of `methods.order.ORDERS`
    ``shuffle``       share of the survivors that the order shuffled moves

    Fields that make no difference to the result are set to their defaults, so two compositions are equal exactly when
    they say the same. A combination that cannot be is a UserError.
    """

    matching: str
    score: str | None = None
    direction: str = "both"
    feature: str | None = None
    target_ratio: float | None = 1.0
    walk: str = "sequence"
    weights: str = "drop"
    order: str = "restored"
    shuffle: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what cannot be, then reduce the fields to those that matter."""
        self._refuse()
        for field, value in _effective(self).items():
            object.__setattr__(self, field, value)

    def _refuse(self) -> None:
        """One line for each combination that cannot be."""
        if self.matching in SCORED and self.score is None:
            raise UserError(f"matching '{self.matching}' ranks tokens: give a score ({', '.join(SCORES)})")
        if self.matching in COMPARED and self.feature is None:
            raise UserError(f"matching '{self.matching}' compares tokens: give a feature ({', '.join(FEATURES)})")
        if self.order == "score" and self.score is None:
            raise UserError("order 'score' needs a method with a score: choose another order")
        if self.weights == "attention" and self.matching not in SCORED:
            raise UserError("weights 'attention' need a method with a score: choose mean or size")

    def canonical(self) -> dict[str, Any]:
        """The composition as a JSON-able dictionary; equal exactly when the compositions are."""
        return asdict(self)

    @property
    def needs(self) -> frozenset[str]:
        """Trace fields the reducer reads."""
        found: frozenset[str] = frozenset()
        if self.score is not None:
            found |= SCORES[self.score].needs(self.direction)
        if self.feature is not None:
            found |= FEATURES[self.feature].needs
        if self.weights == "delta-b":
            found |= SCORES["delta-b"].needs("both")
        return found

    @property
    def stochastic(self) -> bool:
        """Whether the seed makes a difference."""
        return self.score == "random" or self.order == "shuffled"

    @property
    def needs_class_token(self) -> bool:
        """Whether it cannot do without a special token."""
        return self.score == "hidden-attention"

    def cap(self, patches: int) -> int:
        """Most tokens that can go at one site: floor(n / 2) of odd-even pairs, else all but one."""
        return patches // 2 if self.matching == "odd-even" else max(0, patches - 1)

    def cost(self, patches: int, removed: int, shape: Widths) -> Cost:
        """Work of removing `removed` of `patches` tokens of one image; nothing if nothing goes.

        Matrix products: r t F multiply-accumulates for keep-target-source (t = size of Target), ceil(n/2) floor(n/2) F
        for odd-even, F the width of the feature. Arithmetic: that of the score (see `methods.score`), 3 F for each
        compared token to normalise it, and 4 C for each merged source in each of the two streams.
        """
        if removed == 0:
            return NO_COST
        scored = 0
        tokens = patches + shape.specials
        if self.score is not None:
            scored += SCORES[self.score].arithmetic(tokens, _scans(self.direction), shape)
        if self.weights == "delta-b":
            scored += SCORES["delta-b"].arithmetic(tokens, 2, shape)
        merged = 0 if self.weights == "drop" else 2 * 4 * shape.dim * removed
        return Cost(0, scored + merged) + self._comparison(patches, removed, shape)

    def _comparison(self, patches: int, removed: int, shape: Widths) -> Cost:
        """The cost of comparing tokens by their feature."""
        if self.feature is None:
            return NO_COST
        if self.matching == "odd-even":
            return cosine_cost((patches + 1) // 2, patches // 2, self.feature, shape)
        return cosine_cost(removed, target_count(patches, removed, self.target_ratio), self.feature, shape)


def _scans(direction: str) -> int:
    return 2 if direction == "both" else 1


def _effective(given: Composition) -> dict[str, Any]:
    """The fields of `given` with those that make no difference at their defaults."""
    fields = asdict(given)
    if fields["weights"] == "drop" and fields["matching"] in SCORED:
        fields["matching"] = "lowest"
    if fields["matching"] in ("lowest", "spaced"):
        fields["weights"] = "drop"
        fields["order"] = "restored" if fields["order"] == "appended" else fields["order"]
    if fields["order"] == "shuffled" and fields["shuffle"] == 0:
        fields["order"] = "restored"
    unused = {
        "score": fields["matching"] not in SCORED and fields["order"] != "score",
        "feature": fields["matching"] not in COMPARED,
        "target_ratio": fields["matching"] != "keep-target-source",
        "walk": fields["matching"] != "runs",
        "shuffle": fields["order"] != "shuffled",
    }
    fields |= {name: getattr(Composition, name) for name, idle in unused.items() if idle}
    if fields["score"] is None or not SCORES[fields["score"]].directed:
        fields["direction"] = "both"
    return fields

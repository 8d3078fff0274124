"""Composition: score, matching, combination and order of a method, in one normal form."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import isqrt
from typing import Any

from backbones.common.errors import UserError
from backbones.common.registry import nearest
from backbones.unreduce import FILLS, Fill
from methods.parts import grid_cost
from methods.parts.cost import NO_COST, Cost, Widths
from methods.parts.features import FEATURES, cosine_cost, neighbours_cost
from methods.parts.grid_pairs import DISTANCES
from methods.parts.grid_resize import RESIZINGS
from methods.parts.match import target_count
from methods.parts.order import ORDERS
from methods.parts.score import DIRECTIONS, READINGS, SCORES, SIGNED, score_of

# Matchings by what they read. Those of PAIRED choose among pairs of two fixed sets, so that at most
# one token of a pair can go; the others can go down to a single token.
SCORED = ("lowest", "fused", "keep-target-source", "halves")
COMPARED = ("keep-target-source", "odd-even", "halves", "neighbours")
PAIRED = ("odd-even", "halves")
# These take equally many cells from all rows, and then from all columns, of a rectangle.
GRID = ("grid-pairs", "grid-resize")
MATCHINGS = (
    "lowest",
    "fused",
    "keep-target-source",
    "odd-even",
    "halves",
    "neighbours",
    "spaced",
    "runs",
    *GRID,
    "nothing",
)
ON_GRID = ("sum", "mean", "size", "drop")
WEIGHTS = ("mean", "size", "pair", "delta-b", "attention", "sum", "drop")

# The names that each part may have. SCORES and FEATURES grow by those of third parties.
PARTS: Mapping[str, Collection[str]] = {
    "matching": MATCHINGS,
    "score": SCORES,
    "direction": DIRECTIONS,
    "reading": READINGS,
    "feature": FEATURES,
    "distance": DISTANCES,
    "resize": RESIZINGS,
    "weights": WEIGHTS,
    "order": ORDERS,
    "undo": FILLS,
}


@dataclass(frozen=True)
class Composition:
    """A way to reduce, as its four parts and their options.

    ``matching``      lowest | fused | keep-target-source | odd-even | halves | neighbours | spaced
                      | runs (see `methods.parts.match`) | grid-pairs | grid-resize (see
                      `methods.parts.grid_pairs` and `grid_resize`), or nothing: no token goes, the
                      order alone is changed
    ``score``         a name of `methods.parts.score.SCORES`, or None when nothing is scored
    ``direction``     scan the score is read from: both | forward | backward
    ``reading``       what the score ``activation`` clips: ungated | gated | projected (see
                      `methods.parts.score`)
    ``decay``         whether what a token wrote decays on its way to the class token, in the score
                      ``hidden-attention``
    ``window``        the score of a token is the largest of the window x window grid cells round
                      it; odd, 1 is off
    ``sensitivity``   how fast a score fades with the distance to the class token; 0 is off
    ``feature``       a name of `methods.parts.features.FEATURES`, or None when nothing is compared
    ``sources``       even | odd: rank of the tokens that may go (odd-even)
    ``neighbour_rank``  1: a token goes into the most similar one, k: into the k-th
    ``target_ratio``  size of the Target group over that of the Source group, None: all the rest
                      (keep-target-source)
    ``path``          sequence | grid: what neighbours are (runs)
    ``distance``      l1 | l2 | cosine: how the feature tells two cells apart (grid-pairs)
    ``pair_window``   pairs in a window, over which the merges of a row are shared out; 0: all of
                      the row (grid-pairs)
    ``resize``        area | bilinear: how the map is resampled (grid-resize)
    ``prune_ratio``   share of what goes that is dropped by score before the rest is matched
    ``weights``       mean | size | pair | delta-b | attention | sum | drop (see
                      `methods.parts.combine`)
    ``branch_drop_ratio``, ``residual_drop_ratio``  share of the sources, the last to be matched,
                      that is dropped from that stream instead of merged; what is dropped from both
                      is gone
    ``proportional``  whether later attention counts a token of size s as s tokens
    ``aligned``       whether the tokens that stay take over the decay of those dropped between them
                      (``carry``)
    ``cls_window``    w: the 2 w patch tokens nearest to each special token take no part
    ``cls_placement``  exact | proportional | first | last: where the class token stands afterwards
    ``order``         a name of `methods.parts.order.ORDERS`
    ``shuffle``       share of the survivors that the order shuffled moves
    ``undo``          what the pixels of a dropped token are made of in segmentation: a fill of
                      `backbones.unreduce`

    Fields that make no difference to the result are set to their defaults, so two compositions are
    equal exactly when they say the same. A combination that cannot be is a UserError.
    """

    matching: str
    score: str | None = None
    direction: str = "both"
    reading: str = READINGS[0]
    decay: bool = True
    window: int = 1
    sensitivity: float = 0.0
    feature: str | None = None
    sources: str = "even"
    neighbour_rank: int = 1
    target_ratio: float | None = 1.0
    path: str = "sequence"
    distance: str = "l1"
    pair_window: int = 5
    resize: str = "area"
    prune_ratio: float = 0.0
    weights: str = "drop"
    branch_drop_ratio: float = 0.0
    residual_drop_ratio: float = 0.0
    proportional: bool = False
    aligned: bool = False
    cls_window: int = 0
    cls_placement: str = "exact"
    order: str = "restored"
    shuffle: float = 1.0
    undo: Fill = FILLS[0]

    def __post_init__(self) -> None:
        """Refuse what cannot be, then reduce the fields to those that matter."""
        # Refused as written: normalising first would hide what the user got wrong.
        self._refuse()
        for field, value in _effective(self).items():
            # The class is frozen; this is the only place where fields change.
            object.__setattr__(self, field, value)

    def _refuse(self) -> None:
        """One line for each part that does not exist, and for each combination that cannot be."""
        for part_of, known in PARTS.items():
            name = getattr(self, part_of)
            if name is not None and name not in known:
                raise UserError(f"there is no {part_of} '{name}': {nearest(str(name), known)}")
        if (self.matching in SCORED or self.prune_ratio) and self.score is None:
            raise UserError(
                f"matching '{self.matching}' ranks tokens: give a score ({', '.join(SCORES)})"
            )
        if self.matching in COMPARED and self.feature is None:
            raise UserError(
                f"matching '{self.matching}' compares tokens: give a feature "
                f"({', '.join(FEATURES)})"
            )
        if self.order == "score" and self.score is None:
            raise UserError("order 'score' needs a method with a score: choose another order")
        # The weights of EViT's fused token are the scores themselves.
        if self.weights == "attention" and self.matching not in SCORED:
            raise UserError("weights 'attention' need a method with a score: choose mean or size")
        # Fading scales towards zero, which would raise the rank of a negative score.
        if self.sensitivity and self.score in SIGNED:
            raise UserError(
                f"sensitivity scales a score that is never negative, not '{self.score}': "
                "set it to 0"
            )
        if self.matching in GRID:
            self._refuse_on_grid()
        elif self.weights == "sum":
            raise UserError("weights 'sum' are those of grid-pairs: choose mean or size")
        # A merged token lives on in its target, and in another order the next token by position is
        # not the next of the scan: in neither case is it defined who takes over the decay.
        if self.aligned and (
            self.weights != "drop" or self.order != "restored" or self.cls_placement != "exact"
        ):
            raise UserError(
                "alignment follows dropped tokens in their order: "
                "use weights=drop and order=restored"
            )

    def _refuse_on_grid(self) -> None:
        """One line for each part that would break the rectangle, or have no meaning on it."""
        if self.score is not None and self.feature is not None:
            raise UserError(
                f"matching '{self.matching}' ranks pairs by a score or by a feature: leave one out"
            )
        if self.matching == "grid-pairs" and self.weights not in ON_GRID:
            raise UserError(
                f"matching 'grid-pairs' cannot combine by '{self.weights}': "
                f"use {', '.join(ON_GRID)}"
            )
        if self.order != "restored" or self.cls_placement != "exact":
            raise UserError(
                f"matching '{self.matching}' leaves a rectangle in its own order: "
                "use order=restored and cls_placement=exact"
            )
        uneven = (self.cls_window, self.prune_ratio, self.aligned)
        if any(uneven) or self.branch_drop_ratio or self.residual_drop_ratio:
            raise UserError(
                f"matching '{self.matching}' takes equally many cells from every line, all alike: "
                "use no cls_window, no share to be pruned or dropped, no alignment"
            )

    def canonical(self) -> dict[str, Any]:
        """The composition as a JSON-able dictionary; equal exactly when the compositions are."""
        # Its fields are plain values, which `asdict` would copy one by one, slowly.
        return dict(vars(self))

    @property
    def needs(self) -> frozenset[str]:
        """Trace fields the reducer reads."""
        fields = frozenset({"delta"} if self.aligned else ())
        if self.score is not None:
            fields |= score_of(self.score, self.reading, self.decay).needs(self.direction)
        if self.feature is not None:
            fields |= FEATURES[self.feature].needs
        if self.weights == "delta-b":
            # A merge weighs by both scans, whichever of them the score reads.
            fields |= SCORES["delta-b"].needs("both")
        return fields

    @property
    def stochastic(self) -> bool:
        """Whether the seed makes a difference."""
        return self.score == "random" or self.order == "shuffled"

    @property
    def chooses(self) -> bool:
        """Whether the image decides which tokens go, by a score or by similarity."""
        return self.matching != "nothing" and not self.blind

    @property
    def blind(self) -> bool:
        """Whether the removal is settled before the image is seen."""
        # Weights and decay from the trace depend on the image, even where the choice does not.
        unseen = self.score in (None, "random") and self.feature is None
        return (
            unseen and self.matching != "nothing" and self.weights != "delta-b" and not self.aligned
        )

    @property
    def drops(self) -> bool:
        """Whether any token leaves without a target."""
        unmerged = min(self.branch_drop_ratio, self.residual_drop_ratio) > 0 or self.prune_ratio > 0
        return self.matching != "nothing" and (self.weights == "drop" or unmerged)

    @property
    def keeps_rectangle(self) -> bool:
        """Whether the patch tokens that stay fill a rectangle, in order, if they did before."""
        return self.matching in GRID

    @property
    def removes_lowest(self) -> bool:
        """Whether the tokens that go are those of lowest score, however many they are."""
        return self.matching in ("lowest", "fused", "keep-target-source") and not self.prune_ratio

    @property
    def needs_class_token(self) -> bool:
        """Whether it cannot do without a special token."""
        return self.score == "hidden-attention" or self.sensitivity > 0

    def cap(self, patches: int, specials: int = 1) -> int:
        """Most tokens that can go at one site, of the n that no window protects.

        On the grid those of a square, see `cap_of_line`.
        Pairs: floor(n / 2), more when some are pruned first; neighbours: n - 1 less one bond for
        each special token, over which none goes; else all but one.
        """
        if self.matching == "nothing":
            return 0
        if self.matching in GRID:
            side = isqrt(patches)
            left = side - self.cap_of_line(side)
            return patches - left**2 if side**2 == patches else 0
        free = self.free(patches, specials)
        if self.matching in PAIRED:
            # With p pruned first, r - p sources must fit into half of the n - p left: 2 r - p <= n.
            # The left side grows with r, so the largest r is found by bisection.
            return bisect_right(
                range(1, free), free, key=lambda r: 2 * r - part(self.prune_ratio, r)
            )
        return max(0, free - 1 - (specials if self.matching == "neighbours" else 0))

    def cap_of_line(self, cells: int) -> int:
        """Most of the `cells` of a row or column that can go: one of each pair, or all but one."""
        return cells // 2 if self.matching == "grid-pairs" else max(0, cells - 1)

    def free(self, patches: int, specials: int) -> int:
        """How many of the patch tokens no window protects."""
        return max(0, patches - 2 * self.cls_window * specials)

    def merged(self, removed: int) -> tuple[int, int]:
        """How many of the `removed` tokens are merged in the branch and in the residual."""
        if self.weights == "drop":
            return 0, 0
        # Pruned tokens are dropped anyway; the ratios share out the others.
        whole = removed - part(self.prune_ratio, removed)
        return whole - part(self.branch_drop_ratio, whole), whole - part(
            self.residual_drop_ratio, whole
        )

    def cost(self, patches: int, removed: int, shape: Widths) -> Cost:
        """Work of removing `removed` of `patches` tokens of one image; nothing if nothing goes.

        Matrix products: r t F multiply-accumulates for keep-target-source (t = size of Target),
        ceil(n/2) floor(n/2) F for odd-even and halves, F the width of the feature. Arithmetic: that
        of the score (see `methods.parts.score`) and 4 for each token whose score fades; forming and
        measuring each compared token, about 2 F, and 2 for each pair compared; 4 C for each merged
        source in each stream; 2 for each timescale of a dropped token that is handed over.
        """
        if removed == 0:
            return NO_COST
        # share x_s, back x_t, their difference and its addition, in every channel
        work = 4 * shape.dim * sum(self.merged(removed))
        work += self.score_arithmetic(patches, shape)
        if self.weights == "delta-b":
            tokens = patches + shape.specials
            work += SCORES["delta-b"].arithmetic(tokens, shape.directions, shape)
        if self.aligned:
            # per direction: step plus what the token carried, and the sum to its heir
            work += 2 * shape.directions * shape.timescales * removed
        pruned = part(self.prune_ratio, removed)
        left = self.free(patches, shape.specials) - pruned
        return Cost(0, work) + self._comparison(left, removed - pruned, shape)

    def cost_on_grid(self, before: tuple[int, int], after: tuple[int, int], shape: Widths) -> Cost:
        """Work of narrowing the rectangle `before` (rows, columns) to `after`, of one image.

        See `methods.parts.grid_cost`; the score as in `cost`.
        """
        if before == after:
            return NO_COST
        if self.matching == "grid-resize":
            return grid_cost.of_resizing(self.resize, before, after, shape)
        work = grid_cost.of_merging(self.weights, before, after, shape)
        work += self.score_arithmetic(before[0] * before[1], shape)
        if self.feature is not None:
            work += grid_cost.of_comparing(
                self.feature, self.distance, self.weights, before, after, shape
            )
        return Cost(0, work)

    def score_arithmetic(self, patches: int, shape: Widths) -> int:
        """Arithmetic of scoring `patches` tokens of one image; 0 without a score."""
        if self.score is None:
            return 0
        # Traces are scored whole; the scores of special tokens are then left out.
        score = score_of(self.score, self.reading, self.decay)
        tokens, scans = patches + shape.specials, _scans(self.direction, shape)
        faded = 4 * patches if self.sensitivity else 0
        return score.arithmetic(tokens, scans, shape) + faded

    def _comparison(self, patches: int, removed: int, shape: Widths) -> Cost:
        """The cost of comparing tokens by their feature."""
        if self.feature is None:
            return NO_COST
        if self.matching in PAIRED:
            return cosine_cost((patches + 1) // 2, patches // 2, self.feature, shape)
        if self.matching == "neighbours":
            return neighbours_cost(patches, self.feature, shape)
        return cosine_cost(
            removed, target_count(patches, removed, self.target_ratio), self.feature, shape
        )


def part(share: float, count: int) -> int:
    """`share` of `count` things, to the nearest whole number, halves up."""
    # not round(), which takes 0.5 to 0 and 1.5 to 2: shares would grow unevenly
    return int(share * count + 0.5)


def _scans(direction: str, shape: Widths) -> int:
    return shape.directions if direction == "both" else 1


def _effective(composition: Composition) -> dict[str, Any]:
    """The fields of `composition`, those that make no difference set to their defaults."""
    fields = dict(vars(composition))
    # What both streams drop is merged nowhere.
    if fields["branch_drop_ratio"] == fields["residual_drop_ratio"] == 1:
        fields["weights"] = "drop"
    # These two take the r lowest by score alone; once nothing merges, their targets do not matter.
    # The other matchings choose who goes by similarity, and do so also when they drop.
    if fields["prune_ratio"] == 1 or (
        fields["weights"] == "drop" and fields["matching"] in ("fused", "keep-target-source")
    ):
        fields["matching"] = "lowest"
    # No targets: nothing to weigh, and no set of destinations to append.
    if fields["matching"] in ("lowest", "spaced", "nothing"):
        fields["weights"] = "drop"
        fields["order"] = "restored" if fields["order"] == "appended" else fields["order"]
    if fields["order"] == "shuffled" and fields["shuffle"] == 0:
        fields["order"] = "restored"
    if fields["matching"] == "grid-resize":
        fields["weights"] = "mean"
    pairs = fields["matching"] == "grid-pairs"
    scored = (
        fields["matching"] in SCORED
        or pairs
        or fields["order"] == "score"
        or 0 < fields["prune_ratio"] < 1
    )
    unused = {
        "score": not scored,
        "reading": not scored or fields["score"] != "activation",
        "decay": not scored or fields["score"] != "hidden-attention",
        "window": not scored,
        "sensitivity": not scored,
        "feature": fields["matching"] not in COMPARED and not pairs,
        "distance": not pairs or fields["feature"] is None,
        # blind pairs are spread evenly over the whole line
        "pair_window": not pairs or fields["feature"] is fields["score"] is None,
        "resize": fields["matching"] != "grid-resize",
        "sources": fields["matching"] != "odd-even",
        "neighbour_rank": fields["matching"] not in COMPARED or fields["matching"] == "neighbours",
        "target_ratio": fields["matching"] != "keep-target-source",
        "path": fields["matching"] != "runs",
        "prune_ratio": fields["matching"] == "lowest",
        # without merges every size stays 1
        "proportional": fields["weights"] == "drop",
        "branch_drop_ratio": fields["weights"] == "drop",
        "residual_drop_ratio": fields["weights"] == "drop",
        "shuffle": fields["order"] != "shuffled",
        "undo": not composition.drops,
    }
    fields |= {name: getattr(Composition, name) for name, idle in unused.items() if idle}
    # last, since the score itself may just have been reset
    score = fields["score"]
    if score is None or not score_of(score, fields["reading"], fields["decay"]).directed:
        fields["direction"] = "both"
    return fields

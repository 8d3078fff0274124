"""Whether the data can rank methods at a budget at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from suite.stats.correctness import Outcomes, aligned
from suite.stats.power import smallest_detectable

BLIND = ("random", "stride", "pool")  # named as what to run


@dataclass(frozen=True)
class Verdict:
    """Whether methods can be ranked at one budget.

    Attributes:
        can_rank: False if a blind baseline loses too little to be seen; None without one.
        smallest: smallest loss of that baseline that the images can show; None without one.
        baseline: the blind baseline that loses least beyond what can be seen.
        loss: its loss against the dense model, as a fraction.
        text: the same in one sentence.

    """

    can_rank: bool | None
    smallest: float | None
    baseline: str | None
    loss: float | None
    text: str


def verdict(dense: Outcomes, blind: Sequence[Outcomes], budget: float) -> Verdict:
    """Judge what one budget can show by its `blind` cells (`Composition.blind`).

    If one of them loses less against the dense model than this many images can show (at the
    discordance between the two), then removing tokens blindly does no visible harm, and no choice
    of tokens can be seen to be better.
    """
    if not blind:
        text = (
            f"No blind baseline ({', '.join(BLIND)}) ran at this budget, so whether this data can "
            "rank methods is not known."
        )
        return Verdict(None, None, None, None, text)
    losses = [(*_loss(dense, cell), cell.label) for cell in blind]
    loss, smallest, label = min(losses, key=lambda row: row[0] - row[1])
    share = f"{100 * budget:.4g} % of FLOPs removed"
    seen = f"{label} {_loses(loss)} against the dense model"
    limit = f"the {100 * smallest:.1f} points that {dense.count:,} images show in four runs of five"
    if loss < smallest:
        text = f"At {share} this data cannot rank the methods: {seen}, less than {limit}."
        return Verdict(False, smallest, label, loss, text)
    text = f"At {share} there is room to rank methods: even {seen}, more than {limit}."
    return Verdict(True, smallest, label, loss, text)


def _loses(loss: float) -> str:
    """A loss in words, with its sign."""
    change = "loses" if loss >= 0 else "gains"
    return f"{change} {abs(100 * loss):.1f} points of top-1"


def _loss(dense: Outcomes, cell: Outcomes) -> tuple[float, float]:
    """Loss of `cell` against the dense model, and the smallest loss that can be shown."""
    whole, reduced = aligned(dense, cell)
    discordance = float((whole[:, None] != reduced[None]).mean())
    return dense.accuracy - cell.accuracy, smallest_detectable(dense.count, discordance)

"""What a number of images can show: the smallest difference, and whether methods can be ranked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from suite.stats.correctness import Outcomes, counted

BLIND = ("random", "stride", "pool")  # named as what to run
GRID_BLIND = ("grid-pool", "grid-resize")  # on a backbone whose tokens have to fill a rectangle


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
            f"No blind baseline ({', '.join(BLIND)}; on maps of tokens {', '.join(GRID_BLIND)}) "
            "ran at this budget, so whether this data can rank methods is not known."
        )
        return Verdict(None, None, None, None, text)
    # One blind removal that does no visible harm is enough.
    losses = [(*_loss(dense, cell), cell.label) for cell in blind]
    loss, smallest, label = min(losses, key=lambda row: row[0] - row[1])
    share = f"{100 * budget:.4g} % of FLOPs removed"
    seen = f"{label} {_loses(loss, dense.metric.name)} against the dense model"
    images = counted(dense.count, dense.kind)
    if smallest >= 1:
        text = f"At {share} this data cannot rank the methods: {too_few(dense.count, dense.kind)}."
        return Verdict(False, smallest, label, loss, text)
    # A negative loss, a gain, is no visible harm either.
    if loss < smallest:
        text = (
            f"At {share} this data cannot rank the methods: {seen}; with {images}, a loss below "
            f"{100 * smallest:.1f} points is easily missed."
        )
        return Verdict(False, smallest, label, loss, text)
    text = (
        f"At {share} there is room to rank methods: even {seen}; with {images}, a loss of "
        f"{100 * smallest:.1f} points is seldom missed."
    )
    return Verdict(True, smallest, label, loss, text)


def too_few(images: int, kind: str = "images") -> str:
    """What is said of so few images that `smallest_detectable` is 1."""
    verb = "is" if images == 1 else "are"
    return f"{counted(images, kind)} {verb} too few to find any difference"


def _loses(loss: float, metric: str) -> str:
    """A loss in words, with its sign."""
    change = "loses" if loss >= 0 else "gains"
    return f"{change} {abs(100 * loss):.1f} points of {metric}"


def _loss(dense: Outcomes, cell: Outcomes) -> tuple[float, float]:
    """Loss of `cell` against the dense model, and the smallest loss that can be shown."""
    return dense.accuracy - cell.accuracy, dense.paired(cell).smallest

"""Methods of one budget in the order of what they keep, and which of them can be told apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from suite.stats.compare import Comparison, compare_to_reference
from suite.stats.correctness import Outcomes


@dataclass(frozen=True)
class Place:
    """The place of one method.

    ``group``    1 for the best method and those that were not told apart from it, and so on
    ``against``  the comparison with the best method of its group, or for the best of a group with
                 that of the group above; None for the best of all
    """

    outcomes: Outcomes
    group: int
    against: Comparison | None = None


def rank(cells: Sequence[Outcomes]) -> list[Place]:
    """Rank `cells`, of the same work and images, from the most accurate on, and group them.

    The best method opens a group. It is compared with all below it, in one family of Holm's
    correction; those that follow it belong to its group up to the first that is told apart, which
    opens the next. The best is chosen on these very images, so its leads are slightly too large.
    """
    # Stable, so that equal accuracies keep the order of the run.
    rest = sorted(cells, key=lambda cell: -cell.accuracy)
    places: list[Place] = []
    opening: Comparison | None = None
    group = 0
    while rest:
        best, *below = rest
        group += 1
        places.append(Place(best, group, opening))
        rest, opening = [], None
        for cell, row in zip(below, compare_to_reference(best, below), strict=True):
            if opening is None and not row.significant:
                places.append(Place(cell, group, row))
                continue
            opening = opening or row
            rest.append(cell)
    return places


def answer(
    budget: float,
    leaders: Sequence[str],
    top1: float,
    lead: float,
    following: str,
    settled: bool,
    smaller: tuple[float, float] | None = None,
) -> str:
    """Who keeps most, in at most 20 words where names are single words.

    `leaders` are the names of the first group, best first, `lead` what the best is ahead of
    `following`, the next of all; empty if it is the only one. `settled` is False where another
    schedule turns the order round. `smaller` is the top-1 of a smaller image and its share of FLOPs
    removed.
    """
    best, *level = leaders
    where = f"at {100 * budget:.4g} % fewer FLOPs"
    keeps = f"{best} keeps {100 * top1:.1f} %"
    ahead = f"{100 * lead:.1f} points above {following}"
    if not following:
        words = f"{keeps} {where}"
    elif level:
        others = level[0] if len(level) == 1 else f"{len(level)} others"
        words = f"{keeps} {where}, not told apart from {others}"
    elif settled:
        words = f"{best} leads with {100 * top1:.1f} %, {ahead}, {where}"
    else:
        words = f"{keeps}, {ahead}, {where}; the schedule decides"
    if smaller is None:
        return f"{words}."
    kept, removed = smaller
    image = f"a smaller image keeps {100 * kept:.1f} %"
    # The words that another schedule takes are those of the share.
    if settled or level:
        image += f" at {100 * removed:.0f} %"
    return f"{words}; {image}."

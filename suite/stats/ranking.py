"""Methods of one budget in the order of what they keep, and which of them can be told apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd

from suite.stats.compare import Comparison, compare_to_reference
from suite.stats.correctness import Outcomes

FOCUS = 0.4  # the budget that a page opens with and a terminal answers for, where a run has it


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


def focus(budgets: Sequence[float]) -> float:
    """The budget that is shown first of several in ascending order: `FOCUS`, or the middle one."""
    return FOCUS if FOCUS in budgets else budgets[len(budgets) // 2]


@dataclass(frozen=True)
class Leader:
    """Who keeps most on one backbone at one budget.

    ``level``      labels of the first group, best first
    ``top1``       of the best
    ``following``  the next of all; empty if there is none, or if it was not compared
    ``lead``       of the best over it, ``low`` and ``high`` the ends of the interval
    ``settled``    False where another schedule turns their order round
    """

    budget: float
    level: tuple[str, ...]
    top1: float
    following: str = ""
    lead: float = 0.0
    low: float = 0.0
    high: float = 0.0
    settled: bool = True

    @property
    def best(self) -> str:
        """The method that keeps most."""
        return self.level[0]

    @classmethod
    def of(cls, rows: pd.DataFrame) -> Leader:
        """Read the `rows` of one backbone and budget in the table ``ranking``, at least one."""
        best = rows.iloc[0]
        level = tuple(map(str, rows.loc[rows["group"] == 1, "label"]))
        found = cls(float(best["budget"]), level, float(best["top1"]))
        following = rows.iloc[1] if len(rows) > 1 else None
        if following is None or pd.isna(following["difference"]):
            return found
        unsettled = following["unsettled"]
        return cls(
            found.budget,
            level,
            found.top1,
            str(following["label"]),
            # The table has them as the following minus the best.
            -float(following["difference"]),
            -float(following["difference_high"]),
            -float(following["difference_low"]),
            settled=bool(pd.isna(unsettled) or not unsettled),
        )

    def sentence(
        self, name: Callable[[str], str] = str, smaller: tuple[float, float] | None = None
    ) -> str:
        """The answer in a line; `name` gives each method as it is to be called."""
        level = [name(label) for label in self.level]
        following = name(self.following) if self.following else ""
        return answer(self.budget, level, self.top1, self.lead, following, self.settled, smaller)


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
        others = " and ".join(level) if len(level) < 3 else f"{len(level)} others"
        words = f"{keeps} {where}, not told apart from {others}"
    elif settled:
        words = f"{best} leads with {100 * top1:.1f} %, {ahead}, {where}"
    else:
        words = f"{keeps}, {ahead}, {where}; the schedule decides"
    if smaller is None:
        return f"{words}."
    kept, removed = smaller
    image = f"a smaller image keeps {100 * kept:.1f} %"
    # The words that another schedule takes, or a third name, are those of the share.
    if (settled or level) and len(level) != 2:
        image += f" at {100 * removed:.0f} %"
    return f"{words}; {image}."

"""Which methods were shown to do better than every baseline that does not look at the image.

This is the one rule for it: it is applied once, when a run is concluded, and stored; the terminal,
``--json`` and the page all say what `against_blind` found.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from suite.stats.compare import ALPHA, Comparison, compare
from suite.stats.correctness import Outcomes

COLUMNS = (
    "backbone",
    "budget",
    "baseline",
    "top1",
    "label",
    "difference",
    "difference_low",
    "difference_high",
    "p",
    "shown",
)


@dataclass(frozen=True)
class Lead:
    """How far a method is ahead of the best blind baseline, as a share of the images (see `suite.stats.compare`).

    The baseline is the best on these very images, so the difference is a little too small in the
    mean; `shown` is not touched by that, since it asks for a lead over every blind baseline.

    Attributes:
        label: the method.
        difference: its top-1 less the baseline's.
        difference_low: lower end of the paired 95 % interval, or of its range over two to four seeds.
        difference_high: upper end.
        p: exact two-sided p, without correction for the number of methods.
        shown: whether it was shown to beat every blind baseline of the same work: p below 0.05, interval above zero.

    """

    label: str
    difference: float
    difference_low: float
    difference_high: float
    p: float
    shown: bool


@dataclass(frozen=True)
class Mark:
    """The best blind baseline of one backbone and budget, and the leads of the methods that do as much work."""

    backbone: str
    budget: float
    baseline: str
    top1: float
    leads: tuple[Lead, ...]

    @property
    def not_shown(self) -> tuple[str, ...]:
        """The methods that were not shown to do better than every blind baseline."""
        return tuple(lead.label for lead in self.leads if not lead.shown)

    @property
    def everywhere(self) -> bool:
        """Whether no method at all was shown to do better."""
        return len(self.not_shown) == len(self.leads)

    def record(self) -> dict[str, Any]:
        """The mark as plain values; ``none_shown_better`` says whether ``not_shown_better`` are all methods."""
        return {
            "backbone": self.backbone,
            "budget": self.budget,
            "baseline": self.baseline,
            "top1": self.top1,
            "not_shown_better": list(self.not_shown),
            "none_shown_better": self.everywhere,
            "leads": [asdict(lead) for lead in self.leads],
        }


def against_blind(
    backbone: str, budget: float, blind: Sequence[Outcomes], methods: Sequence[Outcomes]
) -> Mark | None:
    """How `methods`, which look at the image, stand against the `blind` cells of one budget.

    A method is held only against baselines of the same work, within 0.5 point, and has no lead
    where the best of them is of another. None where no method has one.
    """
    if not blind:
        return None
    best = max(blind, key=lambda cell: cell.accuracy)
    leads = []
    for method in methods:
        rows = {
            row.reference: row
            for row in (compare(method, cell) for cell in blind)
            if row.p is not None
        }
        if best.label in rows:
            leads.append(_lead(rows[best.label], shown=all(_beats(row) for row in rows.values())))
    return Mark(backbone, budget, best.label, best.accuracy, tuple(leads)) if leads else None


def unbeaten(found: Iterable[Mark]) -> list[str]:
    """At which budgets no method was shown to do better than a blind choice, a sentence for each backbone."""
    places: dict[str, list[str]] = {}
    for mark in found:
        if mark.everywhere:
            place = (
                f"-{100 * mark.budget:.4g} % FLOPs (best: {mark.baseline}, {100 * mark.top1:.1f} %)"
            )
            places.setdefault(mark.backbone, []).append(place)
    return [
        f"No method was shown to beat the blind baselines on {backbone} at {' or at '.join(where)}: none keeps more "
        "than each of them by paired tests at 5 %, not corrected for the number of methods."
        for backbone, where in places.items()
    ]


def marks_frame(found: Iterable[Mark]) -> pd.DataFrame:
    """The marks as a table of `COLUMNS`, a row a lead."""
    rows = [
        {
            "backbone": mark.backbone,
            "budget": mark.budget,
            "baseline": mark.baseline,
            "top1": mark.top1,
        }
        | asdict(lead)
        for mark in found
        for lead in mark.leads
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"shown": bool})


def marks_of(frame: pd.DataFrame, labels: Collection[str]) -> dict[tuple[str, float], Mark]:
    """The marks in a table of `marks_frame`, by backbone and budget, with the leads of the methods in `labels`."""
    found = {}
    for (backbone, budget, baseline, top1), rows in frame.groupby(list(COLUMNS[:4]), sort=True):
        leads = tuple(
            Lead(
                str(row.label),
                float(row.difference),
                float(row.difference_low),
                float(row.difference_high),
                float(row.p),
                bool(row.shown),
            )
            for row in rows.itertuples()
            if row.label in labels
        )
        if leads:
            place = str(backbone), float(str(budget))
            found[place] = Mark(*place, str(baseline), float(str(top1)), leads)
    return found


def _lead(row: Comparison, shown: bool) -> Lead:
    assert row.p is not None, "only cells of the same work are tested"
    return Lead(row.label, row.difference, row.difference_low, row.difference_high, row.p, shown)


def _beats(row: Comparison) -> bool:
    return row.p is not None and row.p < ALPHA and row.difference_low > 0

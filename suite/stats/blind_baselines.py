"""Which methods were shown to be better than every baseline that does not look at the image.

The rule is applied once, when a run is concluded, and stored; the terminal, ``--json`` and the page
repeat what `compare_to_blind` returned.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import pandas as pd

from suite.stats.compare import ALPHA, Comparison, compare
from suite.stats.correctness import Outcomes

BASELINE = ("backbone", "budget", "baseline", "top1")


@dataclass(frozen=True)
class LeadOverBaseline:
    """A method's lead over the best blind baseline, as a share of the images.

    The baseline is the best on these very images, so the difference is slightly too small in the
    mean. `shown` is not affected: it requires a lead over every blind baseline.

    Attributes:
        label: the method.
        difference: its top-1 minus the baseline's.
        difference_low: lower end of the paired 95 % interval, or of its range over 2 to 4 seeds.
        difference_high: upper end.
        p: exact two-sided p, not corrected for the number of methods.
        shown: whether it beats every blind baseline of the same work: p < 0.05, interval above 0.

    """

    label: str
    difference: float
    difference_low: float
    difference_high: float
    p: float
    shown: bool


@dataclass(frozen=True)
class BlindComparison:
    """The best blind baseline of one backbone and budget, and the leads of methods of that work."""

    backbone: str
    budget: float
    baseline: str
    top1: float
    leads: tuple[LeadOverBaseline, ...]

    @property
    def not_shown(self) -> tuple[str, ...]:
        """Methods that were not shown to be better than every blind baseline."""
        return tuple(lead.label for lead in self.leads if not lead.shown)

    @property
    def none_shown(self) -> bool:
        """Whether no method was shown to be better."""
        return len(self.not_shown) == len(self.leads)

    def record(self) -> dict[str, Any]:
        """Plain values; ``none_shown_better`` says whether ``not_shown_better`` are all methods."""
        return {
            "backbone": self.backbone,
            "budget": self.budget,
            "baseline": self.baseline,
            "top1": self.top1,
            "not_shown_better": list(self.not_shown),
            "none_shown_better": self.none_shown,
            "leads": [asdict(lead) for lead in self.leads],
        }


def compare_to_blind(
    backbone: str, budget: float, blind: Sequence[Outcomes], methods: Sequence[Outcomes]
) -> BlindComparison | None:
    """Compare `methods`, which look at the image, with the `blind` cells of one budget.

    A method is compared with baselines of the same work only, within 0.5 point, and has no lead if
    the best of them is of another. None if no method has a lead.
    """
    if not blind:
        return None
    # Chosen by the same images, hence the bias named in `LeadOverBaseline`.
    best = max(blind, key=lambda cell: cell.accuracy)
    leads = []
    for method in methods:
        # Against each of them, since the best by accuracy need not be the hardest to beat.
        rows = [compare(method, cell) for cell in blind]
        tested = {row.reference: row for row in rows if row.p is not None}
        # A lead over the best would be one of work, not of choice, if their work differs.
        if best.label in tested:
            row = tested[best.label]
            assert row.p is not None
            lead = LeadOverBaseline(
                method.label,
                row.difference,
                row.difference_low,
                row.difference_high,
                row.p,
                shown=all(_is_better(row) for row in tested.values()),
            )
            leads.append(lead)
    if not leads:
        return None
    return BlindComparison(backbone, budget, best.label, best.accuracy, tuple(leads))


def _is_better(row: Comparison) -> bool:
    # Both: with few seeds the interval is an envelope, which the exact test knows nothing of.
    return row.p is not None and row.p < ALPHA and row.difference_low > 0


def no_method_beats_blind(comparisons: Iterable[BlindComparison]) -> list[str]:
    """Name the budgets at which no method was shown to beat the blind baselines, by backbone."""
    # One sentence a backbone: budgets would repeat it five times.
    budgets: dict[str, list[str]] = {}
    for row in comparisons:
        if row.none_shown:
            best = f"best: {row.baseline}, {100 * row.top1:.1f} %"
            budget = f"-{100 * row.budget:.4g} % FLOPs ({best})"
            budgets.setdefault(row.backbone, []).append(budget)
    sentences = []
    for backbone, places in budgets.items():
        sentences.append(
            f"No method was shown to beat the blind baselines on {backbone} at "
            f"{' or at '.join(places)}: none keeps more than each of them by paired tests at 5 %, "
            "not corrected for the number of methods."
        )
    return sentences


def blind_table(comparisons: Iterable[BlindComparison]) -> pd.DataFrame:
    """Tabulate the comparisons, a row a lead."""
    rows = []
    for comparison in comparisons:
        baseline = {name: getattr(comparison, name) for name in BASELINE}
        rows += [baseline | asdict(lead) for lead in comparison.leads]
    columns = [*BASELINE, *(field.name for field in fields(LeadOverBaseline))]
    return pd.DataFrame(rows, columns=columns).astype({"shown": bool})


def read_blind_table(
    table: pd.DataFrame, labels: Collection[str]
) -> dict[tuple[str, float], BlindComparison]:
    """Restore comparisons by backbone and budget, with the leads of the methods in `labels`."""
    comparisons = {}
    for (backbone, budget, baseline, top1), rows in table.groupby(list(BASELINE), sort=True):
        leads = []
        for row in rows[rows["label"].isin(list(labels))].itertuples():
            ends = float(row.difference_low), float(row.difference_high)
            leads.append(
                LeadOverBaseline(
                    str(row.label), float(row.difference), *ends, float(row.p), bool(row.shown)
                )
            )
        if leads:
            key = str(backbone), float(str(budget))
            comparisons[key] = BlindComparison(*key, str(baseline), float(str(top1)), tuple(leads))
    return comparisons

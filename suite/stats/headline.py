"""The one sentence a reader takes away: a difference with its interval, never a p alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from suite.stats.compare import Comparison
from suite.stats.verdict import Verdict


@dataclass(frozen=True)
class Setting:
    """What was measured on: names as printed, the budget as a fraction, top-1 of the dense model."""

    backbone: str
    dataset: str
    budget: float
    dense_accuracy: float


def headline(setting: Setting, verdict: Verdict, rows: Sequence[Comparison]) -> str:
    """How the reference method of `rows` stands against the best other one at this budget.

    Only rows of the same work count. A budget at which the data cannot rank is said to be so first;
    the difference follows as what it is, a measurement.
    """
    tested = [row for row in rows if row.p_holm is not None]
    doubt = "" if verdict.can_rank else verdict.text + " "
    if not tested:
        return f"{doubt}No other method was run at the same FLOPs, within 0.5 point, on {_place(setting)}."
    best = max(tested, key=lambda row: row.accuracy)
    sentence = f"On {_place(setting)} with {100 * setting.budget:.4g} % of FLOPs removed, {_standing(best)}"
    limit = f"{best.images:,} images find a true difference of {100 * best.smallest:.1f} points in four runs of five"
    return f"{doubt}{sentence} ({_figures(best, setting)}); {limit}."


def pair(setting: Setting, row: Comparison) -> str:
    """How the reference of `row` stands against its method, one that was asked for, in figures."""
    place = f"On {setting.backbone} with {100 * setting.budget:.4g} % removed"
    return f"{place} {_standing(row, '')} ({_figures(row, setting)})."


def _place(setting: Setting) -> str:
    return f"{setting.dataset} ({setting.backbone})"


def _standing(row: Comparison, rank: str = "the best other method, ") -> str:
    """The reference of `row` against its method, of this rank, in words."""
    points = f"{abs(100 * row.difference):.1f} points of top-1"
    if row.rejected and not row.significant and row.kind == "range":
        return (
            f"{row.reference} and {_other(row, rank)} differ by {points}, though not for every seed"
        )
    if not row.significant:
        return (
            f"{row.reference} and {_other(row, rank)} cannot be told apart: they differ by {points}"
        )
    if row.difference < 0:
        return f"{row.reference} keeps {points} more than {rank}{row.label}"
    return f"{row.reference} keeps {points} less than {row.label}"


def _other(row: Comparison, rank: str) -> str:
    return f"{rank}{row.label}," if rank else row.label


def _figures(row: Comparison, setting: Setting) -> str:
    """Interval of reference minus method, both accuracies, the dense one, and p."""
    ends = (
        f"difference {_signed(-100 * row.difference_high)} to {_signed(-100 * row.difference_low)}"
    )
    spread = (
        f"{ends} over the 95 % intervals of the seeds"
        if row.kind == "range"
        else f"95 % interval of the {ends}"
    )
    return (
        f"{spread}, "
        f"{100 * row.reference_accuracy:.1f} % against {100 * row.accuracy:.1f} %, "
        f"dense {100 * setting.dense_accuracy:.1f} %, {_p(row.p_holm)} after Holm's correction"
    )


def _signed(points: float) -> str:
    """One digit, two where one would hide on which side of zero the number lies."""
    text = f"{points:+.1f}"
    if not points:
        return "0.0"
    return f"{points:+.2f}" if not float(text) else text


def _p(p: float | None) -> str:
    assert p is not None, "only tested rows are printed"
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"

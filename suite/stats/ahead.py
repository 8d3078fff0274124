"""Whether one method is ahead of every one of its rivals, at every budget of every backbone.

At one budget all rivals must be beaten, so that the largest of their p is the p of the claim and
none is corrected for their number (an intersection-union test: Berger 1982). A rival that does more
work than the method counts, too; one that does less is left out. Holm's correction is over the
claims: the budgets of all backbones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from suite.stats.compare import ALPHA, Comparison, compare
from suite.stats.correctness import Outcomes
from suite.stats.single import holm

SMALLER = "downsample"  # the method that is the dense model on a smaller image


@dataclass(frozen=True)
class Contest:
    """A method and its rivals on the same images, at one budget of one backbone.

    ``smaller``  the dense model on a smaller image, which is no rival: its work is another
    """

    backbone: str
    budget: float
    method: Outcomes
    rivals: Sequence[Outcomes]
    smaller: Outcomes | None = None


@dataclass(frozen=True)
class Claim:
    """That a method is ahead of each of its rivals, at one budget of one backbone.

    ``each``         the lead over each rival, the best first, with 95 % intervals, not corrected
    ``smaller``      the lead over a smaller image, tested only where its FLOPs are the same; None
                     without one
    ``rivals``       rivals of no less work, over which the claim is
    ``p``            the largest of theirs, 1 where the method is not ahead
    ``p_holm``       after Holm's correction over ``comparisons`` claims
    """

    backbone: str
    budget: float
    label: str
    each: tuple[Comparison, ...]
    smaller: Comparison | None
    rivals: int
    p: float
    p_holm: float = 1.0
    comparisons: int = 1

    @property
    def best(self) -> Comparison:
        """The lead over the rival of no less work that keeps most."""
        return next(row for row in self.each if row.p is not None)

    @property
    def shown(self) -> bool:
        """Whether the method is shown to be ahead of each, by tests and intervals."""
        tested = [row for row in self.each if row.p is not None]
        return self.p_holm < ALPHA and all(row.difference_low > 0 for row in tested)


def claims(contests: Sequence[Contest]) -> list[Claim]:
    """The claim of each contest, Holm-corrected over all of them.

    Without those in which all rivals do less work.
    """
    found = []
    for contest in contests:
        ordered = sorted(contest.rivals, key=lambda rival: -rival.accuracy)
        each = tuple(compare(contest.method, rival, more_work=True) for rival in ordered)
        # a two-sided p of what is no lead shows none, however small it is
        p_values = [row.p if row.difference > 0 else 1.0 for row in each if row.p is not None]
        if p_values:
            image = contest.smaller
            smaller = compare(contest.method, image) if image else None
            label = contest.method.label
            place = contest.backbone, contest.budget, label
            found.append(Claim(*place, each, smaller, len(p_values), max(p_values)))
    corrected = holm([claim.p for claim in found])
    return [
        replace(claim, p_holm=p_holm, comparisons=len(found))
        for claim, p_holm in zip(found, corrected, strict=True)
    ]


def claim_row(claim: Claim) -> dict[str, Any]:
    """The row of the table ``ahead_of_each``."""
    best = claim.best
    return {
        "backbone": claim.backbone,
        "budget": claim.budget,
        "label": claim.label,
        "reference": best.reference,
        "difference": best.difference,
        "difference_low": best.difference_low,
        "difference_high": best.difference_high,
        "p": claim.p,
        "p_holm": claim.p_holm,
        "comparisons": claim.comparisons,
        "significant": claim.shown,
        "methods": claim.rivals,
        "images": best.images,
    }


def lead_rows(claim: Claim) -> list[dict[str, Any]]:
    """The rows of the table ``ahead``: one a rival, and one for the smaller image."""
    rows = []
    for row in (*claim.each, *((claim.smaller,) if claim.smaller else ())):
        rows.append(
            {
                "backbone": claim.backbone,
                "budget": claim.budget,
                "label": claim.label,
                "reference": row.reference,
                "top1": row.accuracy,
                "other_top1": row.reference_accuracy,
                "difference": row.difference,
                "difference_low": row.difference_low,
                "difference_high": row.difference_high,
                "interval": row.kind,
                "p": row.p,
                "images": row.images,
            }
        )
    return rows


def claim_words(rows: Sequence[Mapping[Any, Any]], called: Callable[[str], str] = str) -> str:
    """Where a method is shown to be ahead of every other method, in a line.

    `rows` are those of the table ``ahead_of_each``; `called` gives what a method is called.
    """
    label = called(rows[0]["label"])
    shown = [place(row) for row in rows if row["significant"]]
    missed = [place(row) for row in rows if not row["significant"]]
    if not shown:
        return f"{label} is not shown to be ahead of every other method anywhere."
    words = f"{label} is shown to be ahead of every other method at {', '.join(shown)}"
    return f"{words}; not at {', '.join(missed)}." if missed else f"{words}."


def place(row: Mapping[Any, Any]) -> str:
    """Budget and backbone of a claim, in words."""
    return f"-{100 * row['budget']:.4g} % on {row['backbone']}"

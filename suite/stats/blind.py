"""Which methods were not shown to do better than a baseline that does not look at the image.

This is the one rule for it: the terminal, ``--json`` and the page all say what `marks` finds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

BLIND = ("random", "stride", "pool")  # which tokens go, and where to, is settled before the image is seen
NO_CHOICE = ("none", "permute", "downsample", "oracle")  # of tokens, or one that knows the label
NORMAL = 1.959964  # two-sided 95 %
Correct = Mapping[str, pd.Series]


@dataclass(frozen=True)
class Lead:
    """How far a method is ahead of a blind baseline, as a share of the images, with its paired 95 % interval.

    The interval is over images, seeds averaged, in normal approximation, without correction for many methods; NaN where
    outcomes are missing.
    """

    label: str
    difference: float
    low: float
    high: float

    @property
    def shown(self) -> bool:
        """Whether the interval lies above zero; without one, whether the mean does."""
        return (self.difference if np.isnan(self.low) else self.low) > 0

    def record(self) -> dict[str, Any]:
        """The lead as plain values, None for the ends of an interval that is not known."""
        return {name: None if value != value else value for name, value in asdict(self).items()}


@dataclass(frozen=True)
class Mark:
    """The best blind baseline of one backbone and budget, and how far every method that chooses tokens is ahead."""

    backbone: str
    budget: float
    baseline: str
    top1: float
    leads: tuple[Lead, ...]

    @property
    def equals(self) -> tuple[str, ...]:
        """The methods that were not shown to do better."""
        return tuple(lead.label for lead in self.leads if not lead.shown)

    @property
    def everywhere(self) -> bool:
        """Whether no method at all was shown to do better."""
        return bool(self.leads) and len(self.equals) == len(self.leads)

    def record(self) -> dict[str, Any]:
        """The mark as plain values; ``none_shown_better`` says whether ``not_shown_better`` are all methods."""
        return {
            "backbone": self.backbone,
            "budget": self.budget,
            "baseline": self.baseline,
            "top1": self.top1,
            "not_shown_better": list(self.equals),
            "none_shown_better": self.everywhere,
            "leads": [lead.record() for lead in self.leads],
        }


def marks(cells: pd.DataFrame, correct: Correct) -> dict[tuple[str, float], Mark]:
    """A mark for each backbone and budget at which a blind baseline and a method that chooses tokens finished.

    A baseline that chooses by a score of the image (``delta``, ``norm``, ``activation``) is such a method. `cells` has
    a row a cell with ``key``, ``status``, ``backbone``, ``budget``, ``label``, ``method`` and ``top1`` (a share);
    `correct` says by key whether a cell was right on each image, which is the index.

    A method beats the baseline where the interval of its `Lead` lies above zero; without outcomes, where its mean is
    higher.
    """
    done = cells[(cells["status"] == "ok") & cells["top1"].notna() & cells["budget"].notna()]
    found = {}
    for (backbone, budget), part in done.groupby(["backbone", "budget"]):
        sightless = part[part["method"].isin(BLIND)]
        methods = part[~part["method"].isin((*BLIND, *NO_CHOICE))]
        if sightless.empty or methods.empty:
            continue
        means = sightless.groupby("label")["top1"].mean()
        best = str(means.idxmax())
        theirs = sightless[sightless["label"] == best]
        leads = tuple(
            Lead(str(label), *_lead(rows, theirs, correct)) for label, rows in methods.groupby("label", sort=False)
        )
        place = str(backbone), float(str(budget))
        found[place] = Mark(*place, best, float(means.max()), leads)
    return found


def unbeaten(found: Iterable[Mark]) -> list[str]:
    """At which budgets no method was shown to do better than a blind baseline, a sentence for each backbone."""
    places: dict[str, list[str]] = {}
    for mark in found:
        if mark.everywhere:
            place = f"-{100 * mark.budget:.4g} % FLOPs ({mark.baseline}, {100 * mark.top1:.1f} %)"
            places.setdefault(mark.backbone, []).append(place)
    return [
        f"No method was shown to beat a blind baseline on {backbone} at {' or at '.join(where)}: there no "
        "paired 95 % interval of the difference lies above zero."
        for backbone, where in places.items()
    ]


def _lead(rows: pd.DataFrame, others: pd.DataFrame, correct: Correct) -> tuple[float, float, float]:
    """Difference of the mean accuracies, and the ends of its interval."""
    one, other = _shares(rows, correct), _shares(others, correct)
    if one is None or other is None or not one.index.equals(other.index):
        return float(rows["top1"].mean() - others["top1"].mean()), np.nan, np.nan
    gap: npt.NDArray[np.float64] = one.to_numpy() - other.to_numpy()
    error = float(gap.std(ddof=1)) / len(gap) ** 0.5 if len(gap) > 1 else np.inf
    difference = float(gap.mean())
    return difference, difference - NORMAL * error, difference + NORMAL * error


def _shares(rows: pd.DataFrame, correct: Correct) -> pd.Series | None:
    """Share of seeds that are right on each image; None where some outcomes are missing."""
    seeds = [correct[key] for key in rows["key"] if key in correct]
    if len(seeds) != len(rows):
        return None
    joined = pd.concat(seeds, axis=1).astype("float64")
    return None if joined.isna().any(axis=None) else joined.mean(axis=1)

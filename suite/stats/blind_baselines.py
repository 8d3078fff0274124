"""Which methods were shown to be better than every baseline that does not look at the image.

A schedule or a window is no merit of a choice of tokens. So a method must beat every blind baseline
under the method's own setting, and under the setting that is best for that baseline on these
images. The rule is applied once, when a run is concluded, and stored; the terminal, ``--json`` and
the page repeat what `compare_to_blind` returned.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import pandas as pd

from suite.stats.compare import ALPHA, Comparison, compare, other_work
from suite.stats.correctness import Outcomes
from suite.stats.schedule_words import listed
from suite.stats.verdict import BLIND, GRID_BLIND
from suite.tries.settings import Setting

RULE = (
    "At their best: to beat them, a method keeps more than each of them under its own setting and "
    "under the baseline's best, by the paired test at 5 %. Each method is asked by itself, without "
    "correction for their number, so that one may beat a baseline from which the ranking, which "
    "corrects for all its comparisons, does not tell it apart."
)
SETTING = tuple(field.name for field in fields(Setting))
BASELINE = ("backbone", "budget", "baseline", *SETTING, "top1")


@dataclass(frozen=True, eq=False)
class AtSetting:
    """Outcomes of a method under a setting; None where its paper has a schedule of its own.

    ``method``  the method whatever its setting, under which a baseline's settings belong together
    """

    method: str
    setting: Setting | None
    outcomes: Outcomes


@dataclass(frozen=True)
class LeadOverBaseline:
    """A method's lead over the best blind baseline, as a share of the images.

    The baseline is the best on these very images, so the difference is slightly too small in the
    mean, and `shown` asks for more than it would of one baseline under one setting.

    Attributes:
        label: the method.
        difference: its top-1 minus the baseline's.
        difference_low: lower end of the paired 95 % interval, or of its range over 2 to 4 seeds.
        difference_high: upper end.
        p: exact two-sided p, not corrected for the number of methods.
        shown: whether it beats every blind baseline of the same work, under the method's setting
            and under the baseline's best: p < 0.05, interval above 0.

    """

    label: str
    difference: float
    difference_low: float
    difference_high: float
    p: float
    shown: bool


@dataclass(frozen=True)
class BlindComparison:
    """The best blind baseline of one backbone and budget, and the leads of methods of that work.

    ``setting``  the one under which the baseline is best
    """

    backbone: str
    budget: float
    baseline: str
    top1: float
    leads: tuple[LeadOverBaseline, ...]
    setting: Setting | None = None

    @property
    def best(self) -> str:
        """The baseline with its setting, in words."""
        return under(self.baseline, self.setting)

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
            "setting": asdict(self.setting) if self.setting else None,
            "top1": self.top1,
            "not_shown_better": list(self.not_shown),
            "none_shown_better": self.none_shown,
            "leads": [asdict(lead) for lead in self.leads],
        }


def under(label: str, setting: Setting | None) -> str:
    """A method with its setting, in words."""
    return f"{label} ({setting})" if setting else label


def compare_to_blind(
    backbone: str, budget: float, blind: Sequence[AtSetting], methods: Sequence[AtSetting]
) -> BlindComparison | None:
    """Compare `methods`, which look at the image, with the `blind` cells of one budget.

    A method is compared with baselines of the same work only, within 0.5 point, and has no lead if
    the best of them is of another. Whole rows and columns meet a budget less nearly: such a cell is
    the best one only if its work is that of most methods. None if no method has a lead.
    """
    alike = [sum(same_work(cell, method) for method in methods) for cell in blind]
    most = max(alike, default=0)
    if not most:
        return None
    candidates = []
    for cell, count in zip(blind, alike, strict=True):
        if count == most or not cell.outcomes.coarse:
            candidates.append(cell)
    # Chosen by the same images, hence the bias named in `LeadOverBaseline`.
    best = max(candidates, key=lambda cell: cell.outcomes.accuracy)
    leads = []
    for method in methods:
        # A lead over the best would be one of work, not of choice, if their work differs.
        if same_work(best, method):
            rivals = {id(best): best} | {id(cell): cell for cell in rivals_of(method, blind)}
            rows = {key: compare(method.outcomes, cell.outcomes) for key, cell in rivals.items()}
            row = rows[id(best)]
            assert row.p is not None
            lead = LeadOverBaseline(
                method.outcomes.label,
                row.difference,
                row.difference_low,
                row.difference_high,
                row.p,
                shown=all(map(_is_better, rows.values())),
            )
            leads.append(lead)
    if not leads:
        return None
    outcomes = best.outcomes
    return BlindComparison(
        backbone, budget, outcomes.label, outcomes.accuracy, tuple(leads), best.setting
    )


def in_order(cells: Iterable[AtSetting]) -> list[AtSetting]:
    """Sort blind cells by name and setting: of equal ones every run then names the same."""

    def place(cell: AtSetting) -> tuple[int, str, str]:
        names = (*BLIND, *GRID_BLIND)
        known = names.index(cell.method) if cell.method in names else len(names)
        return known, cell.method, str(cell.setting)

    return sorted(cells, key=place)


def same_work(cell: AtSetting, method: AtSetting) -> bool:
    """Whether both remove about the same share of FLOPs."""
    coarse = cell.outcomes.coarse or method.outcomes.coarse
    return not other_work(cell.outcomes.removed, method.outcomes.removed, coarse)


def rivals_of(method: AtSetting, blind: Iterable[AtSetting]) -> list[AtSetting]:
    """The blind cells of the same work that `method` must beat, of each baseline some.

    They are those under the method's own setting, and those under the baseline's best, all of them
    in a tie.
    """
    baselines: dict[str, list[AtSetting]] = {}
    for cell in blind:
        if same_work(cell, method):
            baselines.setdefault(cell.method, []).append(cell)
    rivals = []
    for cells in baselines.values():
        most = max(cell.outcomes.accuracy for cell in cells)
        for cell in cells:
            if cell.setting == method.setting or cell.outcomes.accuracy == most:
                rivals.append(cell)
    return rivals


def _is_better(row: Comparison) -> bool:
    # Both: with few seeds the interval is an envelope, which the exact test knows nothing of.
    return row.p is not None and row.p < ALPHA and row.difference_low > 0


def beaten_words(comparisons: Iterable[BlindComparison], images: str) -> str:
    """Say which methods were shown to beat the blind baselines of one backbone, budget by budget.

    `images` are those compared, in words. Empty without a comparison.
    """
    parts: list[str] = []
    backbone = ""
    for row in comparisons:
        backbone = row.backbone
        shown = [lead.label for lead in row.leads if lead.shown]
        who = ", ".join(shown) or f"none (best: {row.baseline}{_at(row)})"
        if len(shown) == len(row.leads) > 1:
            who = f"all {len(shown)} methods"
        unit = "" if parts else " FLOPs"
        parts.append(f"at -{100 * row.budget:.4g} %{unit} by {who}")
    if not parts:
        return ""
    return f"Blind baselines at their best, {backbone}, {images}: beaten {', '.join(parts)}."


def stand_ins(backbone: str) -> str:
    """Why the blind baselines of a backbone are those of the grid, in a sentence."""
    return (
        f"The tokens of {backbone} have to fill a rectangle, and {listed(BLIND)} leave none: "
        f"{listed(GRID_BLIND)} are the blind baselines there."
    )


def _at(row: BlindComparison) -> str:
    """Setting and top-1 of the best baseline, as brackets add them."""
    setting = f", {row.setting}" if row.setting else ""
    return f"{setting}: {100 * row.top1:.1f} %"


def blind_table(comparisons: Iterable[BlindComparison]) -> pd.DataFrame:
    """Tabulate the comparisons, a row a lead."""
    rows = []
    for comparison in comparisons:
        setting = asdict(comparison.setting) if comparison.setting else {}
        baseline = {
            name: setting.get(name) if name in SETTING else getattr(comparison, name)
            for name in BASELINE
        }
        rows += [baseline | asdict(lead) for lead in comparison.leads]
    columns = [*BASELINE, *(field.name for field in fields(LeadOverBaseline))]
    return pd.DataFrame(rows, columns=columns).astype({"shown": bool, "cls_window": "float64"})


def read_blind_table(
    table: pd.DataFrame, labels: Collection[str]
) -> dict[tuple[str, float], BlindComparison]:
    """Restore comparisons by backbone and budget, with the leads of the methods in `labels`."""
    comparisons = {}
    for (backbone, budget), rows in table.groupby(["backbone", "budget"], sort=True):
        leads = []
        for row in rows[rows["label"].isin(list(labels))].itertuples():
            ends = float(row.difference_low), float(row.difference_high)
            leads.append(
                LeadOverBaseline(
                    str(row.label), float(row.difference), *ends, float(row.p), bool(row.shown)
                )
            )
        if leads:
            first = rows.iloc[0]
            setting = None
            if isinstance(first["schedule"], str) and pd.notna(first["cls_window"]):
                setting = Setting(first["schedule"], int(first["cls_window"]))
            key = str(backbone), float(str(budget))
            baseline = str(first["baseline"]), float(first["top1"])
            comparisons[key] = BlindComparison(*key, *baseline, tuple(leads), setting)
    return comparisons

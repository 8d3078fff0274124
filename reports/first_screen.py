"""What stands on the first screen: a title in words, the answer in a line, and a row a budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from reports.formatting import percent, points, present, share_removed
from reports.report_data import ReportData
from reports.run import Row, sequence
from reports.style import DENSE, PLAIN, group
from suite.stats.compare import other_work
from suite.stats.ranking import Leader

NAMED = 3  # methods, or backbones, that a title names
KINDS = {
    "sensitivity": "Which tokens matter to {on}",
    "bench": "Time and memory of {on}, reduced",
}


@dataclass(frozen=True)
class Scale:
    """The range of values over which the bars of intervals are drawn."""

    low: float
    high: float

    @classmethod
    def over(cls, values: Sequence[float], zero: bool = False) -> Scale:
        """The scale that holds `values`, and zero if asked to, with room at both ends."""
        known = [float(value) for value in values if present(value)] or [0.0]
        low, high = min(known), max(known)
        if zero:
            low, high = min(low, 0.0), max(high, 0.0)
        room = 0.04 * (high - low) or 0.01
        return cls(low - room, high + room)

    def place(self, value: float) -> float:
        """Where `value` is, in per cent of the width, within it."""
        share = 100 * (value - self.low) / (self.high - self.low)
        return round(min(100.0, max(0.0, share)), 2)

    def bar(self, value: float, low: float, high: float) -> Row:
        """A mark with its interval, which is left out where it is not known."""
        bar: Row = {"at": self.place(value), "zero": None}
        if self.low < 0 < self.high:
            bar["zero"] = self.place(0.0)
        ends = (low, high) if present(low) and present(high) else (value, value)
        return bar | {"from": self.place(ends[0]), "to": self.place(ends[1])}


def title(report: ReportData) -> str:
    """The question of the run in words."""
    run = report.run
    on = in_words(report.backbones or [str(run.spec.get("backbone") or "a backbone")], "backbones")
    kind = str(run.spec.get("kind") or "")
    if kind in KINDS:
        return KINDS[kind].format(on=on)
    # Permutations of all tokens, at budget 0, are what an ablation is read beside.
    reduced = run.cells[run.cells["budget"] != 0]
    methods = [label for label in report.ordered(reduced) if _is_choice(label)]
    titles = list(dict.fromkeys(report.title(label) for label in methods))
    if run.ablates:
        # Settings of one method are many labels of one title.
        titles = list(dict.fromkeys(name.partition("[")[0].partition("@")[0] for name in titles))
        return f"{in_words(titles, 'methods')} on {on}, one choice at a time"
    words = f"{in_words(titles, 'ways to reduce tokens') or 'No method'} on {on}"
    return f"{words}, before and after retraining" if kind == "retrain" else words


def _is_choice(label: str) -> bool:
    return group(label) not in (DENSE, PLAIN)


def in_words(names: Sequence[str], kind: str) -> str:
    """Few names as a list in words; of many how many there are."""
    if len(names) > NAMED:
        return f"{len(names)} {kind}"
    *first, last = [*names] or [""]
    return f"{', '.join(first)} and {last}" if first else last


def budgets(report: ReportData) -> list[Row]:
    """A row for each backbone and budget: who keeps most, and what is known of it.

    A row has its ``backbone`` (a number), ``budget``, ``best``, ``top1``, ``following`` (empty if
    there is no other method), its ``difference`` with a ``bar``, a ``verdict`` of a few words with
    its ``kind`` (good, open or bad), the ``smaller`` image, and the ``answer`` of the page.
    """
    table = report.run.ranking.dropna(subset=["top1"])
    scales = {
        str(backbone): Scale.over(
            [*(-part["difference_high"]), *(-part["difference_low"])], zero=True
        )
        for backbone, part in _second(table).groupby("backbone")
    }
    rows = []
    for (backbone, budget), part in table.groupby(["backbone", "budget"], sort=False):
        if str(backbone) in report.backbones:
            scale = scales.get(str(backbone), Scale.over([0.0]))
            rows.append(_budget(report, str(backbone), float(str(budget)), part, scale))
    return sorted(rows, key=lambda row: (row["backbone"], row["budget"]))


def _second(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the method behind the best one, which is compared with it."""
    return table.groupby(["backbone", "budget"], sort=False).nth(1)


def _budget(
    report: ReportData, backbone: str, budget: float, part: pd.DataFrame, scale: Scale
) -> Row:
    leader = Leader.of(part)
    verdict, kind = _verdict(report, backbone, budget, part)
    smaller = _smaller(report, backbone, budget)
    row: Row = {
        "backbone": report.backbones.index(backbone),
        "budget": budget,
        "best": leader.best,
        "top1": leader.top1,
        "following": "",
        "difference": "",
        "bar": None,
        "verdict": verdict,
        "kind": kind,
        "smaller": "",
    }
    if leader.following:
        row |= {
            "following": leader.following,
            "difference": points(leader.lead),
            "ends": f"{points(leader.low)} to {points(leader.high)}",
            "bar": scale.bar(leader.lead, leader.low, leader.high),
        }
    if smaller:
        row["smaller"] = f"{percent(smaller[0])} at −{percent(smaller[1], 0)} %"
    row["answer"] = leader.sentence(report.title, smaller)
    return row


def _verdict(
    report: ReportData, backbone: str, budget: float, part: pd.DataFrame
) -> tuple[str, str]:
    """The verdict on the lead in a few words, and whether it is good, open or bad."""
    best, level = str(part.iloc[0]["label"]), int((part["group"] == 1).sum())
    mark = report.marks.get((backbone, budget))
    if len(part) == 1:
        return "alone", "open"
    if _cannot_rank(report, backbone, budget):
        return "cannot be ranked", "bad"
    if level > 1:
        # As the line above the chart counts them.
        others = f"{level - 1} others" if level > 2 else "the next"
        return f"not told apart from {others}", "open"
    if part.iloc[1]["unsettled"] is True:
        return "schedule decides", "open"
    if not _is_choice(best) or (mark and best in mark.not_shown):
        return "no better than blind", "bad"
    return "leads", "good"


def _cannot_rank(report: ReportData, backbone: str, budget: float) -> bool:
    for row in sequence(report.run.headline.get("resolution")):
        if isinstance(row, dict) and (row.get("backbone"), row.get("budget")) == (backbone, budget):
            return row.get("can_rank") is False
    return False


def _smaller(report: ReportData, backbone: str, budget: float) -> tuple[float, float] | None:
    """Top-1 and share of FLOPs removed of the smaller image nearest in FLOPs."""
    frame = report.frame
    rows = frame[(frame["backbone"] == backbone) & (frame["method"] == "downsample")]
    rows = rows.dropna(subset=["removed", "top1"])
    if rows.empty:
        return None
    nearest = rows.loc[(rows["removed"] - budget).abs().idxmin()]
    return float(nearest["top1"]), float(nearest["removed"])


def places(report: ReportData) -> dict[tuple[str, float, str], int]:
    """The group of every method in the ranking, by backbone, budget and label."""
    table = report.run.ranking
    keys = zip(table["backbone"], table["budget"], table["label"], strict=True)
    return dict(zip(keys, table["group"].astype(int), strict=True))


def ranking(report: ReportData) -> list[Row]:
    """Lists of all methods of a backbone at a budget, from the best on, with bars of top-1.

    A list has its ``backbone`` (a number), ``budget`` and ``rows``: label, top-1, bar, and whether
    the row ``opens`` a group that was told apart from the one above. What is no rival (a smaller
    image or model, the dense model) has no ``group``.
    """
    groups, lists = places(report), []
    for number, backbone in enumerate(report.backbones):
        frame = report.frame[report.frame["backbone"] == backbone]
        ends = frame[["top1", "top1_low", "top1_high"]].to_numpy().ravel().tolist()
        scale = Scale.over(ends)
        beside = frame[frame["budget"].isna()]
        for budget in report.budgets_of(frame):
            part = pd.concat([beside, frame[frame["budget"] == budget]])
            part = part.sort_values("top1", ascending=False, kind="stable")
            rows, last = [], 1
            for row in part.to_dict("records"):
                place = groups.get((backbone, budget, row["label"]))
                rows.append(
                    {
                        "label": row["label"],
                        "top1": percent(row["top1"]),
                        "bar": scale.bar(row["top1"], row["top1_low"], row["top1_high"]),
                        "group": place,
                        "opens": place is not None and place > last,
                        "off": _off(row, budget),
                    }
                )
                last = max(last, place or 0)
            lists.append({"backbone": number, "budget": budget, "rows": rows})
    return lists


def _off(row: Row, budget: float) -> str:
    """The share of FLOPs that a cell removes, if that is not the budget."""
    removed = row["removed"]
    if not removed or not present(removed) or not other_work(removed, budget, row["coarse"]):
        return ""
    return share_removed(removed, budget)

"""Methods by equal counts of tokens beside equal FLOPs: how much of a lead is the other's cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from reports.formatting import budget_name, interval, percent, points, present, setting_name
from reports.report_data import ReportData
from reports.section import Frames, Section, Table, scaled_table, stored
from suite.stats.correctness import counted

NEEDS = stored("token_matched")
HEADS = {
    "backbone": "Backbone",
    "label": "Method",
    "setting": "Setting",
    "reduction_flops": "Own work, % of FLOPs",
    "removed": "FLOPs removed, %",
    "top1": "{metric}, %",
    "difference": "Difference, points",
    "difference_low": "from",
    "difference_high": "to",
    "removed_tokens": "By tokens: FLOPs removed, %",
    "top1_tokens": "{metric} by tokens, %",
    "difference_tokens": "Difference by tokens, points",
    "difference_tokens_low": "by tokens from",
    "difference_tokens_high": "by tokens to",
}
DIFFERENCES = ("difference", "difference_tokens")
OWN_DIGITS = 2  # a share of few percent
PERCENTAGES = set(HEADS) - {"backbone", "label", "setting"}
READING = (
    "By equal FLOPs a method pays for its own work with tokens; by equal counts of tokens it does "
    "not pay. Where its lead shrinks from the first to the second, the rest of it is the other "
    "method's cost. Intervals are paired, of 95 %, and not corrected."
)


def section(report: ReportData, frames: Frames) -> Section:
    """Build the section on equal counts of tokens: a sentence a method, and a table of all."""
    rows = frames["token_matched"]
    kind = report.run.kind
    compared = [row for row in rows.to_dict("records") if present(row["difference"])]
    sentences = [_sentence(row, kind) for row in compared]
    budgets = ", ".join(budget_name(budget) for budget in rows["budget"].unique())
    first = sentences[0] if sentences else "One method alone ran by both."
    return Section(
        key="token-matched",
        part="cost",
        title="Equal FLOPs and equal counts of tokens",
        sentence=first,
        tables=(_table(rows, budgets, report.run.metric.title),),
        notes=(*sentences[1:], READING),
        brief=_brief(report, rows),
    )


def _brief(report: ReportData, rows: pd.DataFrame) -> str:
    """What the method that works most pays for it."""
    compared = rows.dropna(subset=["difference", "difference_tokens"])
    if compared.empty:
        return ""
    row = compared.loc[compared["reduction_flops"].idxmax()]
    name, reference = report.title(row["label"]), report.title(row["reference"])
    share = f"{percent(row['reduction_flops'], OWN_DIGITS)} % of its FLOPs"
    by_flops = f"{_apart(row['difference'])} {reference} by equal FLOPs"
    by_tokens = f"{_apart(row['difference_tokens'])} it by equal counts of tokens"
    if _visible(row):
        return (
            f"{name}'s own work is {share}: it is {by_flops}, and {by_tokens}, where own work "
            "costs nothing."
        )
    images = counted(int(row["images"]), report.run.kind)
    return (
        f"No effect of {name}'s own work, {share}, can be seen on {images}: it is {by_flops}, and "
        f"{by_tokens}, where own work costs nothing."
    )


def _visible(row: Mapping[Any, Any]) -> bool:
    """Whether the two differences are further apart than either is uncertain."""
    change = abs(row["difference_tokens"] - row["difference"])
    halves = [(row[f"{name}_high"] - row[f"{name}_low"]) / 2 for name in DIFFERENCES]
    # A comparison with an unknown interval shows nothing: NaN compares as false.
    return all(change > half for half in halves)


def _apart(difference: float) -> str:
    """How far a method is above or below another, in points."""
    words = percent(abs(difference), 1)
    if float(words) == 0:
        return "level with"
    return f"{words} points {'above' if difference > 0 else 'below'}"


def _sentence(row: dict[Any, Any], kind: str) -> str:
    """What a method is beside the reference by FLOPs and by tokens, and what its own work is."""
    by_flops = _difference(row, "difference")
    by_tokens = _difference(row, "difference_tokens")
    images = counted(int(row["images"]), kind)
    own = percent(row["reduction_flops"], OWN_DIGITS)
    return (
        f"{row['label']} minus {row['reference']} on {row['backbone']} at "
        f"{budget_name(row['budget'])}, {images}: {by_flops} by equal FLOPs, {by_tokens} by equal "
        f"counts of tokens; {row['label']}'s own work is {own} % of "
        "its FLOPs."
    )


def _difference(row: dict[Any, Any], name: str) -> str:
    ends = interval(row[f"{name}_low"], row[f"{name}_high"], signed=True)
    return f"{points(row[name])} points {ends}".strip()


def _table(rows: pd.DataFrame, budgets: str, metric: str) -> Table:
    heads = {name: head.format(metric=metric) for name, head in HEADS.items()}
    named = rows.assign(
        setting=[
            setting_name(schedule, window)
            for schedule, window in zip(rows["schedule"], rows["cls_window"], strict=True)
        ]
    )
    frame = scaled_table(named, heads, PERCENTAGES)
    digits = {head: 1 for name, head in heads.items() if name in PERCENTAGES}
    digits[heads["reduction_flops"]] = OWN_DIGITS
    caption = (
        f"{metric} by equal FLOPs and by equal counts of tokens at {budgets} of FLOPs removed."
    )
    return Table("token-matched", caption, frame, digits)

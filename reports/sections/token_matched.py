"""Methods by equal counts of tokens beside equal FLOPs: how much of a lead is the other's cost."""

from __future__ import annotations

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
    "top1": "Top-1, %",
    "difference": "Difference, points",
    "difference_low": "from",
    "difference_high": "to",
    "removed_tokens": "By tokens: FLOPs removed, %",
    "top1_tokens": "Top-1 by tokens, %",
    "difference_tokens": "Difference by tokens, points",
    "difference_tokens_low": "by tokens from",
    "difference_tokens_high": "by tokens to",
}
PERCENTAGES = set(HEADS) - {"backbone", "label", "setting"}
READING = (
    "By equal FLOPs a method pays for its own work with tokens; by equal counts of tokens it does "
    "not pay. Where its lead shrinks from the first to the second, the rest of it is the other "
    "method's cost. Intervals are paired, of 95 %, and not corrected."
)


def section(report: ReportData, frames: Frames) -> Section:
    """Build the sentences of the methods beside the reference, and the table of all."""
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
        tables=(_table(rows, budgets),),
        notes=(*sentences[1:], READING),
        brief=_brief(report, rows),
    )


def _brief(report: ReportData, rows: pd.DataFrame) -> str:
    """What the method that works most pays for it."""
    compared = rows.dropna(subset=["difference", "difference_tokens"])
    if compared.empty:
        return ""
    row = compared.loc[compared["reduction_flops"].idxmax()]
    changed = points(row["difference_tokens"] - row["difference"])
    return (
        f"{report.title(row['label'])}'s own work is {percent(row['reduction_flops'], 1)} % of its "
        f"FLOPs; freed of it, its difference from {report.title(row['reference'])} changes by "
        f"{changed} points."
    )


def _sentence(row: dict[Any, Any], kind: str) -> str:
    """What a method is beside the reference by FLOPs and by tokens, and what its own work is."""
    by_flops = _difference(row, "difference")
    by_tokens = _difference(row, "difference_tokens")
    images = counted(int(row["images"]), kind)
    return (
        f"{row['label']} minus {row['reference']} on {row['backbone']} at "
        f"{budget_name(row['budget'])}, {images}: {by_flops} by equal FLOPs, {by_tokens} by equal "
        f"counts of tokens; {row['label']}'s own work is {percent(row['reduction_flops'], 2)} % of "
        "its FLOPs."
    )


def _difference(row: dict[Any, Any], name: str) -> str:
    ends = interval(row[f"{name}_low"], row[f"{name}_high"], signed=True)
    return f"{points(row[name])} points {ends}".strip()


def _table(rows: pd.DataFrame, budgets: str) -> Table:
    named = rows.assign(
        setting=[
            setting_name(schedule, window)
            for schedule, window in zip(rows["schedule"], rows["cls_window"], strict=True)
        ]
    )
    frame = scaled_table(named, HEADS, PERCENTAGES)
    digits = {head: 1 for name, head in HEADS.items() if name in PERCENTAGES}
    digits[HEADS["reduction_flops"]] = 2
    caption = f"Top-1 by equal FLOPs and by equal counts of tokens at {budgets} of FLOPs removed."
    return Table("token-matched", caption, frame, digits)

"""Whether the first method that was named is ahead of each of the others, by how much."""

from __future__ import annotations

from functools import partial
from typing import Any

import pandas as pd

from reports.figures.lead import ahead_figure
from reports.formatting import budget_name, interval, p_value, points
from reports.report_data import ReportData
from reports.section import Drawing, Frames, Section, Table, scaled_table, stored
from suite.stats.ahead import SMALLER, claim_words
from suite.stats.correctness import counted

NEEDS = stored("ahead", "ahead_of_each")
HEADS = {
    "backbone": "Backbone",
    "budget": "FLOPs removed, %",
    "reference": "Other method",
    "top1": "{metric}, %",
    "other_top1": "{metric} of the other, %",
    "difference": "Ahead by, points",
    "difference_low": "from",
    "difference_high": "to",
    "p": "p",
}
TEXTS = {"backbone", "reference", "p"}
READING = (
    "At each budget of each backbone the method has to be ahead of all others of the same FLOPs, "
    "or of more, each at its own setting. The p of that is the largest p of the paired tests, "
    "without correction for their number; but where another method keeps as much or more, it is 1 "
    "by rule, since a two-sided test of what is no lead cannot show one. Holm's correction is over "
    "budgets and backbones. Intervals are paired, of 95 %, and not corrected. Methods of fewer "
    "FLOPs are not tested. A smaller image is no rival: it stands apart, as a reference without a "
    "test wherever its FLOPs are others."
)


def section(report: ReportData, frames: Frames) -> Section:
    """Build the answer, a figure a backbone, a sentence a budget, and the table of all leads."""
    rows, claims = frames["ahead"], frames["ahead_of_each"].to_dict("records")
    name = report.title(str(claims[0]["label"]))
    figures = []
    for backbone, part in rows.groupby("backbone", sort=False):
        figures.append(_figure(report, str(backbone), part))
    return Section(
        key="ahead",
        part="answer",
        title=f"Is {name} ahead of every other method?",
        sentence=claim_words(claims, report.title),
        figures=tuple(figures),
        tables=_tables(rows, report.run.metric.title),
        notes=(*(_sentence(report, row) for row in claims), READING),
    )


def _figure(report: ReportData, backbone: str, rows: pd.DataFrame) -> Drawing:
    several = len(report.backbones) > 1
    title, metric = backbone if several else "", report.run.metric
    label = report.title(str(rows["label"].iloc[0]))
    return Drawing(
        f"ahead-{report.backbones.index(backbone)}" if several else "ahead",
        partial(ahead_figure, rows, report.looks, title, metric),
        f"{metric.title} of {label} less that of every other method at the same budget, with "
        "paired 95 % intervals; filled where the test shows the lead.",
        f"How far {label} is ahead of every other method on {backbone}, a line each.",
        backbone=backbone,
    )


def _sentence(report: ReportData, row: dict[Any, Any]) -> str:
    ends = interval(row["difference_low"], row["difference_high"], signed=True)
    images = counted(int(row["images"]), report.run.kind)
    return (
        f"{row['label']} less {row['reference']}, the best of {int(row['methods'])} others, on "
        f"{row['backbone']} at {budget_name(row['budget'])}, {images}: "
        f"{points(row['difference'])} points {ends}; p of all others {p_value(row['p'])}, "
        f"corrected {p_value(row['p_holm'])}."
    )


def _tables(rows: pd.DataFrame, metric: str) -> tuple[Table, ...]:
    """The leads over all rivals, and apart from them those over a smaller image."""
    less = f"{metric} of {rows['label'].iloc[0]} less that of"
    image = rows["reference"] == SMALLER
    tables = [_table("ahead", f"{less} every other method.", rows[~image], metric)]
    if image.any():
        caption = f"{less} a smaller image, which is no rival: tested only at the same FLOPs."
        tables.append(_table("ahead_smaller", caption, rows[image], metric))
    return tuple(tables)


def _table(name: str, caption: str, rows: pd.DataFrame, metric: str) -> Table:
    heads = {column: head.format(metric=metric) for column, head in HEADS.items()}
    shares = set(HEADS) - TEXTS
    frame = scaled_table(rows, heads, shares)
    return Table(name, caption, frame, {heads[column]: 1 for column in shares})

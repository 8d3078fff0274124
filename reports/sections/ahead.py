"""Whether the first method that was named is ahead of each of the others, by how much."""

from __future__ import annotations

from functools import partial
from typing import Any

import pandas as pd

from reports.figures.lead import ahead_figure
from reports.formatting import budget_name, interval, p_value, points
from reports.report_data import ReportData
from reports.section import Drawing, Frames, Section, Table, scaled_table, stored
from suite.stats.ahead import claim_words
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
    "or of more, each at its own setting: the largest of the paired tests' p is the p of "
    "that, without correction for their number, and Holm's correction is over budgets and "
    "backbones. Intervals are paired, of 95 %, and not corrected. Methods of fewer FLOPs are not "
    "tested, and a smaller image is no method that has to be beaten."
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
        title=f"Is {name} ahead of each other method?",
        sentence=claim_words(claims, report.title),
        figures=tuple(figures),
        tables=(_table(rows, report.run.metric.title),),
        notes=(*(_sentence(report, row) for row in claims), READING),
    )


def _figure(report: ReportData, backbone: str, rows: pd.DataFrame) -> Drawing:
    several = len(report.backbones) > 1
    title, metric = backbone if several else "", report.run.metric
    label = report.title(str(rows["label"].iloc[0]))
    return Drawing(
        f"ahead-{report.backbones.index(backbone)}" if several else "ahead",
        partial(ahead_figure, rows, report.looks, title, metric),
        f"{metric.title} of {label} less that of each other method at the same budget, with "
        "paired 95 % intervals; filled where the test shows the lead.",
        f"How far {label} is ahead of each other method on {backbone}, a line each.",
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


def _table(rows: pd.DataFrame, metric: str) -> Table:
    heads = {name: head.format(metric=metric) for name, head in HEADS.items()}
    shares = set(HEADS) - TEXTS
    frame = scaled_table(rows, heads, shares)
    caption = f"{metric} of {rows['label'].iloc[0]} less that of each other method."
    return Table("ahead", caption, frame, {heads[name]: 1 for name in shares})

"""Whether the order of methods holds over the schedules by which their tokens leave."""

from __future__ import annotations

from functools import partial

import pandas as pd

from reports.figures.schedules import FAMILY, schedules_figure
from reports.formatting import MISSING, budget_name, number, percent, points, present
from reports.report_data import ReportData
from reports.section import Drawing, Frames, Section, Table, stored
from suite.stats.schedule_words import verdict_sentences
from suite.stats.schedules import (
    OrderOverSchedules,
    ScheduleVerdicts,
    UnderSchedule,
    read_schedules_table,
)

NEEDS = stored("schedule_accuracy")
OPTIONAL = stored("schedules")
RULE = (
    "Both methods of a pair are compared under each schedule by the exact paired test, "
    "Holm-corrected over the schedules: ahead (▲), behind (▼) or open. The order holds if the "
    "method is ahead under at least one schedule and behind under none, and is then named with "
    "the leader first; it depends on the schedule if both occur; otherwise it is open. A dash: not "
    "both meet the budget."
)
MARKS = {"ahead": " ▲", "behind": " ▼"}


def section(report: ReportData, frames: Frames) -> Section:
    """Build the figure of method by schedule, the verdicts on pairs, and the accuracies."""
    rows = frames["schedule_accuracy"]
    verdicts = read_schedules_table(frames["schedules"]) if "schedules" in frames else []
    labels = report.ordered(rows)
    sentences: list[str] = []
    for family in verdicts:
        sentences += verdict_sentences(family)
    first = sentences[0] if sentences else "No two methods ran under the same schedules."
    figure = Drawing(
        "schedules",
        partial(schedules_figure, rows, labels, report.looks),
        _caption(rows),
        "Table of methods and schedules, coloured by top-1 accuracy.",
    )
    tables = [_pairs(verdicts)] if verdicts else []
    return Section(
        key="schedules",
        part="answer",
        title="Does the order depend on the schedule?",
        sentence=first,
        figures=(figure,),
        tables=(*tables, _accuracies(rows, labels)),
        notes=tuple(sentences[1:]),
    )


def _caption(rows: pd.DataFrame) -> str:
    first = rows.iloc[0]
    caption = (
        f"Top-1 of each method under each schedule, on {_images(first)}, with the class-token "
        "window that is the method's default. A row shows what a method gains by its schedule, a "
        "column who is ahead under the same one."
    )
    if rows["picked_window"].notna().any():
        caption += (
            " A frame marks the schedule that the method was tuned to; a dashed one was tuned to "
            "another window, which the table names."
        )
    if rows["top1"].isna().any():
        caption += " A cell with a dash could not meet the budget."
    return caption


def _images(row: pd.Series) -> str:
    """Number and split of the images, and what answered for them."""
    source = "the table of tries" if row["source"] == "table" else "evaluated in this run"
    return f"{row['images']:,} {row['split']} images ({source})"


def _pairs(verdicts: list[ScheduleVerdicts]) -> Table:
    """The verdict on each pair, with the difference under each schedule."""
    rows = []
    for family in verdicts:
        for order in family.orders:
            rows.append(_place(family.backbone, family.budget, len(verdicts)) | _pair(order))
    return Table("schedules", RULE, pd.DataFrame(rows))


def _place(backbone: str, budget: float, families: int) -> dict[str, str | int]:
    """Columns that only several backbones or budgets need."""
    if families == 1:
        return {}
    return {"Backbone": backbone, "FLOPs removed": budget_name(budget)}


def _pair(order: OrderOverSchedules) -> dict[str, str | int]:
    return {
        "Method": order.method,
        "Other": order.other,
        "Order": order.verdict,
        "Ahead": len(order.those("ahead")),
        "Behind": len(order.those("behind")),
        "Open": len(order.those("open")),
        **{row.schedule: _difference(row) for row in order.under},
    }


def _difference(row: UnderSchedule) -> str:
    if row.difference is None:
        return MISSING
    return f"{points(row.difference)}{MARKS.get(row.state, '')}"


def _accuracies(rows: pd.DataFrame, labels: list[str]) -> Table:
    """Top-1 of each method under each schedule, and what it was tuned to."""
    families = list(rows.groupby(FAMILY, sort=False))
    table = []
    for (backbone, budget), part in families:
        for label in labels:
            mine = part[part["label"] == label]
            if mine.empty:
                continue
            row = {"Method": label} | _place(backbone, budget, len(families))
            row |= {each.schedule: percent(each.top1) for each in mine.itertuples()}
            table.append(row | {"Tuned": _tuned(mine), "Without result": _reasons(mine)})
    frame = pd.DataFrame(table)
    for column in ("Tuned", "Without result"):
        if not frame[column].any():
            del frame[column]
    caption = f"Top-1, % of {_images(rows.iloc[0])}, by method and schedule."
    return Table("schedule-accuracy", caption, frame)


def _tuned(rows: pd.DataFrame) -> str:
    """The setting that a method was tuned to; empty if it was not."""
    for row in rows.itertuples():
        if present(row.picked_window):
            protected = f" with {number(row.picked_window, 0)} protected"
            return f"{row.schedule}{protected if row.picked_window else ''}"
    return ""


def _reasons(rows: pd.DataFrame) -> str:
    """Why a method has no accuracy under some schedules."""
    missing = rows[rows["top1"].isna()]
    return "; ".join(f"{row.schedule}: {row.reason}" for row in missing.itertuples())

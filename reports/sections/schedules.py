"""Whether the order of methods holds over the schedules by which their tokens leave."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import pandas as pd

from reports.figures.schedules import FAMILY, schedules_figure
from reports.formatting import MISSING, budget_name, points, present, setting_name
from reports.report_data import ReportData
from reports.run import Run
from reports.section import Drawing, Frames, Section, Table, stored
from suite.stats.correctness import counted
from suite.stats.schedule_words import FEW, RULE, pair_words, verdict_sentences
from suite.stats.schedules import (
    OrderOverSchedules,
    ScheduleVerdicts,
    UnderSchedule,
    read_schedules_table,
)

NEEDS = stored("schedule_accuracy")
OPTIONAL = stored("schedules")
ORDERS = (
    f"{RULE} ▲ ahead, ▼ behind; a dash: not both meet the budget. Of an order that holds the "
    "leader is named first; one that depends has both."
)
BLIND = "The same of each method and the baselines that never look at the image."
MARKS = {"ahead": " ▲", "behind": " ▼"}


def section(report: ReportData, frames: Frames) -> Section:
    """Build the figure of method by schedule, the verdicts on pairs, and the accuracies."""
    rows = frames["schedule_accuracy"]
    verdicts = read_schedules_table(frames["schedules"]) if "schedules" in frames else []
    labels = report.ordered(rows)
    finding: list[str] = []
    notes: list[str] = []
    for family in verdicts:
        first, *others = verdict_sentences(family, report.run.kind)
        finding.append(first)
        notes += others
    figure = Drawing(
        "schedules",
        partial(schedules_figure, rows, labels, report.looks, report.run.metric),
        _caption(rows, report.run),
        f"Table of methods and schedules, coloured by {report.run.metric.axis}.",
    )
    return Section(
        key="schedules",
        part="answer",
        title="Does the order depend on the schedule?",
        sentence=" ".join(finding) or "No two methods ran under the same schedules.",
        figures=(figure,),
        tables=(*_pairs(verdicts), _accuracies(rows, labels, report.run)),
        notes=tuple(notes),
        brief=_brief(report, verdicts),
    )


def _brief(report: ReportData, verdicts: Sequence[ScheduleVerdicts]) -> str:
    """The verdict on the methods of each backbone, which are called by their titles."""
    parts = []
    for family in verdicts:
        titled = []
        for order in family.methods:
            names = report.title(order.method), report.title(order.other)
            titled.append(replace(order, method=names[0], other=names[1]))
        where = f"{family.backbone}: " if len(verdicts) > 1 else ""
        if 0 < len(titled) <= FEW:
            parts.append(f"{where}{'; '.join(map(pair_words, titled))}.")
        elif titled:
            counts = Counter(order.verdict for order in titled)
            parts.append(
                f"{where}Of {len(titled)} pairs {counts['holds']} have an order that no schedule "
                f"reverses, {counts['depends']} one that depends on it, {counts['open']} none."
            )
    return " ".join(parts)


def _caption(rows: pd.DataFrame, run: Run) -> str:
    caption = (
        f"{run.metric.title} of each method under each schedule, on {_images(rows, run.kind)}, "
        "with the method's own class-token window, the default if none is in its name. A row shows "
        "what a method gains by its schedule, a column who is ahead under the same one."
    )
    tuned = rows[rows["picked_window"].notna()]
    if len(tuned):
        caption += " A frame marks the schedule that the method was tuned to"
        other = tuned["picked_window"] != tuned["window"]
        if other.any():
            caption += (
                "; dashed: to another window, which the table names, so that its number in the "
                "other tables differs"
            )
        caption += "."
    # Another split has other images: its numbers are not those of the results.
    if (rows["source"] == "table").any():
        caption += " These are the images of the tuning, not those of the results above."
    if rows["top1"].isna().any():
        caption += " A cell with a dash could not meet the budget."
    return caption


def _images(rows: pd.DataFrame, kind: str) -> str:
    """Number and split of the images or videos, and what answered for them."""
    families = rows[["images", "split", "source"]].drop_duplicates()
    parts = []
    for row in families.itertuples():
        source = "the table of tries" if row.source == "table" else "evaluated in this run"
        parts.append(f"{counted(int(row.images), kind, row.split)} ({source})")
    return " and ".join(parts)


def _pairs(verdicts: list[ScheduleVerdicts]) -> list[Table]:
    """The verdicts on pairs of methods, and on each beside the blind baselines."""
    methods: list[dict[str, str | int]] = []
    blind: list[dict[str, str | int]] = []
    for family in verdicts:
        for order in family.orders:
            row = _place(family.backbone, family.budget, len(verdicts)) | _pair(order)
            (blind if order.baseline else methods).append(row)
    tables = [Table("schedules", ORDERS, pd.DataFrame(methods))]
    tables.append(Table("schedules-blind", BLIND if methods else ORDERS, pd.DataFrame(blind)))
    return [table for table in tables if len(table.frame)]


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


def _accuracies(rows: pd.DataFrame, labels: list[str], run: Run) -> Table:
    """Accuracy of each method under each schedule, and the setting it was tuned to."""
    families = list(rows.groupby(FAMILY, sort=False))
    table: list[dict[str, str | int | float]] = []
    for (backbone, budget), part in families:
        for label in labels:
            mine = part[part["label"] == label]
            if mine.empty:
                continue
            row: dict[str, str | int | float] = {"Method": label}
            row |= _place(backbone, budget, len(families))
            row |= {each.schedule: 100 * each.top1 for each in mine.itertuples()}
            table.append(row | {"Tuned": _tuned(mine), "Without result": _reasons(mine)})
    frame = pd.DataFrame(table)
    for column in ("Tuned", "Without result"):
        if not frame[column].any():
            del frame[column]
    caption = f"{run.metric.title}, % of {_images(rows, run.kind)}, by method and schedule."
    digits = dict.fromkeys(rows["schedule"].unique(), 1)
    return Table("schedule-accuracy", caption, frame, digits)


def _tuned(rows: pd.DataFrame) -> str:
    """The setting that a method was tuned to; empty if it was not."""
    for row in rows.itertuples():
        if present(row.picked_window):
            return setting_name(str(row.schedule), row.picked_window)
    return ""


def _reasons(rows: pd.DataFrame) -> str:
    """Why a method has no accuracy under some schedules."""
    missing = rows[rows["top1"].isna()]
    return "; ".join(f"{row.schedule}: {row.reason}" for row in missing.itertuples())

"""Rows of the page's tables, with the value that each cell sorts by."""

from __future__ import annotations

from typing import Any

from reports import aggregate, tables
from reports.formatting import MISSING, budget_name, number, percent, present, unit
from reports.formatting import points as signed
from reports.report_data import ReportData

Row = dict[str, Any]
TOLERANCE = 0.002  # how far from its budget a matched cell may land
SORTS = (
    "backbone",
    "label",
    "budget",
    "removed",
    "total",
    "token_ratio",
    "top1",
    None,
    "difference",
    "p_holm",
    "agreement",
    "kl",
    "images_per_second",
)


def result_heads(report: ReportData) -> list[Row]:
    """Return the column heads; a single backbone has no column."""
    listed = []
    for head, sort in zip(tables.heads(report.frame, report.run.convention), SORTS, strict=False):
        listed.append({"text": head, "sortable": sort is not None})
    return listed[_first(report) :]


def result_rows(report: ReportData) -> list[Row]:
    """Return a row for each cell, with its budget for the filter and its significance."""
    rows = []
    for words, row in zip(tables.body(report.frame), report.frame.to_dict("records"), strict=True):
        cells = []
        for text, sort in zip(words, SORTS, strict=False):
            cells.append({"text": text, "sort": _sort(row[sort]) if sort else ""})
        rows.append(
            {
                "cells": cells[_first(report) :],
                "budget": row["budget"] if present(row["budget"]) else "",
                "index": report.labels.index(row["label"]),
                "look": report.looks[row["label"]],
                "verdict": _verdict(row),
                "blind": _blind(report, row),
                "title": row["title"],
            }
        )
    return rows


def _first(report: ReportData) -> int:
    """Return the first column that is shown."""
    return 0 if len(report.backbones) > 1 else 1


def _sort(value: Any) -> str:
    """Return the text that the page's script sorts by; numbers with every digit."""
    if isinstance(value, str):
        return value
    return repr(float(value)) if present(value) else ""


def _blind(report: ReportData, row: Row) -> str:
    """Return the best blind baseline if the cell was not shown to beat all of them, else empty."""
    mark = report.marks.get((row["backbone"], row["budget"]))
    return mark.baseline if mark and row["label"] in mark.not_shown else ""


def _verdict(row: Row) -> str:
    """Return better or worse for a significant difference, else empty."""
    if not row["significant"]:
        return ""
    return "better" if row["difference"] > 0 else "worse"


def achieved_table(report: ReportData) -> list[Row]:
    """Return the share of FLOPs removed by method and budget, for each backbone."""
    blocks = []
    for backbone in report.backbones:
        part = report.frame[(report.frame["backbone"] == backbone) & report.frame["budget"].notna()]
        lines = []
        for label in report.ordered(part):
            by_budget = {}
            for row in part[part["label"] == label].to_dict("records"):
                by_budget[float(row["budget"])] = row
            own = by_budget[aggregate.focus(sorted(by_budget))]
            # the method's own share of the work, at the budget in focus
            share = MISSING
            if present(own["total"]) and own["total"]:
                share = f"{percent(own['reduction'] / own['total'], 2)} %"
            cells = [_landed(by_budget.get(budget), budget) for budget in report.budgets]
            lines.append(
                {
                    "label": label,
                    "look": report.looks[label],
                    "index": report.labels.index(label),
                    "cells": cells,
                    "own": share,
                }
            )
        if lines:
            blocks.append({"backbone": backbone, "kinds": _kinds(report, backbone), "lines": lines})
    return blocks


def _landed(row: Row | None, budget: float) -> Row:
    """Return the share removed, and how far it is off the budget if that is too much."""
    if row is None or not present(row["removed"]):
        return {"text": MISSING, "off": ""}
    gap = row["removed"] - budget
    off = f"{signed(gap)} points" if abs(gap) > TOLERANCE else ""
    return {"text": percent(row["removed"], 2), "off": off}


def _kinds(report: ReportData, backbone: str) -> list[tuple[str, str]]:
    """Return the dense model's FLOPs by kind."""
    frame = report.frame
    dense = frame[(frame["backbone"] == backbone) & (frame["method"] == "none")]
    if dense.empty:
        return []
    row = dense.iloc[0]
    names = {
        "gemm": "GEMM MACs",
        "conv": "convolution MACs",
        "scan": "scan FLOPs",
        "elementwise": "elementwise",
    }
    size, prefix = unit([float(row[kind]) for kind in names])
    kinds = []
    for kind, name in names.items():
        if present(row[kind]):
            kinds.append((name, f"{number(row[kind] / size, 2)} {prefix}"))
    return kinds


def unfinished_rows(report: ReportData) -> list[Row]:
    """Return skipped and failed cells with their reasons."""
    rows = []
    for row in aggregate.unfinished(report.run).to_dict("records"):
        rows.append(
            {
                "status": row["status"],
                "backbone": row["backbone"],
                "label": row["label"],
                "budget": budget_name(row["budget"]),
                "seed": number(row["seed"], 0),
                "reason": row["reason"] or "no reason was recorded",
            }
        )
    return rows

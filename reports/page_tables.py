"""Rows of the page's tables: what is printed, and what a column sorts by."""

from __future__ import annotations

from typing import Any

from reports import aggregate as points
from reports import tables
from reports.formatting import MISSING, budget_name, number, percent, present, unit
from reports.formatting import points as signed
from reports.report_data import Sheet

Row = dict[str, Any]
TOLERANCE = 0.002  # how far from its budget a matched cell may land
SORTS = (
    "backbone", "label", "budget", "removed", "total", "token_ratio", "top1", None, "difference", "p_holm", "agreement",
    "kl", "images_per_second",
)  # fmt: skip


def result_heads(sheet: Sheet) -> list[Row]:
    """Column heads; the backbone's only where there are several."""
    heads = tables.heads(sheet.frame, sheet.run.convention)
    listed = [
        {"text": head, "sortable": sort is not None}
        for head, sort in zip(heads, SORTS, strict=False)
    ]
    return listed[_first(sheet) :]


def result_rows(sheet: Sheet) -> list[Row]:
    """One row for each point of the frame, with its budget for the filter and its mark of significance."""
    rows = []
    for words, row in zip(tables.body(sheet.frame), sheet.frame.to_dict("records"), strict=True):
        cells = [
            {"text": text, "sort": _sort(row[sort]) if sort else ""}
            for text, sort in zip(words, SORTS, strict=False)
        ]  # fmt: skip
        rows.append(
            {
                "cells": cells[_first(sheet) :],
                "budget": row["budget"] if present(row["budget"]) else "",
                "index": sheet.labels.index(row["label"]),
                "look": sheet.looks[row["label"]],
                "verdict": _verdict(row),
                "blind": _blind(sheet, row),
                "title": row["title"],
            }
        )
    return rows


def _first(sheet: Sheet) -> int:
    return 0 if len(sheet.houses) > 1 else 1


def _sort(value: Any) -> str:
    if isinstance(value, str):
        return value
    return repr(float(value)) if present(value) else ""


def _blind(sheet: Sheet, row: Row) -> str:
    """The best blind baseline, where this cell was not shown to beat all of them; empty elsewhere."""
    mark = sheet.marks.get((row["backbone"], row["budget"]))
    return mark.baseline if mark and row["label"] in mark.not_shown else ""


def _verdict(row: Row) -> str:
    if not row["significant"]:
        return ""
    return "better" if row["difference"] > 0 else "worse"


def achieved_table(sheet: Sheet) -> list[Row]:
    """For each backbone: methods down, budgets across, the share of FLOPs removed and how far off that is."""
    blocks = []
    for house in sheet.houses:
        part = sheet.frame[(sheet.frame["backbone"] == house) & sheet.frame["budget"].notna()]
        lines = []
        for label in sheet.ordered(part):
            found = {
                float(row["budget"]): row for row in part[part["label"] == label].to_dict("records")
            }
            cells = [_landed(found.get(budget), budget) for budget in sheet.budgets]
            own = found.get(points.focus(sorted(found)))
            share = (
                own["reduction"] / own["total"]
                if own and present(own["total"]) and own["total"]
                else None
            )
            lines.append(
                {"label": label, "look": sheet.looks[label], "index": sheet.labels.index(label), "cells": cells,
                 "own": f"{percent(share, 2)} %" if present(share) else MISSING}
            )  # fmt: skip
        if lines:
            blocks.append({"backbone": house, "kinds": _kinds(sheet, house), "lines": lines})
    return blocks


def _landed(row: Row | None, budget: float) -> Row:
    if row is None or not present(row["removed"]):
        return {"text": MISSING, "off": ""}
    gap = row["removed"] - budget
    off = f"{signed(gap)} points" if abs(gap) > TOLERANCE else ""
    return {"text": percent(row["removed"], 2), "off": off}


def _kinds(sheet: Sheet, house: str) -> list[tuple[str, str]]:
    """What the dense model's FLOPs are made of, as they were counted."""
    dense = sheet.frame[(sheet.frame["backbone"] == house) & (sheet.frame["method"] == "none")]
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
    return [
        (name, f"{number(row[kind] / size, 2)} {prefix}")
        for kind, name in names.items()
        if present(row[kind])
    ]


def unfinished_rows(sheet: Sheet) -> list[Row]:
    """Skipped and failed cells with their reasons."""
    return [
        {
            "status": row["status"],
            "backbone": row["backbone"],
            "label": row["label"],
            "budget": budget_name(row["budget"]),
            "seed": number(row["seed"], 0),
            "reason": row["reason"] or "no reason was recorded",
        }
        for row in points.unfinished(sheet.run).to_dict("records")
    ]

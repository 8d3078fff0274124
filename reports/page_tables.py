"""Rows of the page's tables."""

from __future__ import annotations

from typing import Any

from reports import aggregate, tables
from reports.formatting import MISSING, number, percent, present, unit
from reports.formatting import points as signed
from reports.report_data import ReportData
from reports.run import Row

TOLERANCE = 0.002  # how far from its budget a matched cell may land
KINDS = {
    "gemm": "GEMM MACs",
    "conv": "convolution MACs",
    "scan": "scan FLOPs",
    "elementwise": "elementwise",
}


def results(report: ReportData) -> tuple[list[tuple[str, str | None]], list[Row]]:
    """Return the heads of the table of results, with the column each sorts by, and the rows.

    A row has the text and the value of every cell, its record, whether it is significantly better
    or worse, and the best blind baseline if it was not shown to beat all of them.
    """
    heads, printed = tables.printed(report.frame, report.run.convention)
    # a single backbone has no column
    first = 0 if len(report.backbones) > 1 else 1
    rows = []
    for texts, record in zip(printed, report.frame.to_dict("records"), strict=True):
        values = [record[column] if column else "" for column in heads.values()]
        verdict = ""
        if record["significant"]:
            verdict = "better" if record["difference"] > 0 else "worse"
        mark = report.marks.get((record["backbone"], record["budget"]))
        equals_blind = mark is not None and record["label"] in mark.not_shown
        rows.append(
            {
                "cells": list(zip(texts, values, strict=True))[first:],
                "record": record,
                "verdict": verdict,
                "blind": mark.baseline if mark and equals_blind else "",
            }
        )
    return list(heads.items())[first:], rows


def sort_key(value: Any) -> str:
    """Return the text that the page's script sorts by; numbers with every digit."""
    if isinstance(value, str):
        return value
    return repr(float(value)) if present(value) else ""


def achieved_table(report: ReportData) -> list[Row]:
    """Return for each backbone the FLOPs by kind and the share removed by method and budget.

    A share that is too far off its budget says how far.
    """
    blocks = []
    for backbone in report.backbones:
        frame = report.frame[report.frame["backbone"] == backbone]
        part = frame[frame["budget"].notna()]
        lines = []
        for label in report.ordered(part):
            own = part[part["label"] == label].set_index("budget")
            cells = []
            for budget in report.budgets:
                removed = own["removed"].get(budget)
                gap = removed - budget if present(removed) else 0.0
                off = f"{signed(gap)} points" if abs(gap) > TOLERANCE else ""
                cells.append((percent(removed, 2), off))
            # the method's own share of the work, at the budget in focus
            row = own.loc[aggregate.focus(sorted(own.index))]
            share = MISSING
            if present(row["total"]) and row["total"]:
                share = f"{percent(row['reduction'] / row['total'], 2)} %"
            lines.append({"label": label, "cells": cells, "own": share})
        if lines:
            kinds = []
            for dense in frame[frame["method"] == "none"].head(1).to_dict("records"):
                size, prefix = unit([dense[kind] for kind in KINDS])
                for kind, name in KINDS.items():
                    if present(dense[kind]):
                        kinds.append((name, f"{number(dense[kind] / size, 2)} {prefix}"))
            blocks.append({"backbone": backbone, "kinds": kinds, "lines": lines})
    return blocks

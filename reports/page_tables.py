"""Tables of analyses as the page prints them: sorted, with titles of methods and bars."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from reports.first_screen import Scale
from reports.formatting import present
from reports.report_data import ReportData
from reports.run import Row
from reports.section import Table
from reports.tables import is_numeric, table_cells
from suite.stats.metric import METRICS

# Heads of columns whose texts are labels of methods, that of budgets, and that of backbones.
METHODS = ("Method", "Other", "and", "Around")
BUDGET, BACKBONE = "FLOPs removed", "Backbone"
SORTED = tuple(f"{metric.title}, %" for metric in METRICS.values())
# Heads of an interval, which follow that of its value.
ENDS = ("from", "to")


def on_page(table: Table, report: ReportData, numbers: Sequence[str]) -> Row:
    """Return the heads of a table and its rows, the most accurate first.

    A head has its words, whether it is numeric, and how it is sorted. A row has its cells (text,
    value, label of a method, bar), and what the page chooses by: the number of its backbone in
    `numbers`, its budget where the table has every one, and the label of its method. A value and
    the two ends of its interval are one cell.
    """
    columns = [str(head) for head in table.frame.columns]
    numeric = dict(zip(columns, is_numeric(table), strict=True))
    records = table.frame.to_dict("records")
    printed = [dict(zip(columns, texts, strict=True)) for texts in table_cells(table)]
    if len(numbers) < 2 and BACKBONE in columns:
        columns.remove(BACKBONE)
    scales = {}
    for at in range(len(columns) - 2):
        if tuple(columns[at + 1 : at + 3]) == ENDS:
            values = [record[head] for record in records for head in columns[at : at + 3]]
            scales[columns[at]] = Scale.over(values, zero=True)
    if scales:
        columns = [head for head in columns if head not in ENDS]
    sorted_by = next((head for head in SORTED if numeric.get(head)), "")
    rows = []
    for texts, record in zip(printed, records, strict=True):
        cells = [_cell(head, texts, record, report, scales) for head in columns]
        backbone = str(record.get(BACKBONE) or "")
        rows.append(
            {
                "cells": cells,
                "backbone": numbers.index(backbone) if backbone in numbers else None,
                "budget": _share(record.get(BUDGET)),
                "label": next((cell["label"] for cell in cells if cell["label"]), None),
                "accuracy": record.get(sorted_by),
            }
        )
    # A table of one budget stays when another is chosen.
    if len(report.budgets) < 2 or {row["budget"] for row in rows} != set(report.budgets):
        rows = [row | {"budget": None} for row in rows]
    if sorted_by:
        rows.sort(key=lambda row: -row["accuracy"] if present(row["accuracy"]) else math.inf)
    heads = []
    for head in columns:
        direction = "descending" if head == sorted_by else "none"
        heads.append({"words": head, "numeric": numeric[head], "sorted": direction})
    return {"heads": heads, "rows": rows}


def _cell(
    head: str, texts: Row, record: dict[Any, Any], report: ReportData, scales: dict[str, Scale]
) -> Row:
    """A cell, with its bar where an interval follows it."""
    text, value, bar = texts[head], record[head], None
    label = text if head in METHODS and text in report.looks else ""
    if head in scales and all(present(record[end]) for end in (head, *ENDS)):
        bar = scales[head].bar(value, record["from"], record["to"])
        text = f"{text} [{texts['from']}, {texts['to']}]"
    return {"text": text, "value": value, "label": label, "bar": bar}


def _share(text: Any) -> float | None:
    """The budget that a text such as ``40 %`` names; None for another value."""
    if not isinstance(text, str) or not text.endswith(" %"):
        return None
    return round(float(text[:-2]) / 100, 6)

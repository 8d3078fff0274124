"""The table of all results on the page."""

from __future__ import annotations

from reports import first_screen, tables
from reports.first_screen import Scale
from reports.formatting import MISSING
from reports.report_data import ReportData
from reports.run import Row

# Heads in the order of the page, method and accuracy first; the others follow as in files.
FIRST = "Method"
ORDER = (
    "95 % interval",
    "Difference, points",
    "Holm p",
    "Group",
    "Above blind",
    "Asked",
)


def results(report: ReportData) -> tuple[list[tuple[str, str | None]], list[Row]]:
    """Return the heads of the table, with the column each sorts by, and the rows by accuracy.

    A row has the text and the value of every cell, its record, the number of its backbone, its bar,
    whether it is significantly better or worse, whether it opens a group of the ranking, and the
    best blind baseline if it was not shown to beat all of them.
    """
    heads, printed = tables.printed(report.frame, report.run.convention)
    # the page shows one backbone at a time
    del heads["Backbone"]
    printed = [texts[1:] for texts in printed]
    groups, ends = first_screen.places(report), report.frame[["top1_low", "top1_high", "top1"]]
    scale = Scale.over(ends.to_numpy().ravel().tolist())
    rows = []
    for texts, record in zip(printed, report.frame.to_dict("records"), strict=True):
        values = [record[column] if column else "" for column in heads.values()]
        cells = dict(zip(heads, zip(texts, values, strict=True), strict=True))
        verdict = ""
        if record["significant"]:
            verdict = "better" if record["difference"] > 0 else "worse"
        group = groups.get((record["backbone"], record["budget"], record["label"]))
        mark = report.marks.get((record["backbone"], record["budget"]))
        leads = {lead.label: lead.shown for lead in mark.leads} if mark else {}
        shown = leads.get(record["label"])
        cells["Group"] = (str(group) if group else MISSING, group)
        above = MISSING if shown is None else "yes" if shown else "no"
        cells["Above blind"] = (above, "")
        rows.append(
            {
                "cells": cells,
                "record": record,
                "number": report.backbones.index(record["backbone"]),
                "bar": scale.bar(record["top1"], record["top1_low"], record["top1_high"]),
                "verdict": verdict,
                "group": group,
                "blind": mark.best if mark and shown is False else "",
            }
        )
    rows.sort(key=lambda row: (row["number"], -row["record"]["top1"]))
    _open_groups(rows)
    columns = dict(heads) | {"Group": "group", "Above blind": "shown"}
    if not report.marks:
        del columns["Above blind"]
    first = (FIRST, f"{report.run.metric.title}, %", *ORDER)
    order = [*first, *(head for head in columns if head not in first)]
    names = [head for head in order if head in columns]
    for row in rows:
        row["cells"] = [row["cells"][head] for head in names]
    return [(head, columns[head]) for head in names], rows


def _open_groups(rows: list[Row]) -> None:
    """Mark the first row of every group but the first, at each budget."""
    seen: dict[tuple[int, float], int] = {}
    for row in rows:
        key = row["number"], row["record"]["budget"]
        group = row["group"]
        row["opens"] = bool(group) and group > seen.setdefault(key, 1)
        seen[key] = max(seen.get(key, 1), group or 1)

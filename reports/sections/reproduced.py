"""Published values beside those measured: what a source states, what came out here, and why not."""

from __future__ import annotations

from typing import Any

import pandas as pd

from reports.formatting import budget_name, percent, present
from reports.report_data import ReportData
from reports.section import Frames, Section, Table, scaled_table, stored
from reports.titles import DENSE
from suite.stats.correctness import counted

NEEDS = stored("reproduced")
HEADS = {
    "backbone": "Backbone",
    "cell": "Cell",
    "quantity": "Quantity",
    "published": "Published, %",
    "measured": "Measured, %",
    "deviation": "Difference, points",
    "deviation_low": "from",
    "deviation_high": "to",
    "removed": "FLOPs removed, %",
    "incomparable": "Not comparable because",
    "place": "Published in",
}
TEXTS = {"backbone", "cell", "quantity", "incomparable", "place"}
READING = (
    "The difference is measured less published; a drop is the dense model's top-1 less the "
    "method's, so that a positive difference loses more than was published. Intervals are of 95 % "
    "over the images: Wilson's of a top-1, paired bootstrap of a drop. On the very images of the "
    "source a difference is no chance of the draw but of weights, code and preprocessing."
)


def section(report: ReportData, frames: Frames) -> Section:
    """Build the sentence on how many values were met, and the table side by side."""
    rows = frames["reproduced"]
    return Section(
        key="reproduced",
        part="answer",
        title="Published beside measured",
        sentence=_sentence(rows, report.run.kind),
        tables=(_table(rows),),
        notes=(READING, *_sources(rows), *_unread(rows)),
    )


def _sentence(rows: pd.DataFrame, kind: str) -> str:
    """How many of the values of reduced models lie in the intervals measured."""
    # The dense model's top-1 checks weights and data, not a reduction.
    compared = rows[rows["deviation"].notna() & (rows["method"] != DENSE)]
    if compared.empty:
        return "No published value could be compared."
    # A nullable column, without gaps where there is a difference.
    within = int(compared["within"].astype(bool).sum())
    other = int((compared["incomparable"] != "").sum())
    images = counted(int(compared["images"].max()), kind)
    met = f"{within} of {len(compared)} published values lie in the 95 % interval"
    why = f"; why {other} of them cannot be compared stands beside them" if other else ""
    return f"{met} measured on {images}{why}."


def _sources(rows: pd.DataFrame) -> list[str]:
    """The table and source of the values."""
    pairs = rows[["name", "paper"]].drop_duplicates().itertuples(index=False)
    return [f"Table {name}: {paper}." for name, paper in pairs]


def _unread(rows: pd.DataFrame) -> list[str]:
    """Cells whose value nobody has read, and cells without a result."""
    notes = []
    for row in rows.to_dict("records"):
        if not present(row["published"]):
            notes.append(f"{_cell(row)}: nobody has read the published value.")
        if row["reason"]:
            notes.append(f"{_cell(row)} has no result: {row['reason']}.")
    return notes


def _cell(row: dict[Any, Any]) -> str:
    if row["method"] == DENSE:
        return "dense"
    if not present(row["budget"]):
        return str(row["method"])
    return f"{row['method']} at {budget_name(row['budget'])}"


def _table(rows: pd.DataFrame) -> Table:
    cells = [_cell(row) for row in rows.to_dict("records")]
    frame = scaled_table(rows.assign(cell=cells), HEADS, set(HEADS) - TEXTS)
    digits = {head: 1 for name, head in HEADS.items() if name not in TEXTS}
    dense = rows.loc[rows["method"] == DENSE, "measured"]
    whole = f", dense {percent(dense.iloc[0])} %" if len(dense) else ""
    return Table("reproduced", f"Published and measured values{whole}.", frame, digits)

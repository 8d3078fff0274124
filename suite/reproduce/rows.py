"""Published beside measured: a row for each value, with the interval of their difference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from suite.analysis.statistics import outcomes_of
from suite.flops.published import GIGA
from suite.plan.prepare import Prepared
from suite.reproduce.layout import cells_of
from suite.reproduce.reasons import (
    data_reasons,
    flops_reasons,
    stated_reasons,
    weights_reasons,
)
from suite.reproduce.table import PublishedTable, Value, spelled_methods
from suite.stats.correctness import Outcomes
from suite.stats.spread import Spread
from suite.store.results import Results
from suite.store.schema import TABLES, CellRecord

ROUNDING = 0.0005  # half of the last digit that papers print, as a share
TOP1, DROP = "top-1", "drop"


def reproduced_table(
    table: PublishedTable, prepared: Prepared, records: Sequence[CellRecord], results: Results
) -> pd.DataFrame:
    """The table ``reproduced``: the values of `table` beside the cells of a finished run."""
    spelled = spelled_methods(table, prepared.spec)
    (model,) = prepared.models.values()
    of_all = [*weights_reasons(table, model.provenance), *data_reasons(table, prepared.dataset)]
    by_value = [(value, cells_of(value, spelled, records)) for value in table.cells]
    dense = _outcomes(by_value[0][1], results)
    (work, *_) = [record.total for record in by_value[0][1]]
    rows = []
    for value, cells in by_value:
        reduced = cells[0].total if cells else {}
        why = [
            *of_all,
            *flops_reasons(table, value, work, reduced),
            *stated_reasons(table, value),
        ]
        measured = _outcomes(cells, results)
        for quantity, published in stated(value):
            row = _identity(table, value, cells)
            row |= {"quantity": quantity, "published": published, "incomparable": "; ".join(why)}
            rows.append(row | measured_columns(quantity, published, measured, dense))
    return pd.DataFrame(rows, columns=list(TABLES["reproduced"].columns)).astype(
        {"within": "boolean"}
    )


def stated(value: Value) -> list[tuple[str, float | None]]:
    """The quantities that a source states of a cell, as shares; top-1 without a value if none."""
    numbers: list[tuple[str, float | None]] = []
    for quantity, number in ((TOP1, value.top1), (DROP, value.drop)):
        if number is not None:
            numbers.append((quantity, round(number / 100, 6)))
    return numbers or [(TOP1, None)]


def measured_columns(
    quantity: str, published: float | None, cell: Outcomes | None, dense: Outcomes | None
) -> dict[str, Any]:
    """The value measured with its 95 % interval, and how far it is from the published one.

    Of a drop it is the paired interval. Empty where the cell, or what it needs, did not run.
    """
    if cell is None or (quantity == DROP and dense is None):
        return {}
    if quantity == DROP:
        assert dense is not None
        value = dense.accuracy - cell.accuracy
        spread = dense.paired(cell).spread()
    else:
        value = cell.accuracy
        spread = Spread(*cell.interval())
    columns: dict[str, Any] = {
        "measured": value,
        "measured_low": spread.low,
        "measured_high": spread.high,
        "interval": spread.kind,
        "images": cell.count,
        "seeds": cell.seeds,
    }
    if published is None:
        return columns
    within = spread.low - ROUNDING <= published <= spread.high + ROUNDING
    return columns | {
        "deviation": value - published,
        "deviation_low": spread.low - published,
        "deviation_high": spread.high - published,
        "within": within,
    }


def _outcomes(cells: Sequence[CellRecord], results: Results) -> Outcomes | None:
    done = [cell for cell in cells if cell.status == "ok"]
    return outcomes_of(done[0].label, done, results) if done else None


def _identity(table: PublishedTable, value: Value, cells: Sequence[CellRecord]) -> dict[str, Any]:
    """Which cell a row is about, and where its value stands."""
    row = {
        "name": table.name,
        "paper": table.source,
        "backbone": table.backbone,
        "method": value.method,
        "budget": value.budget,
        "printed_gflops": value.giga,
        "place": value.place or "",
    }
    if not cells:
        return row | {"status": "skipped", "reason": "no cell of the run is about it"}
    first = cells[0]
    row |= {"backbone": first.backbone, "status": first.status, "reason": first.reason}
    if first.total:
        row["gflops"] = first.total[first.flops_convention] / GIGA
        row["removed"] = 0.0 if value.is_dense else first.removed_share
    return row

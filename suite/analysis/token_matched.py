"""Methods by equal counts of tokens beside equal FLOPs, at the budget of the headline.

What a method's own work costs is paid in tokens where FLOPs are equal; where counts are equal it is
not paid at all. The two differences from the reference say how much of a lead is the other's cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from suite.analysis.statistics import BackboneStatistics, BudgetStatistics, outcomes_at
from suite.plan.prepare import Prepared
from suite.stats.compare import compare
from suite.stats.correctness import Outcomes
from suite.store.results import Results
from suite.store.schema import SAME, TABLES, CellRecord


def token_matched_table(
    prepared: Prepared,
    records: Sequence[CellRecord],
    results: Results,
    statistics: Sequence[BackboneStatistics],
) -> pd.DataFrame:
    """The table ``token_matched``, a row a method of each backbone; empty without such cells."""
    by_key = {record.key: record for record in records if record.status == "ok"}
    rows: list[dict[str, Any]] = []
    for part in statistics:
        by_tokens: dict[str, list[CellRecord]] = {}
        for cell in prepared.token_matched:
            if cell.backbone == part.backbone and cell.key in by_key:
                # Another method's cell may be the same, or this one's by equal FLOPs.
                record = by_key[cell.key].model_copy(update={"label": cell.label})
                by_tokens.setdefault(cell.label, []).append(record)
        for at in part.budgets:
            if at.budget == prepared.spec.headline_budget:
                rows += _rows(part, at, by_tokens, results)
    return pd.DataFrame(rows, columns=list(TABLES["token_matched"].columns))


def _rows(
    part: BackboneStatistics,
    at: BudgetStatistics,
    by_tokens: dict[str, list[CellRecord]],
    results: Results,
) -> list[dict[str, Any]]:
    """Rows of one backbone: the methods that ran by both protocols."""
    flops: dict[str, Outcomes] = {}
    tokens: dict[str, Outcomes] = {}
    records: dict[str, CellRecord] = {}
    for cell in at.cells:
        flops |= dict.fromkeys(cell.label.split(SAME), cell)
    for record in part.records:
        if record.budget == at.budget:
            records |= dict.fromkeys(record.label.split(SAME), record)
    for label, seeds in by_tokens.items():
        if label in flops:
            (tokens[label],) = outcomes_at(seeds, results, at.budget)
    reference = _named(at.reference, tokens)
    rows = []
    for label, cell in tokens.items():
        record = records[label]
        row = {
            "backbone": part.backbone,
            "budget": at.budget,
            "label": label,
            "schedule": record.schedule,
            "cls_window": record.cls_window,
            "reference": reference,
            "images": cell.count,
            "seeds": cell.seeds,
            "reduction_flops": record.flops["reduction"] / record.total["flops"],
            **_accuracy(flops[label], ""),
            **_accuracy(cell, "_tokens"),
        }
        if reference and label != reference:
            row |= _difference(flops[label], flops[reference], "")
            row |= _difference(cell, tokens[reference], "_tokens")
        rows.append(row)
    return rows


def _named(reference: Outcomes | None, tokens: dict[str, Outcomes]) -> str | None:
    """The name under which the reference ran by tokens, too; None if it did not."""
    names = reference.label.split(SAME) if reference else []
    return next((name for name in names if name in tokens), None)


def _accuracy(cell: Outcomes, ending: str) -> dict[str, Any]:
    return {f"top1{ending}": cell.accuracy, f"removed{ending}": cell.removed}


def _difference(cell: Outcomes, reference: Outcomes, ending: str) -> dict[str, Any]:
    row = compare(cell, reference)
    return {
        f"difference{ending}": row.difference,
        f"difference{ending}_low": row.difference_low,
        f"difference{ending}_high": row.difference_high,
    }

"""Records of finished cells: what was planned of each, and its metrics or why it has none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from suite.evaluation.outcomes import accuracy, metrics
from suite.plan.prepare import Prepared
from suite.store.results import Results
from suite.store.schema import CellRecord


def cell_records(
    prepared: Prepared, results: Results, failures: Mapping[str, str]
) -> list[CellRecord]:
    """Records of all cells with their metrics, or the reasons why they have none."""
    records = []
    dense_top1: dict[str, float] = {}
    for cell, record in zip(prepared.cells, prepared.records, strict=True):
        results.store.keep_only(cell.key, len(prepared.shards))
        changes: dict[str, Any] = {}
        if cell.key in failures:
            changes = {"status": "failed", "reason": failures[cell.key]}
        elif cell.plan is not None:
            outcomes = results.outcomes(cell.key)
            # The dense cell comes first.
            top1 = dense_top1.setdefault(cell.backbone, accuracy(outcomes))
            changes = {"status": "ok", "metrics": metrics(outcomes, top1)}
        records.append(record.model_copy(update=changes))
    return records

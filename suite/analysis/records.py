"""Records of finished cells: what was planned of each, and its metrics or why it has none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from suite.evaluation.outcomes import REMOVED
from suite.evaluation.tasks import EVALUATIONS
from suite.plan.adaptive import mean_plan
from suite.plan.cells import Cell, plan_fields
from suite.plan.prepare import Prepared
from suite.store.results import Results
from suite.store.schema import CellRecord


def cell_records(
    prepared: Prepared, results: Results, failures: Mapping[str, str]
) -> list[CellRecord]:
    """Records of all cells with their metrics, or the reasons why they have none."""
    records = []
    dense: dict[str, float] = {}
    for cell, record in zip(prepared.cells, prepared.records, strict=True):
        results.store.keep_only(cell.key, len(prepared.shards))
        changes: dict[str, Any] = {}
        if cell.key in failures:
            changes = {"status": "failed", "reason": failures[cell.key]}
        elif cell.plan is not None:
            model, outcomes = prepared.models[cell.backbone], results.outcomes(cell.key)
            evaluation, classes = EVALUATIONS[model.task], model.describe().classes
            # The dense cell comes first.
            if cell.backbone not in dense:
                dense[cell.backbone] = evaluation.accuracy(outcomes, classes)
            metrics = evaluation.metrics(outcomes, classes, dense[cell.backbone])
            changes = {"status": "ok", "metrics": metrics}
            changes |= evaluated_plan(prepared, cell, results)
        records.append(record.model_copy(update=changes))
    return records


def evaluated_plan(prepared: Prepared, cell: Cell, results: Results) -> dict[str, Any]:
    """What the evaluated images lost under adaptive counts, in the mean; nothing of other cells."""
    plan = cell.plan
    if plan is None or plan.adaptive is None or cell.composition is None:
        return {}
    shape, sites = prepared.models[cell.backbone].describe(), tuple(plan.removals)
    rows = results.outcomes(cell.key, [REMOVED])[REMOVED]
    # Every view of a video or a picture is a sample of its own.
    removed = np.concatenate(rows.tolist()).reshape(-1, len(sites))
    convention = prepared.spec.flops_convention
    found = mean_plan(shape, cell.composition, sites, removed, plan.adaptive, convention)
    return plan_fields(found)

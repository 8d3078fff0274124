"""From cells to what the evaluation runs."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from backbones.base import Backbone
from suite.evaluation.oracle import OracleReducer
from suite.evaluation.tree import Job
from suite.plan.cells import Cell


def jobs_for(cells: Sequence[Cell], model: Backbone, index: Tensor, labels: Tensor) -> list[Job]:
    """The job of every cell on images `index` (B,) of classes `labels` (B,), which only the oracle looks at."""
    known = dict(zip(index.tolist(), labels.tolist(), strict=True))
    return [
        Job(cell.key, oracle_plan(cell, model, known) if cell.kind == "oracle" else cell.reducers())
        for cell in cells
    ]


def oracle_plan(cell: Cell, model: Backbone, labels: dict[int, int]) -> dict[int, OracleReducer]:
    """The oracle's reducer at each site of its cell."""
    assert cell.plan is not None
    return {
        site: OracleReducer(model, labels, count, site) for site, count in cell.plan.counts.items()
    }

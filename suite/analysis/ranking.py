"""The table ``ranking``: every method of a budget by what it keeps, and who is told apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from suite.analysis.pair_schedules import Schedules
from suite.analysis.statistics import (
    BackboneStatistics,
    BudgetStatistics,
    accuracy_row,
    difference_columns,
)
from suite.stats.compare import other_work
from suite.stats.ranking import Place, rank
from suite.stats.schedules import ScheduleVerdicts
from suite.store.schema import TABLES

COLUMNS = TABLES["ranking"].columns
ORACLE = "oracle"  # reads the labels, so it is no rival


def ranking_table(
    statistics: Sequence[BackboneStatistics], verdicts: Sequence[ScheduleVerdicts]
) -> pd.DataFrame:
    """Rank the methods of each backbone and budget.

    `verdicts` over schedules say which order another schedule turns round. Cells that remove
    another share of FLOPs than their budget, such as those of a smaller image, and the oracle have
    no place and are left out.
    """
    rows: list[dict[str, Any]] = []
    for part in statistics:
        for at in part.budgets:
            schedules = Schedules.of(part.records, at.budget, verdicts)
            rows += [_row(part.backbone, at, place, schedules) for place in _places(part, at)]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    return frame.astype({"significant": "boolean", "unsettled": "boolean"})


def _places(part: BackboneStatistics, at: BudgetStatistics) -> list[Place]:
    oracles = {record.label for record in part.records if record.method == ORACLE}
    rivals = []
    for cell in at.cells:
        away = other_work(cell.removed, at.budget, cell.coarse)
        if cell.label not in oracles and not away:
            rivals.append(cell)
    return rank(rivals)


def _row(backbone: str, at: BudgetStatistics, place: Place, schedules: Schedules) -> dict[str, Any]:
    against = place.against
    reference = against.reference if against else None
    row = accuracy_row(place.outcomes, backbone, at.budget, reference) | {"group": place.group}
    if against:
        row |= difference_columns(against) | {"unsettled": schedules.unsettled(against)}
    return {name: row.get(name) for name in COLUMNS}

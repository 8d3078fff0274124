"""The tables ``ahead`` and ``ahead_of_each``: the first method named against each of the others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from suite.analysis.statistics import BackboneStatistics, BudgetStatistics
from suite.stats.ahead import SMALLER, Contest, claim_row, claims, lead_rows
from suite.store.schema import TABLES, CellRecord

FEWEST = 3  # rivals: a pair, or two pairs, are in the table of statistics


def ahead_tables(
    statistics: Sequence[BackboneStatistics], protocol: str
) -> dict[str, pd.DataFrame]:
    """Both tables of a run by this `protocol`; without rows where there are too few rivals.

    Rivals are methods that are no baseline, and no other setting of the method itself. Under
    protocol `paper` every budget is another method's, so that there is nothing to claim.
    """
    contests = [] if protocol == "paper" else list(contests_of(statistics))
    found = claims(contests)
    rows = {
        "ahead": [row for claim in found for row in lead_rows(claim)],
        "ahead_of_each": [claim_row(claim) for claim in found],
    }
    return {
        name: pd.DataFrame(those, columns=list(TABLES[name].columns))
        for name, those in rows.items()
        if those
    }


def contests_of(statistics: Iterable[BackboneStatistics]) -> Iterable[Contest]:
    """The reference of each backbone and budget with its rivals, where there are enough."""
    for part in statistics:
        for at in part.budgets:
            if at.reference is None:
                continue
            rivals = rivals_at(part.records, at)
            if len(rivals) >= FEWEST:
                image = [cell for cell in at.cells if cell.label == SMALLER]
                yield Contest(
                    part.backbone,
                    at.budget,
                    at.reference,
                    [cell for cell in at.cells if cell.label in rivals],
                    image[0] if image else None,
                )


def rivals_at(records: Iterable[CellRecord], at: BudgetStatistics) -> set[str]:
    """Labels of the rivals of the reference at one budget."""
    cells = [record for record in records if record.budget == at.budget]
    assert at.reference is not None
    own = {record.method for record in cells if record.label == at.reference.label}
    return {
        record.label for record in cells if record.family != "baseline" and record.method not in own
    }

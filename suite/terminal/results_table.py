"""The table of results of a comparison; of protocol `paper` a row for each published method."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from suite.store.schema import CellRecord
from suite.terminal.tables import DENSE, comparison_table, seed_mean

PUBLISHED, MATCHED = "paper", "matched"


def results_table(records: Sequence[CellRecord]) -> Table:
    """Top-1 by method and budget, or of each published method beside those matched to it."""
    if any(record.protocol == PUBLISHED for record in records):
        return published_table(records)
    return comparison_table(records)


def published_table(records: Sequence[CellRecord]) -> Table:
    """Top-1 of each method as published, and in its row of what is matched to its FLOPs.

    A method that cannot run as published has no row.
    """
    matched = list(dict.fromkeys(r.label for r in records if r.protocol == MATCHED))
    title = "top-1 accuracy (%)"
    if matched:
        title += f"; {', '.join(matched)} matched to the FLOPs of the row"
    table = Table(
        "backbone",
        "method",
        "FLOPs removed",
        "tokens removed",
        "as published",
        *matched,
        title=title,
    )
    rows: dict[tuple[str, str], list[CellRecord]] = {}
    for record in records:
        if record.protocol == PUBLISHED and record.removed:
            rows.setdefault((record.backbone, record.label), []).append(record)
    for (backbone, label), seeds in rows.items():
        first = seeds[0]
        if first.method == DENSE:
            table.add_row(backbone, "dense", "", "", seed_mean(seeds), *("" for _ in matched))
            continue
        assert first.budget is not None
        mine = [record for record in records if record.backbone == backbone]
        beside = []
        for name in matched:
            cells = at_budget(mine, name, first.budget)
            beside.append(seed_mean(cells) if cells else "")
        table.add_row(
            backbone,
            label,
            f"{100 * first.removed_share:.1f} %",
            f"{100 * (first.token_ratio or 0.0):.1f} %",
            seed_mean(seeds),
            *beside,
        )
    return table


def at_budget(records: Sequence[CellRecord], label: str, budget: float) -> list[CellRecord]:
    """The cells called `label` that are matched to `budget`, one a seed; none if there are none."""
    own = [record for record in records if record.label == label and record.budget is not None]
    # One cell may be matched to several budgets, as a smaller image is, and has that of the first.
    distances = {}
    for record in own:
        distances[record.budget] = abs(record.removed_share - budget) if record.removed else 1.0
    if not distances:
        return []
    chosen = budget if budget in distances else min(distances, key=distances.__getitem__)
    return [record for record in own if record.budget == chosen]

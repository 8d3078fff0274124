"""The tables of results of a comparison, one a backbone; of protocol `paper` as published."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from suite.stats.correctness import counted
from suite.stats.metric import METRICS
from suite.store.schema import NOT_STATIC, CellRecord
from suite.terminal.tables import DENSE, light_table, seed_mean

PUBLISHED, MATCHED = "paper", "matched"


def results_tables(records: Sequence[CellRecord]) -> list[Table]:
    """The tables of a run, one a backbone (see `tables_by_backbone`)."""
    return list(tables_by_backbone(records).values())


def tables_by_backbone(records: Sequence[CellRecord]) -> dict[str, Table]:
    """For each backbone top-1 by method and budget, or of published methods beside those matched.

    The title names backbone, images and the dense model's top-1.
    """
    groups: dict[str, list[CellRecord]] = {}
    for record in records:
        groups.setdefault(record.backbone, []).append(record)
    published = any(record.protocol == PUBLISHED for record in records)
    table = published_table if published else comparison_table
    return {backbone: table(own) for backbone, own in groups.items()}


def title_of(records: Sequence[CellRecord]) -> str:
    """What the table of a backbone shows: where, and the dense model."""
    dense = next(record for record in records if record.method == DENSE)
    images = counted(dense.images, dense.kind, dense.split)
    metric = METRICS[dense.task].name
    return f"{metric} (%) on {dense.backbone}, {images}, dense {seed_mean([dense])}"


def comparison_table(records: Sequence[CellRecord]) -> Table:
    """Top-1 on one backbone by method and budget, seeds averaged.

    A cell without result says why; one that removes another share than its column has a dagger.
    """
    budgets = sorted({record.budget for record in records if record.budget is not None})
    heads = [f"-{100 * budget:.4g} %" for budget in budgets]
    table = light_table(f"{title_of(records)}, by FLOPs removed", "method", "setting", *heads)
    methods: dict[str, list[CellRecord]] = {}
    for record in records:
        if record.method != DENSE:
            methods.setdefault(record.label, []).append(record)
    for label, rows in methods.items():
        cells = [seed_mean([row for row in rows if row.budget == at]) for at in budgets]
        setting = str(rows[0].setting or "")
        if any(row.adaptive for row in rows):
            setting += f", {NOT_STATIC}"
        table.add_row(label, setting, *cells)
    return table


def published_table(records: Sequence[CellRecord]) -> Table:
    """Top-1 on one backbone of each method as published, and in its row of what is matched to it.

    A method that cannot run as published has no row.
    """
    matched = list(dict.fromkeys(r.label for r in records if r.protocol == MATCHED))
    title = title_of(records)
    if matched:
        title += f"; {', '.join(matched)} matched to the FLOPs of the row"
    heads = ("method", "FLOPs removed", "tokens removed", "as published", *matched)
    table = light_table(title, *heads)
    rows: dict[str, list[CellRecord]] = {}
    for record in records:
        if record.protocol == PUBLISHED and record.removed and record.method != DENSE:
            rows.setdefault(record.label, []).append(record)
    for label, seeds in rows.items():
        first = seeds[0]
        assert first.budget is not None
        beside = []
        for name in matched:
            cells = at_budget(records, name, first.budget)
            beside.append(seed_mean(cells) if cells else "")
        table.add_row(
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

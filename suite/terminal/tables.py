"""The tables a terminal shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from suite.stats.compare import other_work
from suite.store.schema import CellRecord

GIGA = 1e9
DAGGER = "†"


def print_table(table: Table) -> None:
    """Print to standard output, as wide as the terminal or 120 columns."""
    # method texts hold brackets, which rich would read as markup
    console = Console(markup=False)
    console = console if console.is_terminal else Console(markup=False, width=120)
    console.print(table)


def plan_table(records: Sequence[CellRecord], convention: str) -> Table:
    """What each cell removes and what it leaves, a row a cell, seeds together."""
    table = Table(
        "backbone", "method", "asked", "seeds", "tokens removed", f"G ({convention})", "removed"
    )
    if any(record.status == "skipped" for record in records):
        table.add_column("reason")
    for row, seeds in Counter(_planned(record, convention) for record in records).items():
        backbone, method, asked, stochastic, *rest = row
        table.add_row(backbone, method, asked, str(seeds) if stochastic else "", *rest)
    return table


def _planned(record: CellRecord, convention: str) -> tuple[Any, ...]:
    """Everything shown of a planned cell but its seed; the fourth entry says whether it has one."""
    budget = "dense" if record.budget is None else f"{100 * record.budget:.0f} %"
    cell = (record.backbone, record.label, budget)
    if record.status == "skipped":
        return (*cell, False, "", "", "", record.reason)
    return (
        *cell,
        record.stochastic,
        f"{100 * (record.token_ratio or 0.0):.1f} %",
        f"{record.total[convention] / GIGA:.4g}",
        f"{100 * record.removed[convention]:.2f} %",
    )


def comparison_table(records: Sequence[CellRecord]) -> Table:
    """Top-1 by method and budget, seeds averaged.

    A cell without result says why; one that removes another share than its column has a dagger.
    """
    budgets = sorted({record.budget for record in records if record.budget is not None})
    heads = ("all FLOPs", *(f"-{100 * budget:.0f} % FLOPs" for budget in budgets))
    table = Table("backbone", "method", *heads, title="top-1 accuracy (%)")
    groups: dict[str, dict[str, list[CellRecord]]] = {}
    for record in records:
        methods = groups.setdefault(record.backbone, {})
        methods.setdefault("dense" if record.budget is None else record.label, []).append(record)
    for backbone, methods in groups.items():
        table.add_row(backbone, "dense", _percent(methods.pop("dense")[:1]))
        for label, rows in methods.items():
            cells = [_percent([row for row in rows if row.budget == at]) for at in budgets]
            table.add_row(backbone, label, "", *cells)
    return table


def off_budget(records: Sequence[CellRecord]) -> list[str]:
    """What cells remove that lie off their budget, as smaller images do: a line for each method."""
    groups: dict[tuple[str, str], list[str]] = {}
    for record in records:
        if _is_off_budget(record):
            shares = groups.setdefault((record.label, record.backbone), [])
            shares.append(f"{100 * record.removed_share:.1f}")
    lines = []
    for (label, backbone), shares in groups.items():
        lines.append(
            f"{DAGGER} {label} on {backbone} removes {', '.join(dict.fromkeys(shares))} % of FLOPs "
            "there, not what the column says, and is not tested against the others."
        )
    return lines


def _is_off_budget(record: CellRecord) -> bool:
    if record.status != "ok" or not record.budget:
        return False
    return other_work(record.removed_share, record.budget)


def left_out(records: Sequence[CellRecord]) -> list[str]:
    """Why cells were skipped or failed, a line for each method and reason."""
    lines = [
        f"{record.status}: {record.label} on {record.backbone}: {record.reason}"
        for record in records
        if record.status != "ok"
    ]
    return list(dict.fromkeys(lines))


def _percent(cells: Sequence[CellRecord]) -> str:
    """Mean top-1 of the cells and, for several seeds, half their range; or why there is none."""
    done = [cell.metrics.top1 for cell in cells if cell.metrics]
    if not done:
        return cells[0].status if cells else "same as above"
    spread = f" ±{50 * (max(done) - min(done)):.1f}" if len(done) > 1 else ""
    mark = f" {DAGGER}" if any(_is_off_budget(cell) for cell in cells) else ""
    return f"{100 * sum(done) / len(done):.1f}{spread}{mark}"

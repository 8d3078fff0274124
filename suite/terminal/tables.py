"""The tables a terminal shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from suite.stats.compare import other_work

GIGA = 1e9
DAGGER = "†"


def print_table(table: Table) -> None:
    """Print to standard output, as wide as the terminal or 120 columns."""
    # method texts hold brackets, which rich would read as markup
    console = Console(markup=False)
    console = console if console.is_terminal else Console(markup=False, width=120)
    console.print(table)


def plan_table(records: Sequence[dict[str, Any]], convention: str) -> Table:
    """What goes where, and what it leaves: one row a cell, the seeds of a stochastic method together."""
    table = Table(
        "backbone", "method", "asked", "seeds", "tokens removed", f"G ({convention})", "removed"
    )
    if any(record["status"] == "skipped" for record in records):
        table.add_column("reason")
    for row, seeds in Counter(_planned(record, convention) for record in records).items():
        backbone, method, asked, stochastic, *rest = row
        table.add_row(backbone, method, asked, str(seeds) if stochastic else "", *rest)
    return table


def _planned(record: dict[str, Any], convention: str) -> tuple[Any, ...]:
    """All that is said of a planned cell but its seed; fourth is whether it has one."""
    asked = "dense" if record["budget"] is None else f"{100 * record['budget']:.0f} %"
    cell = (record["backbone"], record["label"], asked)
    if record["status"] == "skipped":
        return (*cell, False, "", "", "", record["reason"])
    return (
        *cell,
        record["stochastic"],
        f"{100 * record['token_ratio']:.1f} %",
        f"{record['total'][convention] / GIGA:.4g}",
        f"{100 * record['removed'][convention]:.2f} %",
    )


def comparison_table(records: Sequence[dict[str, Any]]) -> Table:
    """Top-1 by method and budget, seeds averaged; what is no result says so, what costs another share has a dagger."""
    frame = pd.DataFrame(records)
    budgets = sorted(frame.budget.dropna().unique())
    heads = ("all FLOPs", *(f"-{100 * budget:.0f} % FLOPs" for budget in budgets))
    table = Table("backbone", "method", *heads, title="top-1 accuracy (%)")
    for backbone, of_backbone in frame.groupby("backbone", sort=False):
        dense = of_backbone[of_backbone.budget.isna()].iloc[0]
        table.add_row(str(backbone), "dense", _percent([dense]))
        for label, rows in of_backbone[of_backbone.budget.notna()].groupby("label", sort=False):
            cells = [
                _percent([row for _, row in rows[rows.budget == budget].iterrows()])
                for budget in budgets
            ]
            table.add_row(str(backbone), str(label), "", *cells)
    return table


def astray(records: Sequence[dict[str, Any]]) -> list[str]:
    """What the cells with a dagger remove, a line for each method: a smaller image lands where its size lets it."""
    found: dict[tuple[str, str], list[str]] = {}
    for record in records:
        if _is_astray(record):
            removed = f"{100 * record['removed'][record['convention']]:.1f}"
            found.setdefault((record["label"], record["backbone"]), []).append(removed)
    return [
        f"{DAGGER} {label} on {backbone} removes {', '.join(dict.fromkeys(shares))} % of FLOPs there, not what the "
        "column says, and is not tested against the others."
        for (label, backbone), shares in found.items()
    ]


def _is_astray(record: Mapping[str, Any] | pd.Series) -> bool:
    if record["status"] != "ok" or pd.isna(record["budget"]) or not record["budget"]:
        return False
    return other_work(record["removed"][record["convention"]], record["budget"])


def left_out(records: Sequence[dict[str, Any]]) -> list[str]:
    """Why cells were skipped or failed, a line for each method and reason."""
    lines = [
        f"{record['status']}: {record['label']} on {record['backbone']}: {record['reason']}"
        for record in records
        if record["status"] != "ok"
    ]
    return list(dict.fromkeys(lines))


def _percent(cells: Sequence[Any]) -> str:
    """Mean top-1 of the cells and, for several seeds, half their range; or why there is none."""
    done = [cell.metrics["top1"] for cell in cells if cell.status == "ok"]
    if not done:
        return "same as above" if not cells else str(cells[0].status)
    spread = f" ±{50 * (max(done) - min(done)):.1f}" if len(done) > 1 else ""
    mark = f" {DAGGER}" if any(_is_astray(cell) for cell in cells) else ""
    return f"{100 * sum(done) / len(done):.1f}{spread}{mark}"

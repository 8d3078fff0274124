"""Show the picks of a tuning on the terminal or as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from methods.spec import parse
from suite.plan.tuning_commands import compare_command
from suite.tries.settings import Setting, default_setting
from suite.tries.table import Tries
from suite.tune.run import Tuned


@dataclass(frozen=True)
class Picked:
    """What was picked for one method.

    ``pick``     the setting; None if none meets all budgets, for the `reason`
    ``top1``     of the pick at each budget; ``default_top1`` of the default, None where unknown
    """

    method: str
    pick: Setting | None
    default: Setting
    top1: list[float | None]
    default_top1: list[float | None]
    reason: str | None


def picked(table: Tries) -> list[Picked]:
    """The picks of a table, in the order of its methods."""
    rows = []
    for name in table.methods:
        default, pick = default_setting(parse(name).method), table.pick(name)
        reasons = [row.reason for row in table.rows if row.method == name and row.reason]
        rows.append(
            Picked(
                name,
                pick,
                default,
                top1(table, name, pick) if pick else [None] * len(table.origin.budgets),
                top1(table, name, default),
                None if pick else reasons[0],
            )
        )
    return rows


def top1(table: Tries, name: str, setting: Setting) -> list[float | None]:
    """Top-1 of a method under a setting at each budget; None where it has no answers."""
    rows = [table.find(name, setting, budget) for budget in table.origin.budgets]
    return [row.top1 if row else None for row in rows]


def mean(values: list[float | None]) -> float | None:
    """Mean over the budgets, by which a setting is picked; None if one is unknown."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None


def picks_table(table: Tries, dense: float | None) -> Table:
    """The pick of each method, and its top-1 beside that of the default setting."""
    origin = table.origin
    title = (
        f"{origin.backbone}, {len(origin.images):,} {origin.split} images: top-1 (%), "
        f"dense {_percent(dense)}"
    )
    heads = [f"-{100 * budget:.4g} %" for budget in origin.budgets]
    shown = Table("method", "picked", *heads, "mean", "default", title=title)
    for row in picked(table):
        setting = f"{row.pick.schedule}, {row.pick.cls_window}" if row.pick else "none"
        values = [*row.top1, mean(row.top1), mean(row.default_top1)]
        shown.add_row(parse(row.method).label, setting, *map(_percent, values))
    return shown


def explanations(tuned: Tuned, folder: Path) -> list[str]:
    """What the tables show, which methods have no pick and why, and what the tries are for."""
    lines = [
        "picked: schedule, and patch tokens on each side of the class token that take no part; "
        "default: mean of the setting without tuning"
    ]
    for table in tuned.tables:
        for row in picked(table):
            if row.pick is None:
                name = parse(row.method).label
                lines.append(
                    f"no setting of {name} on {table.backbone} can be picked: {row.reason}"
                )
    lines += [f"tries: {file}" for file in tuned.files]
    tuning = tuned.tuning
    plan = tuning.prepared
    command = compare_command(plan.spec, plan.dataset, tuning.spec.methods, folder)
    return [*lines, f"use them: {command}"]


def json_document(tuned: Tuned) -> dict[str, Any]:
    """Notes, picks, files and failures as plain values."""
    tables = []
    for table, file in zip(tuned.tables, tuned.files, strict=True):
        origin = table.origin
        tables.append(
            {
                "backbone": origin.backbone,
                "file": str(file),
                "images": len(origin.images),
                "split": origin.split,
                "budgets": list(origin.budgets),
                "dense_top1": tuned.dense[origin.backbone],
                "picks": [asdict(row) for row in picked(table)],
            }
        )
    return {"notes": tuned.tuning.notes, "tries": tables, "failures": tuned.failures}


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"

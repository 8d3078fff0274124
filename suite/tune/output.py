"""Show the picks of a tuning on the terminal or as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from methods.spec import parse
from suite.plan.tuning_commands import compare_command
from suite.stats.correctness import counted
from suite.stats.metric import TOP1
from suite.stats.schedule_words import listed
from suite.terminal.findings import Findings
from suite.tries.settings import WINDOW_MEANS, Setting, default_setting
from suite.tries.table import Tries
from suite.tune.run import Tuned


@dataclass(frozen=True)
class Picked:
    """What was picked for one method.

    ``pick``     the setting; None if none meets all budgets, for the `reason`
    ``kept``     accuracy of the pick at each budget; ``by_default`` that of the default, None where
                 unknown
    """

    method: str
    pick: Setting | None
    default: Setting
    kept: list[float | None]
    by_default: list[float | None]
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
                kept(table, name, pick) if pick else [None] * len(table.origin.budgets),
                kept(table, name, default),
                # No pick means that every setting lacks an answer, and such a row has its reason.
                None if pick else reasons[0],
            )
        )
    return rows


def kept(table: Tries, name: str, setting: Setting) -> list[float | None]:
    """Accuracy of a method under a setting at each budget; None where it has no answers."""
    rows = [table.find(name, setting, budget) for budget in table.origin.budgets]
    return [row.accuracy if row else None for row in rows]


def mean(values: list[float | None]) -> float | None:
    """Mean over the budgets, by which a setting is picked; None if one is unknown."""
    known = [value for value in values if value is not None]
    # A mean that misses its hardest budget would stand above one that has it.
    return sum(known) / len(known) if len(known) == len(values) else None


def picks_table(table: Tries, dense: float | None) -> Table:
    """The pick of each method, and what it keeps beside what the default setting does."""
    origin = table.origin
    images = counted(len(origin.images), split=origin.split)
    title = f"{origin.backbone}, {images}: {table.metric.name} (%), dense {_percent(dense)}"
    heads = [f"-{100 * budget:.4g} %" for budget in origin.budgets]
    shown = Table("method", "picked", *heads, "mean", "default", title=title)
    for row in picked(table):
        setting = str(row.pick or "none")
        values = [*row.kept, mean(row.kept), mean(row.by_default)]
        shown.add_row(parse(row.method).label, setting, *map(_percent, values))
    return shown


def findings(tuned: Tuned) -> Findings:
    """What came of a tuning: the method that keeps most on each backbone, picks, and gains."""
    several = len(tuned.tables) > 1
    answers, sentences, details = [], list[str](), list[str]()
    # Names in their order, once: a method may lack a pick on several backbones.
    missing: dict[str, None] = {}
    for table in tuned.tables:
        where = f"{table.origin.backbone}: " if several else ""
        rows = picked(table)
        answer = f"{where}{_best(table, rows)}"
        answers.append((answer, [picks_table(table, tuned.dense[table.backbone])]))
        # One sentence of the three is for methods without a pick.
        if (said := _gains(rows)) and len(sentences) < 2:
            sentences.append(f"{where}{said}")
        for name, reason in _without_pick(rows):
            missing[name] = None
            details.append(f"no setting of {name} on {table.backbone} can be picked: {reason}")
    if missing:
        who = listed(list(missing))
        sentences.append(f"No setting of {who} can be picked (-v says why).")
    notes = [f"default: mean of the setting without tuning; {WINDOW_MEANS}."]
    # said in full before the tries, when more images could still be asked for
    earlier = tuned.tuning.warnings
    images = counted(len(tuned.tuning.prepared.indices), tuned.tuning.prepared.dataset.kind)
    warnings = [f"Settings were picked on few images: {images}."] if earlier else []
    more = [note for note in tuned.tuning.notes if note not in earlier]
    return Findings(answers, notes, warnings, sentences, [*more, *details])


def _best(table: Tries, rows: list[Picked]) -> str:
    """Who keeps most at its pick, by the mean over budgets."""
    done = [(mean(row.kept), row) for row in rows if row.pick and mean(row.kept) is not None]
    if not done:
        return f"No setting of any method on {table.origin.backbone} meets every budget."
    most = max(value or 0.0 for value, _ in done)
    first = [row for value, row in done if value == most]
    shares = listed([f"{100 * budget:.4g}" for budget in table.origin.budgets])
    images = counted(len(table.origin.images), split=table.origin.split)
    where = f"{100 * most:.1f} % of {images}"
    if table.metric != TOP1:
        where = f"{table.metric.name} {100 * most:.1f} % on {images}"
    how = "mean over" if len(table.origin.budgets) > 1 else "at"
    over = f"{how} {shares} % fewer FLOPs"
    # Few images tie often, and the first of a list is no winner.
    if len(first) > 1:
        names = listed([parse(row.method).label for row in first])
        return f"{names} tie for the most at their best settings: {where}, {over}."
    (row,) = first
    return (
        f"{parse(row.method).label} keeps most at its best setting ({row.pick}): {where}, {over}."
    )


def _gains(rows: list[Picked]) -> str:
    """How many methods another setting than their own suits, and whom most."""
    gains = []
    for row in rows:
        value, default = mean(row.kept), mean(row.by_default)
        # Of equals the default is picked, so any other pick is right more often.
        if row.pick and row.pick != row.default and value is not None and default is not None:
            gains.append((value - default, parse(row.method).label))
    count = sum(row.pick is not None for row in rows)
    if not gains:
        return "No method does better at another setting than its default." if count else ""
    gain, name = max(gains)
    return (
        f"{len(gains)} of {count} methods do best at another setting than their default, "
        f"{name} by most: {100 * gain:+.1f} points on these images."
    )


def _without_pick(rows: list[Picked]) -> list[tuple[str, str]]:
    return [(parse(row.method).label, row.reason or "") for row in rows if row.pick is None]


def use_of(tuned: Tuned, folder: Path) -> str:
    """How to go on: the comparison that uses the tries in `folder`, in a line."""
    tuning = tuned.tuning
    plan = tuning.prepared
    command = compare_command(plan.spec, plan.dataset, tuning.spec.methods, folder)
    return f"use the tries: {command}"


def json_document(tuned: Tuned) -> dict[str, Any]:
    """Notes, picks, files and failures as plain values."""
    tables = []
    for table, file in zip(tuned.tables, tuned.files, strict=True):
        origin, figure = table.origin, table.metric.column
        names = {"kept": figure, "by_default": f"default_{figure}"}
        picks = []
        for row in picked(table):
            picks.append({names.get(name, name): value for name, value in asdict(row).items()})
        tables.append(
            {
                "backbone": origin.backbone,
                "file": str(file),
                "images": len(origin.images),
                "split": origin.split,
                "budgets": list(origin.budgets),
                f"dense_{figure}": tuned.dense[origin.backbone],
                "picks": picks,
            }
        )
    return {"notes": tuned.tuning.notes, "tries": tables, "failures": tuned.failures}


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"

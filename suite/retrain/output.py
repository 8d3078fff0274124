"""Show a retraining on the terminal: what was won back, beside a whole model trained alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.table import Table

from suite.config.command_line import command_line
from suite.retrain.files import WEIGHTS, Finished
from suite.retrain.run import Outcome
from suite.stats.correctness import counted
from suite.stats.rate_words import rates_answer
from suite.stats.recovery_words import (
    budget_words,
    recovery_answer,
    share_words,
    tested_elsewhere,
)
from suite.stats.retrained_words import contrast_words, order_words
from suite.store.schema import CellRecord
from suite.system.durations import duration
from suite.terminal.findings import MOST_SENTENCES, Findings
from suite.terminal.tables import DAGGER, light_table, off_budget

Row = Mapping[str, Any]
READING = (
    "before, after: with the weights as they came, and those trained under the method; won back: "
    "share of what it loses, with its 95 % interval; behind: points of top-1 behind the whole "
    "model that was trained alike."
)


def findings(outcome: Outcome, folder: Path) -> Findings:
    """The answer and the table of each backbone, the price, and how to use the weights."""
    found = retrained_findings(
        outcome.rows, outcome.result.records, outcome.result.headline.record()
    )
    return replace(
        found,
        sentences=[price(outcome), *found.sentences, use_of(outcome, folder)],
        details=[*curves(outcome.finished.values()), *found.details],
    )


def retrained_findings(
    tables: Mapping[str, Sequence[Row]], records: Sequence[CellRecord], headline: Mapping[str, Any]
) -> Findings:
    """What a run folder says: `tables` are those of retraining, `records` its cells."""
    answers: list[tuple[str, list[Table]]] = []
    rows = tables["retrained"]
    for backbone in dict.fromkeys(row["backbone"] for row in rows):
        own = [row for row in rows if row["backbone"] == backbone]
        answers.append((recovery_answer(own), priced_tables(own, records)))
    contrasts = [contrast_words(row) for row in tables["retrained_contrasts"]]
    # What was asked for; of many settings the page has the table.
    if len(contrasts) <= MOST_SENTENCES:
        answers += [(text, []) for text in contrasts]
    # A row needs its control, too: without that no share won back can be told.
    if not answers:
        answers.append(("No retrained weights have a result beside their control.", []))
    rates = tables["retraining_rates"]
    return Findings(
        answers,
        notes=[READING, *off_budget([r for r in records if r.role == "asked"])],
        warnings=headline.get("warnings") or (),
        sentences=[rates_answer(rates)] if rates else [],
        details=[
            *map(order_words, tables["retrained_ranking"]),
            *map(str, headline.get("paragraphs") or ()),
        ],
    )


def priced_tables(rows: Sequence[Row], records: Sequence[CellRecord]) -> list[Table]:
    """A table for each control and its number of images; `records` are the run's cells."""
    parts: dict[tuple[int, float], list[Row]] = {}
    for row in rows:
        parts.setdefault((row["trained_images"], row["control_top1"]), []).append(row)
    tables = []
    for (seen, _), part in parts.items():
        after = f" on {seen:,}" if len(parts) > 1 else ""
        # A control alone has nothing beside it.
        if len(part) > 1:
            tables.append(retrained_table(part, records, after))
    return tables


def retrained_table(rows: Sequence[Row], records: Sequence[CellRecord], after: str) -> Table:
    """Top-1 of each method on one backbone with the weights as they came, and retrained.

    `after` says on how many training images, where that is to be told.
    """
    # There always is one: no row is made without its control.
    control = next(row for row in rows if row["budget"] is None)
    images = counted(control["images"], records[0].kind, records[0].split)
    # Of this backbone: a method may meet a budget on one and not on another.
    own = [record for record in records if record.backbone == control["backbone"]]
    away = {(record.label, record.budget) for record in own if record.off_budget}
    whole = f"whole model {percent(control['dense_top1'])}"
    title = f"top-1 (%) on {control['backbone']}, {images}, {whole}, trained alike{after} "
    title += percent(control["top1"])
    heads = ["method", "FLOPs", "before", "after", "won back", "behind"]
    reduced = [row for row in rows if row["budget"] is not None]
    elsewhere = any(map(tested_elsewhere, reduced))
    if elsewhere:
        heads.append("trained at")
    table = light_table(title, *heads)
    for row in reduced:
        mark = f" {DAGGER}" if (row["label"], row["budget"]) in away else ""
        texts = [
            row["label"],
            f"-{100 * row['budget']:.4g} %{mark}",
            percent(row["top1_before"]),
            percent(row["top1"]),
            share_words(row),
            interval(row, "behind"),
        ]
        if elsewhere:
            texts.append(budget_words(row["trained_budgets"]))
        table.add_row(*texts)
    return table


def interval(row: Row, name: str) -> str:
    """A difference in points, with its interval."""
    low, high = 100 * row[f"{name}_low"], 100 * row[f"{name}_high"]
    return f"{100 * row[name]:.1f} [{low:.1f}, {high:.1f}]"


def percent(value: float) -> str:
    """A share in per cent."""
    return f"{100 * value:.1f}"


def price(outcome: Outcome) -> str:
    """What the trainings cost, in a sentence."""
    trainings = list(outcome.finished.values())
    seconds = sum(one.seconds for one in trainings)
    # One recipe for all: they differ in backbone and reductions alone.
    first = trainings[0].retrained
    epochs = "1 epoch" if first.epochs == 1 else f"{first.epochs} epochs"
    steps = f"{epochs}, {first.steps:,} steps of {first.batch}"
    tries = len(trainings[0].tried)
    at = f" at {tries} learning rates" if tries else ""
    return (
        f"{len(trainings)} trainings{at} of {first.images:,} images each ({steps}) took "
        f"{duration(seconds)}."
    )


def use_of(outcome: Outcome, folder: Path) -> str:
    """How to compare methods on retrained weights, in a sentence."""
    spec = outcome.retraining.prepared.spec
    # The last, since the first is a control.
    training = outcome.retraining.trainings[-1]
    path = folder / WEIGHTS / f"{training.name}.safetensors"
    if path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    settings: dict[str, object] = {
        "backbones": spec.named[training.backbone],
        "checkpoint": path,
        "data": spec.data,
        "split": spec.split,
    }
    return f"The weights are in {folder / WEIGHTS}; use them: {command_line('compare', settings)}"


def curves(trainings: Iterable[Finished]) -> list[str]:
    """Loss and top-1 on the training images by epoch, a line a training."""
    lines = []
    for one in trainings:
        epochs = [f"{loss:.3f} ({100 * top1:.1f} %)" for loss, top1 in one.curve]
        took = f"{duration(one.seconds)} on {one.hardware}"
        lines.append(f"{one.retrained.name}: loss {', '.join(epochs)}; {took}.")
    return lines

"""What the terminal shows of a finished run: the same after the run and by `report`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.table import Table

from suite.stats.correctness import counted
from suite.stats.metric import METRICS, TOP1
from suite.stats.schedule_words import FEW
from suite.stats.schedules import ScheduleVerdicts, read_schedules_table
from suite.store.run_folder import Store
from suite.store.schema import CellRecord
from suite.terminal.findings import Findings
from suite.terminal.order_table import order_table
from suite.terminal.results_table import tables_by_backbone
from suite.terminal.tables import left_out, not_static, off_budget, smaller_models
from suite.tries.settings import WINDOW_MEANS

Headline = Mapping[str, Any]


def comparison_findings(
    records: Sequence[CellRecord],
    headline: Headline,
    verdicts: Sequence[ScheduleVerdicts],
    beside: Sequence[CellRecord] = (),
) -> Findings:
    """Those of a comparison: `records` are the cells of its tables, others stand `beside` them.

    `headline` is ``analyses/headline.json``, with `verdicts` on schedules.
    """
    said = {row["backbone"]: str(row["sentence"]) for row in headline.get("answers") or ()}
    answers = []
    for backbone, table in tables_by_backbone(records).items():
        answers.append((said.get(backbone, ""), [table]))
    if not said:
        # Of the dense model alone nobody leads.
        answers.insert(0, (str(headline.get("headline") or ""), []))
    failed = [record for record in beside if record.status == "failed"]
    notes = [*off_budget(records), *not_static(records), *smaller_models(beside)]
    notes += left_out([*records, *failed])
    if any(record.cls_window for record in records):
        notes.insert(0, f"{WINDOW_MEANS}.")
    details: list[str | Table] = [*_words(headline), *headline.get("blind", ())]
    for each in verdicts:
        # Of few pairs the sentences say all.
        if len(each.methods) > FEW:
            details.append(order_table(each, records[0].kind))
    details += headline.get("schedules", ())
    return Findings(answers, notes, _warnings(headline), headline.get("brief") or (), details)


def ablation_findings(folder: Path, headline: Headline, records: Sequence[CellRecord]) -> Findings:
    """Those of the ablation in `folder`, with a table of each axis, method and budget.

    `records` are the cells of its tables.
    """
    from suite.analysis.ablation import column_notes, console_tables, seeds_note

    said = [str(row["sentence"]) for row in headline.get("answers") or ()]
    *others, last = said or [str(headline.get("headline") or "")]
    answers: list[tuple[str, list[Table]]] = [(text, []) for text in others]
    metric = METRICS[records[0].task] if records else TOP1
    answers.append((last, [*console_tables(folder, metric)]))
    note = seeds_note(folder)
    notes = [*column_notes(folder), *_as_it_is(records), *not_static(records)]
    details = [*([note] if note else []), *_words(headline)]
    details += [*headline.get("blind", ()), *headline.get("schedules", ())]
    return Findings(answers, notes, _warnings(headline), headline.get("brief") or (), details)


def _as_it_is(records: Sequence[CellRecord]) -> list[str]:
    """Under which setting a method is varied that a comparison would tune, a line each."""
    lines = []
    for record in records:
        plain = record.role == "asked" and record.budget and record.label == record.method
        if plain and record.setting and not record.tuned:
            images = counted(record.images, record.kind, record.split)
            lines.append(f"{record.label} is at {record.setting}, not tuned, on {images}.")
    return list(dict.fromkeys(lines))


def _words(headline: Headline) -> list[str]:
    """The findings in full, without the warnings, which come first among the paragraphs."""
    warnings = headline.get("warnings") or ()
    return [str(headline.get("headline") or ""), *headline.get("paragraphs", ())[len(warnings) :]]


def _warnings(headline: Headline) -> list[str]:
    return [*(headline.get("warnings") or ()), *(headline.get("doubts") or ())]


def sensitivity_findings(frames: Mapping[str, pd.DataFrame], headline: Headline) -> Findings:
    """Those of a sensitivity analysis, from its tables by name."""
    from suite.sensitivity.output import MEASURES, console_tables

    answer = str(headline.get("answer") or headline.get("headline") or "")
    return Findings(
        [(answer, console_tables(frames))],
        notes=[MEASURES],
        warnings=headline.get("warnings") or (),
        sentences=headline.get("brief") or (),
        details=[str(headline.get("headline") or ""), *headline.get("paragraphs", ())],
    )


def speed_findings(rows: Sequence[dict[str, Any]], sentences: Sequence[str]) -> Findings:
    """Those of a measurement of speed, with its `sentences` in full."""
    from suite.bench.machine import busy
    from suite.bench.speed import legend, table
    from suite.stats.speed_words import speed_answer, speed_brief

    warning = busy(rows[0])
    return Findings(
        [(speed_answer(rows), [table(rows)])],
        notes=[legend(rows)],
        warnings=[warning] if warning else [],
        sentences=speed_brief(rows),
        details=sentences,
    )


def retrained_findings_in(
    folder: Path, headline: Headline, records: Sequence[CellRecord]
) -> Findings:
    """Those of the retraining in `folder`."""
    from suite.retrain.output import retrained_findings
    from suite.retrain.tables import rows_in

    return retrained_findings(rows_in(folder), records, headline)


def findings_in(folder: Path) -> Findings | None:
    """Those of the finished run in `folder`; None if it has none that a terminal shows."""
    path = folder / "analyses" / "headline.json"
    headline = json.loads(path.read_text()) if path.is_file() else {}
    if not isinstance(headline, dict):  # a foreign file, which the page leaves out too
        headline = {}
    cells = Store(folder).cells()
    records = [record for record in cells if record.shown]
    if _table(folder, "ablation") is not None and headline:
        return ablation_findings(folder, headline, records)
    if records and headline and _table(folder, "retrained") is not None:
        return retrained_findings_in(folder, headline, records)
    if records and headline:
        # The store has them by key, a hash; readers want methods by name and baselines last.
        records.sort(
            key=lambda record: (record.family == "baseline", record.spec, record.budget or 0.0)
        )
        stored = _table(folder, "schedules")
        verdicts = read_schedules_table(stored) if stored is not None else []
        beside = [record for record in cells if not record.shown]
        return comparison_findings(records, headline, verdicts, beside)
    names = ("sensitivity_agreement", "sensitivity_scores")
    frames = {name: _table(folder, name) for name in names}
    if headline and all(frame is not None for frame in frames.values()):
        return sensitivity_findings(
            {name: frame for name, frame in frames.items() if frame is not None}, headline
        )
    timed, words = _table(folder, "bench"), _table(folder, "bench_words")
    if timed is None or words is None:
        return None
    return speed_findings(timed.to_dict("records"), words["sentence"].tolist())


def _table(folder: Path, name: str) -> pd.DataFrame | None:
    """A table of the analyses; None if the run has none."""
    path = folder / "analyses" / f"{name}.parquet"
    return pd.read_parquet(path) if path.is_file() else None

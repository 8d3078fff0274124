"""A comparison from its settings to results on disk: plan, execute, conclude.

The report is drawn from the run folder alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from suite.analysis.headline import Headline
from suite.analysis.records import cell_records
from suite.analysis.statistics import compute_statistics, requested_methods
from suite.analysis.tokens import token_tables
from suite.analysis.write import Tables, comparison_headline, paired_tables, write_analyses
from suite.config.run_spec import RunSpec
from suite.data.loading.loader import dismiss
from suite.execution.begin import begun
from suite.execution.choose import Executor
from suite.execution.local import execute
from suite.execution.provenance import dataset_record, execution_record
from suite.execution.shards import count_existing
from suite.plan.notes import notes_on_models
from suite.plan.prepare import Prepared, prepare
from suite.plan.tuning_notes import notes_on_settings
from suite.stats.blind_baselines import BlindComparison
from suite.stats.metric import METRICS, TOP1
from suite.stats.schedule_words import verdict_record
from suite.stats.schedules import ScheduleVerdicts, read_schedules_table
from suite.store.results import Results
from suite.store.schema import TASKS, CellRecord
from suite.store.unstated import unstated_notes
from suite.system.environment import environment, resource_usage
from suite.system.stopwatch import STOPWATCH
from suite.terminal.lines import print_note
from suite.terminal.progress import print_start, progress_bar

# Makes tables of a run's own from its plan, the records of its cells and their outcomes.
Beside = Callable[[Prepared, Sequence[CellRecord], Results], Tables]


@dataclass(frozen=True)
class Result:
    """A finished comparison.

    ``records``   the cells of its tables, in the order of the run
    ``further``   those that are evidence for other questions
    ``headline``  its findings in words
    ``failures``  the reasons of the cells that failed, by key
    ``blind``     by backbone and budget, the methods against the best blind baseline
    ``token_matched``  the methods by equal counts of tokens beside equal FLOPs, a row each
    ``schedules`` by backbone, whether the order of the methods holds over schedules
    """

    records: list[CellRecord]
    further: list[CellRecord]
    headline: Headline
    failures: dict[str, str]
    blind: list[BlindComparison]
    token_matched: list[dict[str, Any]]
    schedules: list[ScheduleVerdicts]

    def summary(self) -> dict[str, Any]:
        """Plain values."""
        document = {
            "cells": [record.as_json() for record in self.records],
            "further_cells": [record.as_json() for record in self.further],
            "headline": self.headline.record(),
            "against_blind": [comparison.record() for comparison in self.blind],
            "token_matched": self.token_matched,
            "notes": unstated_notes((record.label, record.reason) for record in self.records),
            "schedules": [verdict_record(verdicts) for verdicts in self.schedules],
            "failures": self.failures,
        }
        metric = METRICS[self.records[0].task] if self.records else TOP1
        return {name: metric.named(value) for name, value in document.items()}


def run_comparison(
    spec: RunSpec,
    folder: Path,
    quiet: bool = False,
    resume: bool = True,
    fail_fast: bool = False,
    skip_damaged: bool = False,
    executor: Executor = execute,
    prepared: Prepared | None = None,
    beside: Beside | None = None,
    verbose: bool = False,
) -> Result:
    """Run or resume the comparison in `folder`, whose plan may be `prepared` already.

    `beside` makes tables that are stored beside those of every comparison. Unless `quiet` it says
    what it begins with, and if `verbose` also which settings were chosen.

    UserError before anything ran if it cannot start. StoppedError at the first cell that fails if
    `fail_fast`, and if the device is lost.
    """
    started = datetime.now(UTC)
    STOPWATCH.reset()
    plan = prepared or prepare(spec, folder=folder, say=None if quiet else print_note)
    # The plan has the spec in its one spelling.
    beginning = begun(plan, plan.spec, folder, resume, fail_fast, skip_damaged)
    with beginning as (plan, store, _):
        done, total = count_existing(plan, store)
        existing = done, total, "outcomes"
        settings = notes_on_settings(plan, in_full=verbose)
        notes = [*notes_on_models(plan), *settings, *plan.dataset.notes]
        print_start(folder, plan.size, [existing], notes, quiet)
        with progress_bar(total, quiet) as progress:
            failures = executor(plan, store, progress, fail_fast)
        data = plan.dataset
        results = Results(store, plan.shards, TASKS[data.task], len(data.classes))
        return conclude(plan, results, failures, started, beside)


def conclude(
    prepared: Prepared,
    results: Results,
    failures: dict[str, str],
    started: datetime,
    beside: Beside | None = None,
) -> Result:
    """Write records, tables and headline of the cells, which are done or have failed."""
    dismiss()  # the processes that decode images
    store = results.store
    with STOPWATCH.part("records"):
        records = cell_records(prepared, results, failures)
        store.write_cells(records)
    with STOPWATCH.part("analyses"):
        tables = token_tables(prepared, records, results)
    with STOPWATCH.part("statistics"):
        requested = requested_methods(prepared.methods)
        statistics = compute_statistics(records, results, prepared.spec, requested)
        tables |= paired_tables(prepared, records, results, statistics)
        if beside is not None:
            tables |= beside(prepared, records, results)
        headline = comparison_headline(prepared, statistics, tables, store.halved())
        write_analyses(store, tables, headline)
    store.write_dataset(dataset_record(prepared))
    store.write_environment(
        environment() | resource_usage(started) | execution_record(prepared, store)
    )
    blind = []
    for part in statistics:
        blind += [at.blind for at in part.budgets if at.blind]
    shown = [record for record in records if record.shown]
    further = [record for record in records if not record.shown]
    by_tokens = plain_rows(tables["token_matched"])
    schedules = read_schedules_table(tables["schedules"])
    return Result(shown, further, headline, failures, blind, by_tokens, schedules)


def plain_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table as plain values, None where there is none."""
    return table.astype(object).where(table.notna(), None).to_dict("records")

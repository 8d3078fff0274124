"""Run a tuning from its settings to tables of tries on disk: prepare, execute, collect."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from suite.analysis.records import cell_records
from suite.data.loading.loader import dismiss
from suite.execution.begin import begun
from suite.execution.choose import Executor
from suite.execution.local import execute
from suite.execution.provenance import dataset_record, execution_record
from suite.execution.shards import count_existing
from suite.plan.cells import DENSE
from suite.plan.notes import notes_on_weights
from suite.plan.run_time import estimate_seconds
from suite.store.results import Results
from suite.store.schema import TASKS, CellRecord
from suite.system.durations import duration
from suite.system.environment import environment, resource_usage
from suite.system.stopwatch import STOPWATCH
from suite.terminal.progress import print_start, progress_bar
from suite.tries.files import file_name, write_tries
from suite.tries.table import Tries
from suite.tune.collect import collect
from suite.tune.prepare import Tuning, prepare_tuning
from suite.tune.spec import TuneSpec


@dataclass(frozen=True)
class Tuned:
    """A finished tuning.

    ``tuning``    what it was, with its notes
    ``tables``    the tries of each backbone, ``files`` where they are stored, likewise
    ``dense``     accuracy of each unreduced backbone on the same images; None if it failed
    ``failures``  the reasons of the cells that failed, by key
    """

    tuning: Tuning
    tables: list[Tries]
    files: list[Path]
    dense: dict[str, float | None]
    failures: dict[str, str]


def run_tuning(
    spec: TuneSpec,
    folder: Path,
    quiet: bool = False,
    resume: bool = True,
    fail_fast: bool = False,
    skip_damaged: bool = False,
    executor: Executor = execute,
    verbose: bool = False,
) -> Tuned:
    """Run or resume the tuning in `folder`.

    Unless `quiet` it says what it begins with, and if `verbose` also how many tries methods have.

    UserError before anything ran if it cannot start. StoppedError at the first cell that fails if
    `fail_fast`, and if the device is lost.
    """
    started = datetime.now(UTC)
    STOPWATCH.reset()
    tuning = prepare_tuning(spec)
    beginning = begun(tuning.prepared, spec, folder, resume, fail_fast, skip_damaged)
    with beginning as (plan, store, _):
        tuning = replace(tuning, prepared=plan)
        done, total = count_existing(plan, store)
        about = tuning.notes if verbose else tuning.warnings
        notes = [*notes_on_weights(plan), *about, *plan.dataset.notes]
        if done < total and not quiet:
            left = estimate_seconds(plan) * (1 - done / total)
            notes.append(f"about {duration(left)} to go on this machine, kernels compiled")
        print_start(folder, plan.size, [(done, total, "outcomes")], notes, quiet)
        with progress_bar(total, quiet) as progress:
            failures = executor(plan, store, progress, fail_fast)
        data = plan.dataset
        results = Results(store, plan.shards, TASKS[data.task], len(data.classes))
        return conclude(tuning, results, failures, started)


def conclude(
    tuning: Tuning, results: Results, failures: dict[str, str], started: datetime
) -> Tuned:
    """Write the records of all cells, which are done or have failed, and the tables of tries."""
    dismiss()  # the processes that decode images
    store = results.store
    with STOPWATCH.part("records"):
        records = cell_records(tuning.prepared, results, failures)
        store.write_cells(records)
    with STOPWATCH.part("tries"):
        tables = collect(tuning, records, results)
        files = [store.folder / file_name(table.backbone) for table in tables]
        for table, file in zip(tables, files, strict=True):
            write_tries(table, file)
    store.write_dataset(dataset_record(tuning.prepared))
    usage = resource_usage(started)
    store.write_environment(environment() | usage | execution_record(tuning.prepared, store))
    return Tuned(tuning, tables, files, dense_accuracy(records), failures)


def dense_accuracy(records: Iterable[CellRecord]) -> dict[str, float | None]:
    """Accuracy of each unreduced backbone; None if it failed."""
    accuracies = {}
    for record in records:
        if record.method == DENSE.name:
            found = record.metrics.accuracy if record.metrics else None
            accuracies[record.backbone] = found
    return accuracies

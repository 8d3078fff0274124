"""Reproduce a published table: one comparison, and its cells beside the values of the source."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from backbones.common.errors import UserError
from suite.comparison import Result, run_comparison
from suite.execution.choose import Executor
from suite.execution.local import execute
from suite.plan.prepare import Prepared, prepare
from suite.reproduce.rows import reproduced_table
from suite.reproduce.spec import ReproduceSpec
from suite.reproduce.table import PublishedTable
from suite.store.results import Results
from suite.store.schema import CellRecord


def run_reproduction(
    spec: ReproduceSpec,
    folder: Path,
    quiet: bool = False,
    resume: bool = True,
    fail_fast: bool = False,
    skip_damaged: bool = False,
    executor: Executor = execute,
    verbose: bool = False,
    *,
    table: PublishedTable,
) -> Result:
    """Run or resume the comparison of `table` in `folder`, and store its table ``reproduced``.

    UserError before anything ran if it cannot start.
    """
    if not spec.data:
        raise UserError(
            f"{table.name} is on {table.data}: give its place, --data {table.data}:PATH, or see "
            "its cells without weights and data by --plan"
        )
    # Its cells alone: the schedules and token counts of others are other questions.
    prepared = prepare(table.run_spec(spec), further=False)
    return run_comparison(
        prepared.spec,
        folder,
        quiet,
        resume,
        fail_fast,
        skip_damaged,
        executor,
        prepared,
        beside=partial(_beside, table),
        verbose=verbose,
    )


def _beside(
    table: PublishedTable, prepared: Prepared, records: Sequence[CellRecord], results: Results
) -> dict[str, pd.DataFrame]:
    return {"reproduced": reproduced_table(table, prepared, records, results)}


def default_name(table: PublishedTable, spec: ReproduceSpec) -> str:
    """Folder name of a table's run; equal settings always give the same folder."""
    run = table.run_spec(spec)
    return f"reproduce-{table.name}-{run.images}-{run.digest()}"


def read_reproduced(folder: Path) -> pd.DataFrame:
    """The table ``reproduced`` of a finished run."""
    return pd.read_parquet(folder / "analyses" / "reproduced.parquet")

"""What a published table adds to a comparison: its plan, its own table, and the name of its run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from backbones.common.errors import UserError
from suite.plan.prepare import Prepared, prepare
from suite.reproduce.rows import reproduced_table
from suite.reproduce.spec import ReproduceSpec
from suite.reproduce.table import PublishedTable
from suite.store.results import Results
from suite.store.schema import CellRecord


def prepare_reproduction(table: PublishedTable, spec: ReproduceSpec) -> Prepared:
    """Plan the comparison of `table`; UserError if it cannot start."""
    if not spec.data:
        raise UserError(
            f"{table.name} is on {table.data}: give its place, --data {table.data}:PATH, or see "
            "its cells without weights and data by --plan"
        )
    # Its cells alone: the schedules and token counts of others are other questions.
    return prepare(table.run_spec(spec), further=False)


def beside(
    table: PublishedTable, prepared: Prepared, records: Sequence[CellRecord], results: Results
) -> dict[str, pd.DataFrame]:
    """The table ``reproduced`` by its name, which a run stores beside those of a comparison."""
    return {"reproduced": reproduced_table(table, prepared, records, results)}


def default_name(table: PublishedTable, spec: ReproduceSpec) -> str:
    """Folder name of a table's run; equal settings always give the same folder."""
    run = table.run_spec(spec)
    return f"reproduce-{table.name}-{run.images}-{run.digest()}"


def read_reproduced(folder: Path) -> pd.DataFrame:
    """The table ``reproduced`` of a finished run."""
    return pd.read_parquet(folder / "analyses" / "reproduced.parquet")

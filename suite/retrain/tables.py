"""Tables of a retraining, which a run stores beside those of every comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from suite.comparison import plain_rows
from suite.plan.prepare import Prepared
from suite.retrain.files import Finished
from suite.retrain.recovery import recovery_tables
from suite.store.results import Results
from suite.store.schema import TABLES, CellRecord

RETRAINING_TABLES = ("retrained", "retrained_contrasts", "retrained_ranking", "retraining_rates")


def rows_in(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The rows of these tables of the run in `folder`, by name."""
    rows = {}
    for name in RETRAINING_TABLES:
        path = folder / "analyses" / f"{name}.parquet"
        # Without rows there is no table, as where every cell has failed.
        rows[name] = plain_rows(pd.read_parquet(path)) if path.is_file() else []
    return rows


def retraining_tables(
    finished: Mapping[str, Finished],
    prepared: Prepared,
    records: Sequence[CellRecord],
    results: Results,
) -> dict[str, pd.DataFrame]:
    """What was won back, and how each training went."""
    return {
        **recovery_tables(records, results),
        "retraining_curve": curve_table(finished),
        "retraining_rates": rates_table(finished),
    }


def curve_table(finished: Mapping[str, Finished]) -> pd.DataFrame:
    """Loss and top-1 on the training images, by training and epoch."""
    rows = []
    for name, one in finished.items():
        for epoch, (loss, top1) in enumerate(one.curve, start=1):
            rows.append({"training": name, "epoch": epoch, "loss": loss, "trained_top1": top1})
    return pd.DataFrame(rows, columns=list(TABLES["retraining_curve"].columns))


def rates_table(finished: Mapping[str, Finished]) -> pd.DataFrame:
    """What the held-out images say of each learning rate, by training; empty of a single rate."""
    rows = []
    for name, one in finished.items():
        for tried in one.tried:
            rows.append(
                {
                    "training": name,
                    "learning_rate": tried.learning_rate,
                    "held_out_loss": tried.loss,
                    "held_out_top1": tried.top1,
                    "held_out_images": tried.images,
                    "picked": tried.learning_rate == one.retrained.learning_rate,
                }
            )
    return pd.DataFrame(rows, columns=list(TABLES["retraining_rates"].columns))

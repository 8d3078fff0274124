"""Tables of the tokens themselves: which are kept, and how many of them show the object."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from suite.plan.prepare import Prepared
from suite.store.results import Results
from suite.store.schema import CellRecord


def reduced_cells(records: Iterable[CellRecord]) -> list[CellRecord]:
    """The finished cells in which tokens are removed."""
    return [record for record in records if record.status == "ok" and record.removals]


def kept_table(prepared: Prepared, results: Results, records: Sequence[CellRecord]) -> pd.DataFrame:
    """Share of images that keep the token of each patch, by block, of cells that reduce.

    For clips it is the mean over their frames.
    """
    frames = []
    for record in records:
        counts = patch_counts(prepared, results, record)
        patches = counts.groupby(["block", "row", "col"], as_index=False)["present"].mean()
        kept = patches.present / prepared.samples
        frames.append(patches[["block", "row", "col"]].assign(**cell_columns(record), kept=kept))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def foreground_table(
    prepared: Prepared, results: Results, records: Sequence[CellRecord]
) -> pd.DataFrame:
    """Shares of object tokens and of all tokens left, by block, of cells that reduce.

    Empty if the data set does not know where objects are.
    """
    rows = []
    for record in records:
        counts = patch_counts(prepared, results, record)
        if (counts.foreground < 0).any():
            continue
        left = counts.groupby("block")[["foreground", "present"]].sum()
        # block 0 is before any reduction: shares of what there was
        for block, share in (left / left.loc[0]).iterrows():
            rows.append(
                {
                    **cell_columns(record),
                    "block": block,
                    "foreground_kept": share.foreground,
                    "kept": share.present,
                    "images": len(prepared.indices),
                }
            )
    return pd.DataFrame(rows)


def patch_counts(prepared: Prepared, results: Results, record: CellRecord) -> pd.DataFrame:
    """Counts of one cell by block and patch, for clips frame by frame.

    Columns block (0: before any reduction), row, col, present, foreground.
    """
    model = prepared.models[record.backbone]
    special = np.array(model.special_places)
    counts = results.token_counts(record.key)
    counts = counts[~counts.position.isin(special)]
    # Special tokens have positions of their own between those of the patches.
    before = special[None, :] < counts.position.to_numpy()[:, None]
    patch = counts.position - before.sum(1)
    side = model.describe().side
    assert side is not None
    # Modulo the side: the frames of a clip follow one another and share rows.
    grid = counts.assign(row=patch // side % side, col=patch % side)
    return grid.drop(columns="position")


def cell_columns(record: CellRecord) -> dict[str, Any]:
    """The columns by which a table names a cell."""
    return {
        "backbone": record.backbone,
        "label": record.label,
        "budget": record.budget,
        "seed": record.seed,
    }

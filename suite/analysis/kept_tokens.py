"""Tables about the tokens themselves, from the counts that the shards keep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from suite.plan.cells import Cell
from suite.plan.prepare import Prepared
from suite.store.run_folder import Store, slices


def kept_frame(prepared: Prepared, store: Store, cells: Sequence[Cell]) -> pd.DataFrame:
    """Share of images in which the token of each grid place survives into each block after a reduction.

    In clips the mean of a place over the frames.
    """
    frames = []
    for cell in reduced(cells):
        places = (
            patch_counts(prepared, store, cell)
            .groupby(["block", "row", "col"], as_index=False)["present"]
            .mean()
        )
        frames.append(
            places[["block", "row", "col"]].assign(
                **_names(cell), kept=places.present / prepared.samples
            )
        )
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def foreground_frame(prepared: Prepared, store: Store, cells: Sequence[Cell]) -> pd.DataFrame:
    """By cell and block, the share of object tokens and of all patch tokens left; empty if no objects are known."""
    rows = []
    for cell in reduced(cells):
        counts = patch_counts(prepared, store, cell)
        if (counts.foreground < 0).any():
            continue
        left = counts.groupby("block")[["foreground", "present"]].sum()
        shares = left / left.loc[0]
        for block, share in shares.iterrows():
            rows.append(
                {
                    **_names(cell),
                    "block": block,
                    "foreground_kept": share.foreground,
                    "kept": share.present,
                    "images": len(prepared.indices),
                }
            )
    return pd.DataFrame(rows)


def reduced(cells: Sequence[Cell]) -> list[Cell]:
    """The cells in which tokens are removed."""
    return [cell for cell in cells if cell.plan is not None and cell.plan.counts]


def patch_counts(prepared: Prepared, store: Store, cell: Cell) -> pd.DataFrame:
    """Counts of one cell on the grid, by frame: block (0: before any reduction), row, col, present, foreground."""
    counts = store.presence(cell.key, len(slices(prepared.indices, prepared.spec.shard_size)))
    model = prepared.models[cell.backbone]
    special = np.array(model.special_places)
    counts = counts[~counts.position.isin(special)]
    patch = counts.position - (special[None, :] < counts.position.to_numpy()[:, None]).sum(1)
    side = model.describe().side
    assert side is not None
    return counts.assign(row=patch // side % side, col=patch % side).drop(columns="position")


def _names(cell: Cell) -> dict[str, Any]:
    return {
        "backbone": cell.backbone,
        "label": cell.label,
        "budget": cell.budget,
        "seed": cell.seed,
    }

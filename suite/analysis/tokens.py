"""Tables of single tokens and images: kept tokens, overlap of methods, first errors, gallery."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from suite.analysis.gallery import gallery_tables
from suite.analysis.similarity import Answered, similarity_tables
from suite.plan.prepare import Prepared
from suite.stats.overlap import mean_iou
from suite.store.results import Alive, Results
from suite.store.schema import CLASSIFICATION, SEGMENTATION, TABLES, CellRecord

PER_METHOD = 16  # first errors of each method
READ = ("image", "label_true", "prediction", "kl")
PATCH = ["block", "row", "col"]


def token_tables(
    prepared: Prepared, records: Sequence[CellRecord], results: Results
) -> dict[str, pd.DataFrame]:
    """All tables of single tokens and images of a comparison."""
    reducing = reduced_cells(records)
    dense = {name: cell.key for name, cell in prepared.dense.items()}
    errors = first_errors_table(dense, reducing, results)
    # Positions differ between whole pictures.
    counted = [r for r in reducing if prepared.data[r.backbone].inference != "whole"]
    tables = kept_tables(prepared, results, counted)

    def kept_patches(record: CellRecord) -> Alive:
        return results.alive(record.key, prepared.models[record.backbone].special_places)

    done = {record.key for record in records if record.status == "ok" and record.shown}
    cells = [cell for cell in prepared.cells if cell.key in done]
    return {
        **tables,
        "first_errors": errors,
        **similarity_tables(counted, kept_patches, answered_of(results)),
        **gallery_tables(prepared, cells, errors),
    }


def answered_of(results: Results) -> Callable[[CellRecord], Answered]:
    """Gives the images (n,) on which a cell is right; of segmentation the mean IoU of each."""
    if results.task == CLASSIFICATION:
        return lambda record: results.hits(record.key)[1]
    return lambda record: mean_iou(results.pixels(record.key)[1])


def reduced_cells(records: Iterable[CellRecord]) -> list[CellRecord]:
    """The finished cells of the tables in which tokens are removed."""
    done = [record for record in records if record.status == "ok" and record.shown]
    return [record for record in done if record.removals]


def kept_tables(
    prepared: Prepared, results: Results, records: Sequence[CellRecord]
) -> dict[str, pd.DataFrame]:
    """The tables ``kept_tokens`` and ``foreground`` of cells that reduce.

    The first has the share of images that keep the token of each patch, by block; for clips the
    mean over their frames. The second has the shares of object tokens and of all tokens left, and
    nothing of data that do not know where objects are.
    """
    kept, foreground = [pd.DataFrame()], []
    for record in records:
        cell = {name: getattr(record, name) for name in ("backbone", "label", "budget", "seed")}
        # Summed over images, so that large runs cost no memory.
        counts = patch_counts(prepared, results, record)
        patches = counts.groupby(PATCH, as_index=False)["present"].mean()
        kept.append(
            patches[PATCH].assign(**cell, kept=patches.present / prepared.samples(record.backbone))
        )
        if (counts.foreground < 0).any():
            continue
        # Relative to block 0, which no token has left yet.
        left = counts.groupby("block")[["foreground", "present"]].sum()
        for block, share in (left / left.loc[0]).iterrows():
            row = {"foreground_kept": share.foreground, "kept": share.present}
            foreground.append({**cell, "block": block, **row, "images": len(prepared.indices)})
    return {
        "kept_tokens": pd.concat(kept, ignore_index=True),
        "foreground": pd.DataFrame(foreground),
    }


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


def first_errors_table(
    dense: Mapping[str, str],
    records: Iterable[CellRecord],
    results: Results,
) -> pd.DataFrame:
    """For each method the `PER_METHOD` images on which it goes wrong first, and at which budget.

    First is at the smallest budget, and there with the largest divergence from the dense model; the
    rows are in this order. `dense` gives the key of each backbone's dense cell, `records` are the
    cells that reduce. Of segmentation see `largest_falls`.
    """
    columns = list(TABLES["first_errors"].columns)
    members: dict[tuple[str, str], list[CellRecord]] = {}
    for record in records:
        # The first seed stands for all.
        if record.budget is not None and record.seed == 0:
            members.setdefault((record.backbone, record.label), []).append(record)
    frames = []
    for (backbone, label), cells in members.items():
        if results.task == SEGMENTATION:
            cell = min(cells, key=lambda cell: cell.budget or 0.0)
            first = largest_falls(dense[backbone], cell, results)
            frames.append(first.assign(backbone=backbone, label=label))
            continue
        # Read again for each method, so that few outcomes are in memory at once.
        whole = results.outcomes(dense[backbone], READ)
        # Images that the dense model and every smaller budget get right.
        right_so_far = (whole.prediction == whole.label_true).to_numpy()
        errors: list[pd.DataFrame] = []
        for record in sorted(cells, key=lambda cell: cell.budget or 0.0):
            rows = results.outcomes(record.key, READ)
            right = (rows.prediction == rows.label_true).to_numpy()
            wrong = rows[right_so_far & ~right].nlargest(PER_METHOD, "kl")
            errors.append(wrong[["image", "kl"]].assign(budget=record.budget))
            # An image counts at the first budget that breaks it, even if a larger one is right.
            right_so_far = right_so_far & right
        # Budgets ascend, so the head is what goes wrong first.
        first = pd.concat(errors).head(PER_METHOD)
        frames.append(first.assign(backbone=backbone, label=label))
    if not frames:
        return pd.DataFrame(columns=columns)
    return pd.concat(frames, ignore_index=True)[columns]


def largest_falls(dense: str, cell: CellRecord, results: Results) -> pd.DataFrame:
    """The `PER_METHOD` images whose mean IoU falls most below the dense model's, the worst first.

    No image is right or wrong there, and nearly all fall at any budget: `cell` is the one of the
    smallest, `dense` the key of the whole model's.
    """
    whole, reduced = (mean_iou(results.pixels(key)[1]) for key in (dense, cell.key))
    rows = results.outcomes(cell.key, ("image", "kl")).assign(fall=whole - reduced)
    fallen = rows[rows["fall"] > 0].nlargest(PER_METHOD, "fall")
    return fallen.assign(budget=cell.budget)

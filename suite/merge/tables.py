"""The tables of a merged report: what depends on pairs of cells is computed again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from backbones import BACKBONES, without_weights
from backbones.base import Backbone
from suite.analysis.class_ious import class_iou_tables
from suite.analysis.mamba_vs_attention import mamba_vs_attention_tables, mixer_of
from suite.analysis.similarity import similarity_tables
from suite.analysis.tokens import answered_of, first_errors_table, reduced_cells
from suite.analysis.write import Tables
from suite.merge.finished_run import FinishedRun, is_dense
from suite.merge.namesakes import tables_of
from suite.merge.union import Union
from suite.store.results import Alive, Results
from suite.store.schema import CellRecord

AGAIN = {
    "statistics",
    "ahead",
    "ahead_of_each",
    "blind_comparison",
    "ranking",
    "first_errors",
    "token_overlap",
    "method_similarity",
    "mantel_test",
    "mamba_vs_attention",
    "mamba_minus_attention",
    "schedules",
    "schedule_accuracy",
    "retrained",
    "retrained_contrasts",
    "retrained_ranking",
}
# Tables whose rows name a cell, of which the union has one run's alone.
OF_CELLS = {"kept_tokens", "foreground", "gallery"}
# Tables in which several runs may have the same row, and the columns that identify it.
IDENTITY = {
    "token_matched": ["backbone", "budget", "label", "schedule", "cls_window", "reference"],
    "reproduced": ["name", "backbone", "method", "budget", "quantity"],
    "images": ["image"],
    "retraining_curve": ["training", "epoch"],
    "retraining_rates": ["training", "learning_rate"],
    "ablation": ["axis", "backbone", "method", "budget", "setting"],
    "ablation_sentences": ["axis", "backbone", "method", "budget"],
}
CELL = ["backbone", "label", "budget", "seed"]


def joined_tables(runs: Sequence[FinishedRun], union: Union) -> Tables:
    """The tables that are those of the runs one below the other."""
    parts: dict[str, list[pd.DataFrame]] = {}
    for run in runs:
        for name, frame in tables_of(run).items():
            if name in OF_CELLS:
                frame = rows_of_union(frame, run, union)
            if name not in AGAIN:
                parts.setdefault(name, []).append(frame)
    tables = {}
    for name, frames in parts.items():
        # Empty frames would turn whole numbers into floats.
        table = pd.concat([frame for frame in frames if len(frame)] or frames, ignore_index=True)
        if name in IDENTITY:
            table = table.drop_duplicates(IDENTITY[name], ignore_index=True)
        tables[name] = common_images(table) if name == "gallery" else table
    return tables


def rows_of_union(frame: pd.DataFrame, run: FinishedRun, union: Union) -> pd.DataFrame:
    """The rows of those cells that the union has from `run`, under the union's labels."""
    rows = []
    for key, record in union.cells.items():
        # Cells that no table shows have names that others may have, too.
        if union.source[key] is run and record.shown:
            label = union.labels[key]
            rows.append((record.backbone, label, record.budget, record.seed, record.label))
    # Matched by the label in the run itself, which may be another one in the union.
    names = pd.DataFrame(rows, columns=[*CELL, "_label"]).astype({"budget": "float64"})
    kept = frame.merge(names, on=CELL, how="inner")
    return kept.assign(label=kept["_label"])[frame.columns.tolist()]


def common_images(gallery: pd.DataFrame) -> pd.DataFrame:
    """The rows of the images that are there under every cell of their backbone."""
    kept = []
    for _, rows in gallery.groupby("backbone", sort=False):
        # Runs draw their pictures apart; the page compares all cells on one picture.
        images = rows.groupby(CELL[1:], sort=False)["image"].agg(set)
        kept.append(rows[rows["image"].isin(set.intersection(*images))])
    return pd.concat(kept, ignore_index=True) if kept else gallery


def tables_of_pairs(union: Union, results: Results) -> Tables:
    """The tables that depend on pairs of cells, whichever runs these are from."""
    records = list(union.cells.values())
    dense = {record.backbone: record.key for record in records if is_dense(record)}
    reducing = [record for record in reduced_cells(records) if record.backbone in dense]
    models = shapes(dict.fromkeys(record.backbone for record in records if record.shown))

    def kept_patches(record: CellRecord) -> Alive:
        special = models[record.backbone].special_places
        return union.source[record.key].alive(record, special)

    known = [record for record in reducing if record.backbone in models]
    mixers = {name: mixer_of(model) for name, model in models.items()}
    return {
        "first_errors": first_errors_table(dense, reducing, results),
        **similarity_tables(known, kept_patches, answered_of(results)),
        **mamba_vs_attention_tables(mixers, records, results),
        **class_iou_tables(records, results),
    }


def shapes(names: Iterable[str]) -> dict[str, Backbone]:
    """Those backbones that are registered here, without weights."""
    # A run may be from where there are others.
    known = [name for name in names if name.partition("[")[0] in BACKBONES]
    return {name: without_weights(name) for name in known}

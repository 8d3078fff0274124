"""Export what is known of a run's cells as one flat table: settings, metrics, FLOPs, provenance.

`COLUMNS` is the data dictionary, made from `suite.store.schema`; docs/export.md has it in full.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd

from backbones.common.documents import inside
from backbones.common.errors import UserError
from reports import sections
from reports.aggregate import STATISTICS
from reports.formatting import markdown
from reports.report_data import ReportData
from reports.run import KINDS, Row, Run, json_object, load, mapping, outcomes
from reports.tables import csv, results_md, results_tex
from suite.stats.metric import MIOU
from suite.store.schema import (
    MEANINGS,
    SHOWN,
    TASKS,
    CellRecord,
    ClassificationMetrics,
    SegmentationMetrics,
    described,
)

FORMATS = ("csv", "parquet", "json", "latex", "markdown")
# Lists and objects: JSON texts in CSV and Parquet.
NESTED = ("options", "composition", "removals", "lengths", "adaptive", "sites")

# Columns and their meaning, by the part of the run folder that has the values.
RECORD = described(CellRecord)
METRICS = described(ClassificationMetrics) | described(SegmentationMetrics)
# These have columns by kind, by convention or by metric.
SPLIT = {"run", "flops", "total", "removed", "metrics"}
FROM_CELL = {name: text for name, text in RECORD.items() if name not in SPLIT}
FLOPS = {
    "gemm": "multiply-accumulates of matrix products, of one image",
    "conv": "multiply-accumulates of convolutions, of one image",
    "scan": "FLOPs of the selective scan, both directions, of one image",
    "elementwise": "elementwise operations of one image; in no total",
    "reduction": "FLOPs of the method's own work, of one image",
}
TOTALS = {
    "flops": "2 x (gemm + conv) + scan + reduction",
    "macs": "gemm + conv + scan + reduction, the last two as counted under this convention",
    "paper": "as papers on vision Mamba print it: one scan direction, mixed units",
}
# Columns of the table `statistics`, whose top-1 is of all seeds: the cell's own is of one.
PAIRED = {"top1_mean": "top1", **{name: name for name in STATISTICS}}
TIMING = {
    "seconds": "seconds an image, or clip, median, where `bench` timed the cell",
    "images_per_second": "images a second, likewise",
    "reduction_share": "share of that time that the method's own work takes",
}
SETTINGS = {
    "sites": "blocks before which tokens may go, where they were named",
    "batch_size": "images a batch",
    "shard_size": "images a shard",
    "threads_asked": "CPU threads asked for; 0: all cores",
    "kernel_asked": "selective-scan kernel asked for",
    "device_asked": "device asked for",
}
PROVENANCE = {
    "data_hash": "hash of the data set's manifest",
    "kernel": "selective-scan kernel that ran",
    "device": "device that it ran on",
    "gpu": "name of the GPU",
    "cpu": "name of the processor",
    "threads": "CPU threads used",
    "matmul_precision": "PyTorch's precision of fp32 matrix products (TF32 or not)",
    "suite": "version of the suite",
    "git": "commit of its checkout",
    "torch": "version of PyTorch",
    "python": "version of Python",
    "started": "when the run began, ISO 8601",
    "finished": "when it ended",
}
COLUMNS: dict[str, str] = {
    "run": "name of the run's folder",
    **FROM_CELL,
    **METRICS,
    **{f"{kind}_count": text for kind, text in FLOPS.items()},
}
for _name, _text in TOTALS.items():
    COLUMNS[f"total_{_name}"] = f"total of one image by the convention `{_name}`: {_text}"
for _name in TOTALS:
    COLUMNS[f"removed_{_name}"] = f"share of the dense total removed, by the convention `{_name}`"
for _name, _stored in PAIRED.items():
    COLUMNS[_name] = MEANINGS[_stored]
    if MIOU.column_of(_name) != _name:
        COLUMNS[_name] += f"; of segmentation the column `{MIOU.column_of(_name)}`"
COLUMNS |= TIMING | SETTINGS | PROVENANCE
CELL = ("run", "key", "backbone", "label", "role", "schedule", "cls_window", "budget", "seed")
IMAGE_COLUMNS = {name: COLUMNS[name] for name in CELL}
for _task in TASKS.values():
    IMAGE_COLUMNS |= _task.outcomes


def cell_rows(folder: Path) -> list[Row]:
    """One row a cell of the run in `folder`, with `COLUMNS`; None where nothing is known.

    UserError if it is no run, is damaged, or has no cells.
    """
    run = _with_cells(folder)
    statistics = {}
    for row in run.statistics.to_dict("records"):
        statistics[row["backbone"], row["label"], _known(row["budget"])] = row
    rows = []
    for path in sorted((folder / "cells").glob("*.json")):
        cell = json_object(inside(path, folder))
        identity = cell.get("backbone"), cell.get("label"), _known(cell.get("budget"))
        # Cells that no table shows have names that others may have, too.
        shown = cell.get("status") == "ok" and cell.get("role", SHOWN[0]) in SHOWN
        paired = statistics.get(identity, {}) if shown else {}
        rows.append(_row(run, cell, paired))

    def order(row: Row) -> tuple[Any, ...]:
        setting = row["role"] or "", row["schedule"] or "", row["cls_window"] or 0
        return row["backbone"], row["label"], row["budget"] or 0.0, setting, row["seed"] or 0

    return sorted(rows, key=order)


def _with_cells(folder: Path) -> Run:
    """Read the run in `folder`; UserError if it has no cells, as `sensitivity` and `bench`."""
    if any((folder / "cells").glob("*.json")):
        return load(folder)
    # One that is not finished is refused for that.
    load(folder, sections.needed())
    raise UserError(
        f"'{folder}' has no cells, but tables of its own: `python -m suite report {folder}` writes "
        f"these to {folder / 'report' / 'tables'}"
    )


def _row(run: Run, cell: Row, paired: Mapping[Any, Any]) -> Row:
    """The columns of one cell; of a merged report those of the cell's own run."""
    name = str(cell.get("run") or run.name)
    own = mapping(mapping(run.environment.get("runs")).get(name))
    environment = {**run.environment, **own}
    spec = mapping(mapping(run.spec.get("runs")).get(name)) or run.spec
    cells = run.every_cell
    timing = cells.loc[cells["key"] == cell.get("key"), list(TIMING)].iloc[0]
    metrics, flops = mapping(cell.get("metrics")), mapping(cell.get("flops"))
    totals, removed = mapping(cell.get("total")), mapping(cell.get("removed"))
    row: Row = {"run": name}
    row |= {field: cell.get(field) for field in FROM_CELL}
    row |= {field: metrics.get(field) for field in METRICS}
    row |= {f"{kind}_count": flops.get(kind) for kind in KINDS}
    row |= {f"total_{field}": totals.get(field) for field in TOTALS}
    row |= {f"removed_{field}": removed.get(field) for field in TOTALS}
    for field, stored in PAIRED.items():
        row[run.metric.column_of(field)] = _known(paired.get(stored))
    row |= {field: _known(timing[field]) for field in TIMING}
    row |= {field: spec.get(field.removesuffix("_asked")) for field in SETTINGS}
    row |= {field: environment.get(field) for field in PROVENANCE}
    row["data_hash"] = run.dataset.get("hash")
    row["kernel"] = mapping(environment.get("kernel")).get(str(cell.get("backbone")))
    return row


def image_rows(folder: Path) -> Iterator[pd.DataFrame]:
    """Outcomes of every finished cell of the run in `folder`, with `IMAGE_COLUMNS`."""
    run = _with_cells(folder)
    cells = run.every_cell
    for cell in cells[cells["status"] == "ok"].to_dict("records"):
        frame = outcomes(run, cell["key"])
        if len(frame):
            names = {name: cell[name] for name in CELL[1:]}
            rows = frame.assign(run=run.name, **names).reindex(columns=list(IMAGE_COLUMNS))
            # The column is a number like any other, so that it can be missing.
            yield rows.assign(seed=rows["seed"].round().astype("Int64"))


def write(folders: Sequence[Path], form: str, images: bool, stream: BinaryIO) -> None:
    """Write the cells of runs, or their `images`, to `stream` as one of `FORMATS`.

    LaTeX and Markdown are the report's table of results, one run below the other. UserError for a
    folder that is no run.
    """
    if form in ("latex", "markdown"):
        tables = [printed_table(ReportData.of(_with_cells(folder)), form) for folder in folders]
        stream.write("\n".join(tables).encode())
        return
    if images:
        frames: list[pd.DataFrame] = []
        for folder in folders:
            frames += image_rows(folder)
        if not frames:
            raise UserError("the runs hold no outcomes of images: their shards/ are gone")
        frame = pd.concat(frames, ignore_index=True)
    else:
        rows: list[Row] = []
        for folder in folders:
            rows += cell_rows(folder)
        if form == "json":
            # Nested values stay nested.
            text = json.dumps(rows, indent=1, allow_nan=False, ensure_ascii=False)
            stream.write(f"{text}\n".encode())
            return
        frame = flat(rows)
    if form == "parquet":
        frame.to_parquet(stream, index=False, compression="zstd")
    elif form == "json":
        frame.to_json(stream, orient="records", double_precision=15)
    else:
        stream.write(csv(frame).encode())


def printed_table(report: ReportData, form: str) -> str:
    """The results of one run as a reader sees them, seeds averaged."""
    if form == "latex":
        return results_tex(report.frame, report.run.convention, report.caption)
    return f"{markdown(report.caption)}\n\n{results_md(report.frame, report.run.convention)}"


def flat(rows: Sequence[Row]) -> pd.DataFrame:
    """`rows` as a table of plain values, nested ones as JSON text."""
    plain = []
    for row in rows:
        texts = {}
        for name in NESTED:
            if row[name] is not None:
                texts[name] = json.dumps(row[name], sort_keys=True)
        plain.append(row | texts)
    # A column of the paired statistics is named by the task.
    names: list[str] = []
    for name in COLUMNS:
        names += dict.fromkeys((name, MIOU.column_of(name))) if name in PAIRED else [name]
    present = set[str]().union(*rows)
    columns = [name for name in names if name in present]
    frame = pd.DataFrame(plain, columns=columns, dtype=object)
    for name in frame.columns:
        # Types that have a missing value: whole numbers stay whole.
        kinds = {type(value) for value in frame[name] if value is not None}
        dtype = "string"
        if kinds == {int}:
            dtype = "Int64"
        elif kinds and kinds <= {int, float}:
            dtype = "Float64"
        elif kinds == {bool}:
            dtype = "boolean"
        frame[name] = frame[name].astype(dtype)
    return frame


def _known(value: Any) -> Any:
    """Return `value`, or None if it is no number."""
    return None if isinstance(value, float) and not math.isfinite(value) else value

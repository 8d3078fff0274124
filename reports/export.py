"""All that is known of a run's cells as one flat table: settings, metrics, FLOPs, intervals, provenance.

`COLUMNS` is the data dictionary; docs/export.md is printed from it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd

from backbones.common.documents import inside
from backbones.common.errors import UserError
from reports import sections
from reports.formatting import markdown
from reports.report_data import Sheet
from reports.run import KINDS, Run, json_object, load, mapping, outcomes
from reports.tables import inert, results_md, results_tex

Row = dict[str, Any]
FORMATS = ("csv", "parquet", "json", "latex", "markdown")
NESTED = (
    "options",
    "composition",
    "counts",
    "lengths",
    "sites",
)  # lists and objects; JSON texts in CSV and Parquet

# Column: where its value lies, by the part of the run folder, and what it is.
FROM_CELL = {
    "key": "name of the cell on disk: a hash of all that its result depends on",
    "status": "`ok`, `skipped` or `failed`",
    "reason": "why it was skipped or failed",
    "backbone": "backbone, with its settings in brackets",
    "checkpoint": "weights as they were asked for",
    "dataset": "data set as it was asked for",
    "split": "split of the data",
    "images": "number of images (or videos)",
    "method": "name of the method; `none` is the dense model",
    "label": "canonical method texts of the cell, those that mean the same joined by ` = `",
    "spec": "the first of them",
    "title": "the method's title",
    "family": "what kind of method it is; `baseline` for the trivial ones",
    "stochastic": "whether the result depends on the seed",
    "options": "options that differ from the method's defaults",
    "composition": "the parts that the method is made of, defaults filled in",
    "protocol": "`matched`, `tokens` or `paper`",
    "convention": "FLOPs convention of the budget",
    "precision": "number format of weights and activations",
    "image_size": "side of the square image, pixels",
    "budget": "share of the backbone's FLOPs to remove, in [0, 1); empty for the dense model",
    "seed": "seed of a stochastic method, else 0",
    "counts": "tokens removed before each block, by block number (0-based)",
    "lengths": "tokens that enter each block, special ones included",
    "token_ratio": "share of tokens removed, over all blocks, in [0, 1]",
}
METRICS = {
    "top1": "share of images whose class is named right, in [0, 1]",
    "top5": "share of images whose class is among the five best, in [0, 1]",
    "loss": "cross-entropy, nats, mean over images",
    "margin": "logit of the true class less the best other, mean over images",
    "agreement": "share of images with the dense model's answer, in [0, 1]",
    "kl": "KL(dense || cell), nats, mean over images",
    "tau": "Kendall's tau of the surviving tokens' order, in [-1, 1], mean over images",
    "dense_top1": "top-1 of the dense model on the same images, in [0, 1]",
}
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
STATISTICS = {
    "top1_mean": "top-1 of the method at this budget, seeds averaged",
    "top1_low": "lower end of its 95 % interval (Wilson)",
    "top1_high": "upper end of its 95 % interval (Wilson)",
    "reference": "label of the method that differences are taken to",
    "difference": "top1_mean less that of the reference, paired by image",
    "difference_low": "lower end of the difference's 95 % interval (bootstrap; of 2 to 4 seeds the envelope of each)",
    "difference_high": "upper end of it",
    "p": "two-sided p of the difference (McNemar's exact test, or sign flips over images where there are seeds)",
    "p_holm": "p after Holm's correction over the methods at this backbone and budget; empty where FLOPs differ",
    "significant": "whether that p is below 0.05 and the interval without zero: what the report marks as a difference",
    "only_method_correct": "images on which the method is right more often than the reference",
    "only_reference_correct": "images on which it is right less often",
}
TIMING = {
    "seconds": "seconds an image, median, where `bench` timed the cell",
    "images_per_second": "images a second, likewise",
    "reduction_share": "share of that time that the method's own work takes",
}
SETTINGS = {
    "sites": "blocks before which tokens may go, where they were named",
    "schedule": "shape over the sites, for methods whose text names none",
    "batch_size": "images a batch",
    "shard_size": "images a shard",
    "threads_asked": "CPU threads asked for; 0: all cores",
    "kernel_asked": "selective-scan kernel asked for",
    "device_asked": "device asked for",
}
PROVENANCE = {
    "data_hash": "hash of the data set's manifest",
    "weights_sha256": "SHA-256 of the weights, empty for untrained ones",
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
    **{
        f"total_{name}": f"total of one image by the convention `{name}`: {text}"
        for name, text in TOTALS.items()
    },
    **{
        f"removed_{name}": f"share of the dense total removed, by the convention `{name}`"
        for name in TOTALS
    },
    **STATISTICS,
    **TIMING,
    **SETTINGS,
    **PROVENANCE,
}
IMAGE_COLUMNS: dict[str, str] = {
    "run": COLUMNS["run"],
    "key": COLUMNS["key"],
    "backbone": COLUMNS["backbone"],
    "label": COLUMNS["label"],
    "budget": COLUMNS["budget"],
    "seed": COLUMNS["seed"],
    "image": "number of the image in its data set",
    "label_true": "number of its class",
    "prediction": "number of the class that was named",
    "top5": "whether its class is among the five best",
    "loss": "cross-entropy, nats",
    "margin": "logit of the true class less the best other",
    "agree": "whether the answer is the dense model's",
    "kl": "KL(dense || cell), nats",
    "tau": "Kendall's tau of the surviving tokens' order",
}


def cell_rows(folder: Path) -> list[Row]:
    """One row a cell of the run in `folder`, its columns `COLUMNS`; None where nothing is known.

    UserError if it is no run, is damaged, or has no cells.
    """
    run = _with_cells(folder)
    paired = {
        (row["backbone"], row["label"], _known(row["budget"])): row
        for row in run.statistics.to_dict("records")
    }
    rows = []
    for path in sorted((folder / "cells").glob("*.json")):
        cell = json_object(inside(path, folder))
        found = paired.get(
            (cell.get("backbone"), cell.get("label"), _known(cell.get("budget"))), {}
        )
        rows.append(_row(run, cell, found if cell.get("status") == "ok" else {}))
    return sorted(
        rows,
        key=lambda row: (row["backbone"], row["label"], row["budget"] or 0.0, row["seed"] or 0),
    )


def _with_cells(folder: Path) -> Run:
    """The run in `folder`; UserError for a finished one without cells, as `sensitivity` and `bench` leave it."""
    if any((folder / "cells").glob("*.json")):
        return load(folder)
    load(folder, sections.needed())  # which has another word for one that is not finished
    raise UserError(
        f"'{folder}' is finished and has tables, no cells to export: `python -m suite report {folder}` writes them to "
        f"{folder / 'report' / 'tables'}"
    )


def _row(run: Run, cell: Row, paired: Row) -> Row:
    name = str(cell.get("run") or run.name)
    environment = {**run.environment, **mapping(mapping(run.environment.get("runs")).get(name))}
    spec = mapping(mapping(run.spec.get("runs")).get(name)) or run.spec
    house = str(cell.get("backbone"))
    flops, totals, removed = (mapping(cell.get(field)) for field in ("flops", "total", "removed"))
    timing = run.cells.loc[run.cells["key"] == cell.get("key"), list(TIMING)].iloc[0]
    renamed = {"top1_mean": "top1"}  # the cell has a top1 of its own, that of one seed
    return {
        "run": name,
        **{field: cell.get(field) for field in FROM_CELL},
        **{field: mapping(cell.get("metrics")).get(field) for field in METRICS},
        **{f"{kind}_count": flops.get(kind) for kind in KINDS},
        **{f"total_{field}": totals.get(field) for field in TOTALS},
        **{f"removed_{field}": removed.get(field) for field in TOTALS},
        **{field: _known(paired.get(renamed.get(field, field))) for field in STATISTICS},
        **{field: _known(timing[field]) for field in TIMING},
        **{field: spec.get(field.removesuffix("_asked")) for field in SETTINGS},
        "data_hash": run.dataset.get("hash"),
        "weights_sha256": mapping(environment.get("weights")).get(house),
        "kernel": mapping(environment.get("kernel")).get(house),
        **{field: environment.get(field) for field in list(PROVENANCE)[3:]},
    }


def image_rows(folder: Path) -> Iterator[pd.DataFrame]:
    """Per-image outcomes of every finished cell of the run in `folder`, a frame each, its columns `IMAGE_COLUMNS`."""
    run = _with_cells(folder)
    for cell in run.cells[run.cells["status"] == "ok"].to_dict("records"):
        frame = outcomes(run, cell["key"])
        if len(frame):
            names = {name: cell[name] for name in ("key", "backbone", "label", "budget", "seed")}
            rows = frame.assign(run=run.name, **names).reindex(columns=list(IMAGE_COLUMNS))
            yield rows.assign(seed=rows["seed"].round().astype("Int64"))


def write(folders: Sequence[Path], form: str, images: bool, stream: BinaryIO) -> None:
    """Write the cells of the runs in `folders`, or with `images` their outcomes, to `stream` as one of `FORMATS`.

    LaTeX and Markdown are the report's table of results, one after the other. UserError for a
    folder that is no run.
    """
    if form in ("latex", "markdown"):
        printed = [printed_table(Sheet.of(_with_cells(folder)), form) for folder in folders]
        stream.write("\n".join(printed).encode())
        return
    if images:
        frames = [frame for folder in folders for frame in image_rows(folder)]
        if not frames:
            raise UserError("the runs hold no outcomes of images: their shards/ are gone")
        frame = pd.concat(frames, ignore_index=True)
    else:
        rows = [row for folder in folders for row in cell_rows(folder)]
        if form == "json":
            stream.write(
                (json.dumps(rows, indent=1, allow_nan=False, ensure_ascii=False) + "\n").encode()
            )
            return
        frame = flat(rows)
    if form == "parquet":
        frame.to_parquet(stream, index=False, compression="zstd")
    elif form == "json":
        frame.to_json(stream, orient="records", double_precision=15)
    else:
        frame.map(inert).to_csv(stream, index=False, lineterminator="\n")


def printed_table(sheet: Sheet, form: str) -> str:
    """The results of one run as a reader sees them, seeds averaged."""
    if form == "latex":
        return results_tex(sheet.frame, sheet.run.convention, sheet.caption)
    return f"{markdown(sheet.caption)}\n\n{results_md(sheet.frame, sheet.run.convention)}"


def flat(rows: list[Row]) -> pd.DataFrame:
    """`rows` as a table of plain values: what is nested as JSON text, whole numbers whole where some are missing."""
    texts = [
        {name: json.dumps(value, sort_keys=True) if name in NESTED and value is not None else value
         for name, value in row.items()}
        for row in rows
    ]  # fmt: skip
    frame = pd.DataFrame(texts, columns=list(COLUMNS), dtype=object)
    for name in frame.columns:
        kinds = {type(value) for value in frame[name] if value is not None}
        if kinds == {int}:
            frame[name] = frame[name].astype("Int64")
        elif kinds and kinds <= {int, float}:
            frame[name] = frame[name].astype("Float64")
        elif kinds == {bool}:
            frame[name] = frame[name].astype("boolean")
        else:
            frame[name] = frame[name].astype("string")
    return frame


def dictionary() -> str:
    """The columns of both tables in Markdown."""
    parts = []
    for title, columns in (
        ("One row a cell", COLUMNS),
        ("One row an image and cell (`--images`)", IMAGE_COLUMNS),
    ):
        lines = [
            f"| `{name}` | {markdown(text).replace(chr(92) + '`', '`')} |"
            for name, text in columns.items()
        ]
        parts.append(
            "\n".join([f"## {title}", "", "| Column | Meaning |", "|---|---|", *lines, ""])
        )
    return "\n".join(parts)


def _known(value: Any) -> Any:
    """`value`, None if it is no number."""
    return None if isinstance(value, float) and not math.isfinite(value) else value

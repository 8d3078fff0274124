"""Read a run folder into typed frames; every way in which it can be broken is one clear line."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from backbones.common.documents import inside, read_json, read_yaml
from backbones.common.errors import UserError
from reports.table_schema import MOST, read_frame
from suite.stats.confusion import matrix_miou, summed
from suite.stats.metric import METRICS as BY_TASK
from suite.stats.metric import TOP1, Metric
from suite.store.find_run import run_spec
from suite.store.schema import (
    SHOWN,
    TABLES,
    ClassificationMetrics,
    SegmentationMetrics,
    check_schema,
)

Row = dict[str, Any]
STATUSES = ("ok", "skipped", "failed")
METRICS = tuple(
    dict.fromkeys([*ClassificationMetrics.model_fields, *SegmentationMetrics.model_fields])
)
# Columns of the outcomes of images that are read.
ANSWERS = {
    "classification": ("image", "label_true", "prediction"),
    "segmentation": ("image", "confusion", "pixels"),
}
KINDS = ("gemm", "conv", "scan", "elementwise", "reduction")
TIMING = ("seconds", "images_per_second", "reduction_share")
# Columns of `Run.cells`.
TEXTS = (
    "key",
    "status",
    "reason",
    "backbone",
    "method",
    "label",
    "spec",
    "title",
    "family",
    "protocol",
    "role",
    "schedule",
)
FIELDS = ("budget", "seed", "images", "token_ratio", "cls_window")
# What is removed of an image under adaptive counts, by the percentiles of their records.
SPREAD = {"removed_low": "5", "removed_high": "95"}
NUMBERS = (*FIELDS, *METRICS, *KINDS, "total", "removed", *SPREAD, *TIMING)
# Method of a smaller model where it stands among the methods of a backbone.
SMALLER = "smaller"
# Tables of every comparison; the others belong to sections of the page.
COMMON = (
    "statistics",
    "ranking",
    "blind_comparison",
    "kept_tokens",
    "foreground",
    "gallery",
    "images",
)


class Answer(NamedTuple):
    """What is written below a picture: a name, how sure or how good, and whether it is right."""

    name: str
    share: float
    right: bool


@dataclass(frozen=True)
class Run:
    """One run: `cells` has a row a cell, the other frames are tables, without rows if absent.

    `further` has the cells that no main table or figure shows, but analyses of their own. `smaller`
    has those of smaller models as they stand beside the methods of a backbone, under their names.
    `headline` is its findings in words as they are stored. `others` are the further tables that
    were asked for and are there, by name, for `reports.sections`.
    """

    folder: Path
    name: str
    spec: Row
    dataset: Row
    environment: Row
    cells: pd.DataFrame
    further: pd.DataFrame
    smaller: pd.DataFrame
    statistics: pd.DataFrame
    ranking: pd.DataFrame
    blind_comparison: pd.DataFrame
    kept_tokens: pd.DataFrame
    foreground: pd.DataFrame
    gallery: pd.DataFrame
    images: pd.DataFrame
    headline: Row = field(default_factory=dict)
    others: dict[str, pd.DataFrame] = field(default_factory=dict)

    @property
    def every_cell(self) -> pd.DataFrame:
        """All cells, those that are shown first."""
        return pd.concat([self.cells, self.further], ignore_index=True)

    @property
    def convention(self) -> str:
        """FLOPs convention of every total of this run."""
        return str(self.spec.get("flops_convention") or "flops")

    @property
    def ablates(self) -> bool:
        """Whether it varies methods along axes, as does every comparison it was merged from."""
        merged = [mapping(spec) for spec in mapping(self.spec.get("runs")).values()]
        # Only a comparison's spec names no kind.
        compared = [spec for spec in merged if "kind" not in spec]
        return all(spec.get("axes") for spec in compared or [self.spec])

    @property
    def kind(self) -> str:
        """Whether it classified images or videos."""
        return "videos" if self.dataset.get("kind") == "videos" else "images"

    @property
    def task(self) -> str:
        """What was named: images (`classification`), or pixels (`segmentation`)."""
        specs = [self.spec, *map(mapping, mapping(self.spec.get("runs")).values())]
        dense = any(spec.get("task") == "segmentation" for spec in specs)
        return "segmentation" if dense else "classification"

    @property
    def metric(self) -> Metric:
        """What methods are compared by."""
        return BY_TASK[self.task]

    @property
    def chance(self) -> float | None:
        """Top-1 of a guess among the classes, in [0, 1].

        None if fewer than two are named, and where pixels are.
        """
        if self.metric != TOP1:
            return None
        classes = self.dataset.get("classes")
        return 1 / len(classes) if isinstance(classes, list) and len(classes) > 1 else None

    def answer(self, row: Mapping[Any, Any], whose: str = "") -> Answer:
        """What a cell says of a picture of the gallery; `whose` is ``dense_`` for the dense model.

        Of segmentation it is the picture's mean IoU, right where it is not below the dense one's.
        """
        share = float(row[f"{whose}confidence"])
        if self.task == "segmentation":
            right = bool(whose) or share >= float(row["dense_confidence"])
            return Answer(self.metric.name, share, right)
        prediction = int(row[f"{whose}prediction"])
        return Answer(self.class_name(prediction), share, prediction == int(row["label_true"]))

    def class_name(self, index: Any) -> str:
        """Name of class `index`, or its number if the data set names none."""
        classes = self.dataset.get("classes")
        number = int(index)
        if isinstance(classes, list) and 0 <= number < len(classes):
            return str(classes[number])
        return f"class {number}"


def mapping(value: Any) -> Row:
    """Return `value` if it is a mapping, else an empty one."""
    return value if isinstance(value, dict) else {}


def sequence(value: Any) -> list[Any]:
    """Return `value` if it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def load(folder: Path, others: Mapping[str, tuple[str, ...]] | None = None) -> Run:
    """Read the run in `folder`; UserError if it is missing, is not a run, or is damaged.

    `others` are further tables to read if they are there, with the columns that they must have.
    """
    spec = _spec(folder)
    tables = {name: _table(folder, name, TABLES[name].columns) for name in COMMON}
    more = {}
    for name, columns in (others or {}).items():
        frame = _table(folder, name, columns)
        if len(frame):
            more[name] = frame
    cells = _cells(folder, str(spec.get("flops_convention") or "flops"))
    # A measurement of speed, say, has tables and no cells.
    if cells.empty and ("kind" not in spec or not more):
        raise UserError(
            f"'{folder}' holds no finished cell (cells/ is empty): run its command to the end"
        )
    segmented = _table(folder, "segmented", TABLES["segmented"].columns)
    if len(segmented):
        tables["gallery"] = with_mious(tables["gallery"], segmented)
    smaller = _smaller(cells, cells.pop("beside"))
    # A cell without a role is shown, so that nothing is lost of a record that somebody made.
    shown = cells["role"].isin(["", *SHOWN])
    return Run(
        folder=folder,
        name=str(spec.get("name") or folder.resolve().name),
        spec=spec,
        dataset=_optional_json(folder / "dataset.json", folder),
        environment=_optional_json(folder / "environment.json", folder),
        cells=cells[shown].reset_index(drop=True),
        further=cells[~shown].reset_index(drop=True),
        smaller=smaller,
        headline=_optional_json(folder / "analyses" / "headline.json", folder),
        others=more,
        **tables,
    )


def with_mious(gallery: pd.DataFrame, segmented: pd.DataFrame) -> pd.DataFrame:
    """The table ``gallery`` of segmentation, whose answers are as good as their picture's mIoU."""
    cell = ["backbone", "label", "budget", "image", "seed"]
    whole = segmented[segmented["label"] == "none"]
    mious = segmented.drop_duplicates(cell).set_index(cell)["image_miou"]
    dense = whole.drop_duplicates(["backbone", "image"]).set_index(["backbone", "image"])[
        "image_miou"
    ]
    own = gallery.set_index(cell).index.map(mious.to_dict())
    beside = gallery.set_index(["backbone", "image"]).index.map(dense.to_dict())
    return gallery.assign(
        confidence=np.array(own, np.float64), dense_confidence=np.array(beside, np.float64)
    )


def outcomes(run: Run, key: str) -> pd.DataFrame:
    """Answers of cell `key` on images, all its shards in order; without rows if there are none."""
    files = sorted((run.folder / "shards" / key).glob("*.parquet")) if key else []
    columns = ANSWERS[run.task]
    frames = [read_frame(inside(file, run.folder), columns) for file in files]
    frame = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
    if len(frame) and frame["image"].duplicated().any():
        raise UserError(
            f"'{files[0].parent}' has an image twice: delete the folder and resume the run"
        )
    return frame


def recomputed(run: Run) -> dict[str, float]:
    """Accuracy of the finished cells with outcomes, by their keys, from these outcomes."""
    accuracies = {}
    cells = run.every_cell
    for key in cells.loc[cells["status"] == "ok", "key"]:
        rows = outcomes(run, str(key))
        if not len(rows.columns):
            continue
        if run.task == "segmentation":
            accuracies[str(key)] = _miou(run, rows)
        else:
            accuracies[str(key)] = float((rows["label_true"] == rows["prediction"]).mean())
    return accuracies


def _miou(run: Run, rows: pd.DataFrame) -> float:
    """Mean IoU of the images of one cell; NaN where the outcomes do not fit the classes."""
    classes = len(sequence(run.dataset.get("classes")))
    try:
        matrix = summed(list(rows["confusion"]), list(rows["pixels"]), classes)
    except (IndexError, ValueError):
        return math.nan
    return matrix_miou(matrix)


def _spec(folder: Path) -> Row:
    path = run_spec(folder)
    try:
        spec = read_yaml(inside(path, folder))
    except ValueError as error:
        raise UserError(
            f"'{path}' cannot be read ({error}): run its command again into a new folder"
        ) from error
    if not isinstance(spec, dict) or "schema" not in spec:
        raise UserError(
            f"'{path}' is not the spec of a run (it names no schema): give a folder that "
            "`compare` wrote"
        )
    check_schema(folder, spec["schema"])
    # Its cells are tries, which no statistics compare.
    if spec.get("kind") == "tune":
        raise UserError(
            f"'{folder}' holds tries of settings and has no report: give the folder to a "
            f"comparison, python -m suite compare --tries {folder}"
        )
    return spec


def _cells(folder: Path, convention: str) -> pd.DataFrame:
    timing = {}
    for file in sorted((folder / "timing").glob("*.json")):
        timing[file.stem] = json_object(inside(file, folder))
    rows = []
    for file in sorted((folder / "cells").glob("*.json")):
        row = _cell(json_object(inside(file, folder)), file.stem, convention)
        measured = timing.get(file.stem, {})
        rows.append(row | {name: measured.get(name) for name in TIMING})
    columns = [*TEXTS, *NUMBERS, "stochastic", "coarse", "beside", "blocks"]
    frame = pd.DataFrame(rows, columns=None if rows else columns)
    for name in NUMBERS:
        frame[name] = frame[name].map(_number).astype("float64")
    for name in TEXTS:
        frame[name] = frame[name].map(_text).astype(object)
    return frame


def _cell(cell: Row, key: str, convention: str) -> Row:
    status = cell.get("status")
    if status not in STATUSES:
        shown = " ".join(str(status).split())[:120]
        raise UserError(
            f"cell '{key}' has status '{shown}', not one of {', '.join(STATUSES)}: "
            "delete it and resume"
        )
    # The file may come from anyone: whatever is missing or of another kind is shown as a dash.
    metrics, flops = mapping(cell.get("metrics")), mapping(cell.get("flops"))
    row: Row = {name: cell.get(name) for name in (*TEXTS, *FIELDS)}
    row |= {name: metrics.get(name) for name in METRICS}
    if cell.get("task") == "segmentation":
        # The figures by which cells are compared have one name here.
        row |= {"top1": metrics.get("miou"), "dense_top1": metrics.get("dense_miou")}
    row |= {name: flops.get(name) for name in KINDS}
    row["key"] = key
    row["label"] = cell.get("label") or cell.get("spec") or cell.get("method") or key
    # a cost is above zero
    total = mapping(cell.get("total")).get(convention)
    row["total"] = total if _number(total) > 0 else None
    row["removed"] = mapping(cell.get("removed")).get(convention)
    row["stochastic"] = bool(cell.get("stochastic"))
    adaptive = mapping(cell.get("adaptive"))
    spread = mapping(adaptive.get("removed"))
    row |= {name: spread.get(rank) for name, rank in SPREAD.items()}
    row["coarse"] = bool(adaptive) or _coarse(mapping(cell.get("removals")))
    row["beside"] = mapping(cell.get("beside"))
    row["blocks"] = len(sequence(cell.get("lengths")))
    return row


def _coarse(removals: Row) -> bool:
    """Whether whole rows and columns leave, so that a budget is met only roughly."""
    return any(
        _number(mapping(removal).get(name)) > 0
        for removal in removals.values()
        for name in ("rows", "columns")
    )


def _smaller(cells: pd.DataFrame, beside: pd.Series) -> pd.DataFrame:
    """Rows of the dense cells of smaller models, one for each backbone that one stands beside."""
    rows = []
    for cell, shares in zip(cells.to_dict("records"), beside, strict=True):
        for backbone, share in shares.items():
            row = cell | {"backbone": backbone, "label": cell["backbone"], "method": SMALLER}
            # It agrees with itself, not with the model that it stands beside.
            unknown = dict.fromkeys(("agreement", "kl", "token_ratio", "budget"), math.nan)
            rows.append(row | unknown | {"title": "smaller model", "removed": _number(share)})
    return pd.DataFrame(rows, columns=cells.columns)


def _number(value: Any) -> float:
    """Return `value` if it is a number that can be shown, else NaN."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < MOST:
        return math.nan
    return float(value)


def _text(value: Any) -> str:
    # What is missing among texts is NaN in a frame.
    missing = value is None or (isinstance(value, float) and math.isnan(value))
    return "" if missing else str(value)


def _table(folder: Path, name: str, columns: tuple[str, ...]) -> pd.DataFrame:
    path = folder / "analyses" / f"{name}.parquet"
    if not (path.exists() or path.is_symlink()):
        return pd.DataFrame({column: pd.Series(dtype="float64") for column in columns})
    return read_frame(inside(path, folder), columns)


def _optional_json(path: Path, folder: Path) -> Row:
    return json_object(inside(path, folder)) if path.exists() or path.is_symlink() else {}


def json_object(path: Path) -> Row:
    """Read the JSON object at `path`; UserError if it is none."""
    fix = "delete it and resume the run"
    try:
        value = read_json(path)
    except ValueError as error:
        raise UserError(f"'{path}' cannot be read ({error}): {fix}") from error
    if not isinstance(value, dict):
        raise UserError(f"'{path}' does not hold a JSON object: {fix}")
    return value

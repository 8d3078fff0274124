"""A run folder read into typed frames; every way in which it can be broken ends in one clear line."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from backbones.common.documents import inside, read_json, read_yaml
from backbones.common.errors import UserError
from reports.table_schema import MOST, read_frame
from suite.config.spec_file import check_schema
from suite.stats.blind_baselines import COLUMNS as BLIND_COLUMNS
from suite.store.find_run import run_spec

STATUSES = ("ok", "skipped", "failed")
METRICS = ("top1", "top5", "loss", "margin", "agreement", "kl", "dense_top1")
KINDS = ("gemm", "conv", "scan", "elementwise", "reduction")
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
)
NUMBERS = (
    "budget", "seed", "images", "token_ratio", *METRICS, *KINDS, "total", "removed",
    "seconds", "images_per_second", "reduction_share",
)  # fmt: skip
ANALYSES: dict[str, tuple[str, ...]] = {
    "statistics": (
        "backbone", "budget", "label", "reference", "difference", "difference_low", "difference_high", "p", "p_holm", "significant",
        "only_method_correct", "only_reference_correct", "top1", "top1_low", "top1_high", "seeds", "images",
    ),
    "blind_comparison": BLIND_COLUMNS,
    "kept_tokens": ("backbone", "label", "budget", "seed", "block", "row", "col", "kept"),
    "foreground": ("backbone", "label", "budget", "seed", "block", "foreground_kept", "kept", "images"),
    "gallery": (
        "backbone", "label", "budget", "seed", "image", "block", "owner", "label_true", "prediction",
        "dense_prediction", "confidence", "dense_confidence",
    ),
    "images": ("image", "png", "label_true"),
}  # fmt: skip


@dataclass(frozen=True)
class Headline:
    """What the run's statistics say in words; all empty when the engine wrote none."""

    sentence: str = ""
    resolution: tuple[dict[str, Any], ...] = ()
    paragraphs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Run:
    """One run: `cells` has a row per cell, the other frames the columns of `ANALYSES` and no row where absent.

    `others` are the analyses beyond those that were asked for and are there, by name;
    `reports.sections` reads them.
    """

    folder: Path
    name: str
    spec: dict[str, Any]
    dataset: dict[str, Any]
    environment: dict[str, Any]
    cells: pd.DataFrame
    statistics: pd.DataFrame
    blind_comparison: pd.DataFrame
    kept_tokens: pd.DataFrame
    foreground: pd.DataFrame
    gallery: pd.DataFrame
    images: pd.DataFrame
    headline: Headline = field(default_factory=Headline)
    others: dict[str, pd.DataFrame] = field(default_factory=dict)

    @property
    def convention(self) -> str:
        """The FLOPs convention that every total of this run is given in."""
        return str(self.spec.get("flops_convention") or "flops")

    @property
    def ablates(self) -> bool:
        """Whether it varies a method along axes, and so does every run that it was merged from."""
        merged = mapping(self.spec.get("runs"))
        compared = [spec for spec in map(mapping, merged.values()) if "kind" not in spec] or [
            self.spec
        ]
        return all(spec.get("axes") for spec in compared)

    @property
    def chance(self) -> float | None:
        """Top-1 of a guess among the classes, in [0, 1]; None where fewer than two are named."""
        classes = self.dataset.get("classes")
        return 1 / len(classes) if isinstance(classes, list) and len(classes) > 1 else None

    def class_name(self, index: Any) -> str:
        """The name of class `index`, or its number where the data set names none."""
        classes = self.dataset.get("classes")
        number = int(index)
        if isinstance(classes, list) and 0 <= number < len(classes):
            return str(classes[number])
        return f"class {number}"


def mapping(value: Any) -> dict[str, Any]:
    """`value` if it is a mapping, else an empty one."""
    return value if isinstance(value, dict) else {}


def load(folder: Path, others: Mapping[str, tuple[str, ...]] | None = None) -> Run:
    """Read the run in `folder`; `UserError` if it is missing, is not a run, or is damaged.

    `others` are further analyses that are wanted where they are there, with the columns that they
    must have.
    """
    spec = _spec(folder)
    analyses = {name: _analysis(folder, name, columns) for name, columns in ANALYSES.items()}
    more = {name: _analysis(folder, name, columns) for name, columns in (others or {}).items()}
    more = {name: frame for name, frame in more.items() if len(frame)}
    cells = _cells(folder, str(spec.get("flops_convention") or "flops"))
    if cells.empty and ("kind" not in spec or not more):  # only a comparison's spec names no kind
        raise UserError(
            f"'{folder}' holds no finished cell (cells/ is empty): run its command to the end"
        )
    return Run(
        folder=folder,
        name=str(spec.get("name") or folder.resolve().name),
        spec=spec,
        dataset=_optional_json(folder / "dataset.json", folder),
        environment=_optional_json(folder / "environment.json", folder),
        cells=cells,
        headline=_headline(folder),
        others=more,
        **analyses,
    )


def outcomes(run: Run, key: str) -> pd.DataFrame:
    """The per-image outcomes of cell `key`, all its shards in order; no row where there are none."""
    files = sorted((run.folder / "shards" / key).glob("*.parquet")) if key else []
    wanted = ("image", "label_true", "prediction")
    frames = [read_frame(inside(file, run.folder), wanted) for file in files]
    found = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
    if len(found) and found["image"].duplicated().any():
        raise UserError(
            f"'{files[0].parent}' has an image twice: delete the folder and resume the run"
        )
    return found


def correctness(run: Run) -> dict[str, pd.Series]:
    """For each finished cell whose outcomes are there, whether each image (the index) was named right."""
    found = {}
    for key in run.cells.loc[run.cells["status"] == "ok", "key"]:
        rows = outcomes(run, str(key))
        if {"image", "label_true", "prediction"} <= set(rows.columns):
            found[str(key)] = pd.Series(
                (rows["label_true"] == rows["prediction"]).to_numpy(), index=rows["image"]
            )
    return found


def _spec(folder: Path) -> dict[str, Any]:
    path = run_spec(folder)
    try:
        spec = read_yaml(inside(path, folder))
    except ValueError as error:
        raise UserError(
            f"'{path}' cannot be read ({error}): run its command again into a new folder"
        ) from error
    if not isinstance(spec, dict) or "schema" not in spec:
        raise UserError(
            f"'{path}' is not the spec of a run (it names no schema): give a folder that `compare` wrote"
        )
    check_schema(folder, spec["schema"])
    return spec


def _cells(folder: Path, convention: str) -> pd.DataFrame:
    files = sorted((folder / "cells").glob("*.json"))
    rows = [_cell(json_object(inside(file, folder)), file.stem, convention) for file in files]
    timing = {
        file.stem: json_object(inside(file, folder))
        for file in sorted((folder / "timing").glob("*.json"))
    }
    for row in rows:
        measured = timing.get(row["key"], {})
        row.update(
            {
                name: measured.get(name)
                for name in ("seconds", "images_per_second", "reduction_share")
            }
        )
    frame = pd.DataFrame(rows, columns=None if rows else [*TEXTS, *NUMBERS, "stochastic"])
    for name in NUMBERS:
        frame[name] = frame[name].map(_number).astype("float64")
    for name in TEXTS:
        frame[name] = (
            frame[name].map(lambda value: "" if value is None else str(value)).astype(object)
        )
    return frame


def _cell(cell: dict[str, Any], key: str, convention: str) -> dict[str, Any]:
    status = cell.get("status")
    if status not in STATUSES:
        raise UserError(
            f"cell '{key}' has status '{_short(status)}', not one of {', '.join(STATUSES)}: delete it and resume"
        )
    metrics, flops = mapping(cell.get("metrics")), mapping(cell.get("flops"))
    row: dict[str, Any] = {
        name: cell.get(name) for name in (*TEXTS, "budget", "seed", "images", "token_ratio")
    }
    row.update({name: metrics.get(name) for name in METRICS})
    row.update({name: flops.get(name) for name in KINDS})
    row["key"] = key
    row["label"] = cell.get("label") or cell.get("spec") or cell.get("method") or key
    row["total"] = _positive(mapping(cell.get("total")).get(convention))
    row["removed"] = mapping(cell.get("removed")).get(convention)
    row["stochastic"] = bool(cell.get("stochastic"))
    return row


def _number(value: Any) -> float:
    """`value` if it is a number that can be shown, else NaN."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < MOST:
        return math.nan
    return float(value)


def _positive(value: Any) -> float | None:
    """`value` if it is a number above 0, as a cost is, else None."""
    return value if _number(value) > 0 else None


def _analysis(folder: Path, name: str, columns: tuple[str, ...]) -> pd.DataFrame:
    path = folder / "analyses" / f"{name}.parquet"
    if not (path.exists() or path.is_symlink()):
        return pd.DataFrame({column: pd.Series(dtype="float64") for column in columns})
    return read_frame(inside(path, folder), columns)


def _headline(folder: Path) -> Headline:
    found = _optional_json(folder / "analyses" / "headline.json", folder)
    rows = found.get("resolution")
    words = found.get("paragraphs")
    return Headline(
        sentence=str(found.get("headline") or ""),
        resolution=tuple(row for row in rows if isinstance(row, dict))
        if isinstance(rows, list)
        else (),
        paragraphs=tuple(str(word) for word in words) if isinstance(words, list) else (),
    )


def _optional_json(path: Path, folder: Path) -> dict[str, Any]:
    return json_object(inside(path, folder)) if path.exists() or path.is_symlink() else {}


def json_object(path: Path) -> dict[str, Any]:
    """The JSON object at `path`; `UserError` if it is none."""
    try:
        found = read_json(path)
    except ValueError as error:
        raise UserError(
            f"'{path}' cannot be read ({error}): delete it and resume the run"
        ) from error
    if not isinstance(found, dict):
        raise UserError(f"'{path}' does not hold a JSON object: delete it and resume the run")
    return found


def _short(found: object) -> str:
    return " ".join(str(found).split())[:120]

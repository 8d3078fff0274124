"""A finished run as one part of a merged report, read from its folder and believed in nothing."""

from __future__ import annotations

import functools
import io
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from backbones.common.documents import read_json as read_document
from backbones.common.errors import UserError
from suite.bench.spec import BenchSpec
from suite.config.run_spec import RunSpec
from suite.config.spec_file import read_spec, read_values
from suite.evaluation.outcomes import COLUMNS
from suite.evaluation.token_counts import tracked_subset
from suite.plan.cells import BASELINES, DENSE
from suite.sensitivity.spec import SensitivitySpec
from suite.store.checksums import fault
from suite.store.find_run import run_spec
from suite.store.run_folder import Store, slices

Record = dict[str, Any]
Alive = dict[int, NDArray[np.bool_]]
OTHERS: dict[str, type[BaseModel]] = {
    "sensitivity": SensitivitySpec,
    "bench": BenchSpec,
}  # by the spec's kind


class CellFile(BaseModel):
    """What a merge relies on in ``cells/KEY.json``."""

    model_config = ConfigDict(strict=True)

    key: str = Field(pattern="^[0-9a-f]{8,64}$")
    status: str = Field(pattern="^(ok|skipped|failed)$")
    backbone: str
    label: str
    spec: str
    method: str
    family: str
    convention: str
    budget: float | None
    seed: int
    images: int
    image_size: int
    counts: dict[str, int] = {}
    removed: dict[str, float] = {}
    metrics: dict[str, float] | None


@dataclass(frozen=True)
class Part:
    """One run of a merge: what was asked, and what is known of it. A run that compares nothing has no records."""

    folder: Path
    spec: BaseModel
    records: list[Record]
    dataset: dict[str, Any]
    environment: dict[str, Any]
    headline: dict[str, Any]

    @property
    def name(self) -> str:
        """What the run is called."""
        return self.folder.resolve().name

    @property
    def asked(self) -> RunSpec:
        """The settings of a comparison."""
        assert isinstance(self.spec, RunSpec)
        return self.spec

    @property
    def backbones(self) -> tuple[str, ...]:
        """The backbones that it is about."""
        found = getattr(self.spec, "backbones", None)
        return found if found is not None else (str(getattr(self.spec, "backbone", "")),)

    @functools.cached_property
    def images(self) -> NDArray[np.int64]:
        """The numbers of the images that its dense model saw, ascending."""
        return self.outcomes(self.dense).image.to_numpy()

    @property
    def dense(self) -> str:
        """The key of its first dense cell."""
        return next(
            r["key"] for r in self.records if r["status"] == "ok" and r["method"] == DENSE.name
        )

    def outcomes(self, key: str) -> pd.DataFrame:
        """The per-image outcomes of cell `key` by ascending image; UserError if a shard is missing or torn."""
        count = next(record["images"] for record in self.records if record["key"] == key)
        parts = -(-count // self.asked.shard_size)
        store = Store(self.folder)
        frame = pd.concat(
            [self._sealed(store.shard_path(key, index)) for index in range(parts)],
            ignore_index=True,
        )
        if (
            not set(COLUMNS) <= set(frame.columns)
            or len(frame) != count
            or not frame.image.is_unique
        ):
            raise UserError(
                f"the outcomes in {self.folder / 'shards' / key} are not those of {count} images: run it again"
            )
        return frame[list(COLUMNS)].sort_values("image", ignore_index=True)

    def alive(self, key: str) -> Alive:
        """By block, the tokens of cell `key` that survive in the watched images (images, places)."""
        parts = slices(self.images, self.asked.shard_size)
        store = Store(self.folder)
        for index, images in enumerate(parts):
            self._sealed(store.presence_path(key, index), images)
        return store.alive(
            key, [len(np.intersect1d(part, tracked_subset(self.images))) for part in parts]
        )

    def analyses(self) -> Iterator[tuple[str, pd.DataFrame]]:
        """The tables that were derived from the run, by name."""
        for path in sorted((self.folder / "analyses").glob("*.parquet")):
            try:
                frame = pd.read_parquet(path)
            except (OSError, pa.ArrowException) as error:
                raise UserError(f"{path} is damaged: {self._again}") from error
            yield path.stem, frame

    def _sealed(self, path: Path, images: NDArray[np.int64] | None = None) -> pd.DataFrame:
        """The frame at `path`, about `images` (None: those it names); UserError unless it is as it was written."""
        try:
            content = path.read_bytes()
            frame = pd.read_parquet(io.BytesIO(content))
            about = frame["image"].to_numpy() if images is None else images
            wrong = fault(content, Store(self.folder).holding(path, about))
        except (OSError, pa.ArrowException, KeyError) as error:
            raise UserError(f"{path} is missing or damaged: {self._again}") from error
        if wrong:
            raise UserError(f"{path} {wrong}: {self._again}")
        return frame

    @property
    def _again(self) -> str:
        return f"run the command of '{self.folder}' again to its end"


def read_part(folder: Path) -> Part:
    """The run in `folder`; UserError if it is none, is damaged, or holds a link to elsewhere."""
    path = run_spec(folder)
    refuse_links(folder)
    spec = read_spec(path, kind_of(path))
    records = [read_cell(file) for file in sorted((folder / "cells").glob("*.json"))]
    compares = isinstance(spec, RunSpec)
    if compares and not any(
        record["status"] == "ok" and record["method"] == DENSE.name for record in records
    ):
        raise UserError(f"'{folder}' holds no finished dense cell: run its command to the end")
    return Part(
        folder=folder,
        spec=spec,
        records=in_order(records, spec) if isinstance(spec, RunSpec) else [],
        dataset=read_json(folder / "dataset.json"),
        environment=read_json(folder / "environment.json"),
        headline=read_json(folder / "analyses" / "headline.json"),
    )


def kind_of(path: Path) -> type[BaseModel]:
    """What kind of specification lies at `path`; UserError if it is none that can be merged."""
    try:
        read_values(path, RunSpec)
    except UserError:
        kind = read_values(path, SensitivitySpec)["kind"]  # as all but a comparison's have
    else:
        return RunSpec
    if not isinstance(kind, str) or kind not in OTHERS:
        known = "a comparison, a sensitivity analysis or a measurement of speed"
        raise UserError(
            f"'{path.parent}' is not {known}: give the runs that a merged report was made of"
        )
    return OTHERS[kind]


def refuse_links(folder: Path) -> None:
    """UserError if anything below `folder` is a symbolic link, which could lead out of it; trackers' files aside."""
    for place, folders, files in os.walk(folder):
        if Path(place) == folder and "track" in folders:
            folders.remove("track")  # nothing is read there, and wandb makes links
        for name in [*folders, *files]:
            if (found := Path(place) / name).is_symlink():
                raise UserError(
                    f"'{found}' is a symbolic link: a run that is merged must hold its own files"
                )


def read_cell(path: Path) -> Record:
    """The record of one cell; UserError if it is not what the name of its file says."""
    record = read_json(path)
    try:
        cell = CellFile.model_validate(record)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(
            f"'{path}' is not the record of a cell: {where}: {first['msg'].lower()}"
        ) from None
    if cell.key != path.stem:
        raise UserError(
            f"'{path}' is the record of cell {cell.key!r}: restore the file, or run its command again"
        )
    if cell.status == "ok" and not (cell.metrics and cell.convention in cell.removed):
        raise UserError(f"'{path}' says ok and has no figures: delete it and run its command again")
    return record


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object at `path`, an empty one where there is no file; UserError if it is none."""
    if not path.is_file():
        return {}
    try:
        found = read_document(path)
    except ValueError as error:
        raise UserError(f"'{path}' cannot be read ({error}): run its command again") from None
    if not isinstance(found, dict):
        raise UserError(f"'{path}' does not hold a JSON object: run its command again")
    return found


def in_order(records: list[Record], spec: RunSpec) -> list[Record]:
    """`records` in the order in which the run laid them out: dense, then by method, budget and seed."""
    methods = [*spec.methods, *(name for name in BASELINES if name not in spec.methods)]
    texts = {re.sub(r"\s", "", text): place for place, text in reversed(list(enumerate(methods)))}

    houses = {name: place for place, name in enumerate(spec.backbones)}

    def place(record: Record) -> tuple[int, bool, int, str, float, int]:
        house = houses.get(record["backbone"], len(houses))
        named = texts.get(
            record["spec"], texts.get(record["method"], len(methods) - len(BASELINES))
        )
        return (
            house,
            record["budget"] is not None,
            named,
            record["spec"],
            record["budget"] or 0.0,
            record["seed"],
        )

    return sorted(records, key=place)

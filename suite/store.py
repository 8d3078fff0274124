"""A run on disk: where each file stands and how it is written and read.

Every file is written beside its place and moved there when complete, so a run killed at any moment holds whole files
only and goes on with those that are missing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import BaseModel

from backbones.errors import UserError
from suite.files import replacing, write_json, write_text
from suite.presence import unpacked
from suite.settings import read_spec, to_yaml


def write_frame(path: Path, frame: pd.DataFrame) -> None:
    """Put `frame` at `path` as Parquet in one step; equal frames are equal bytes."""
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    with replacing(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def is_whole(path: Path) -> bool:
    """Whether `path` is a Parquet file with its footer, which a torn one lacks."""
    try:
        pq.read_metadata(path)
    except (OSError, pa.ArrowException):
        return False
    return True


@dataclass(frozen=True)
class Store:
    """The folder of one run."""

    folder: Path

    @classmethod
    def open(cls, folder: Path, spec: BaseModel) -> Store:
        """Begin a run in `folder`, or go on with the one that asked the same; UserError if it asked something else."""
        path = folder / "spec.yaml"
        if path.exists():
            if read_spec(path, type(spec)) != spec:
                raise UserError(f"{folder} holds a run with other settings: choose another folder, or delete this one")
        elif folder.exists() and any(not file.name.endswith(".tmp") for file in folder.iterdir()):
            raise UserError(f"{folder} is not empty and holds no run: choose another folder")
        else:
            write_text(path, to_yaml(spec))
        return cls(folder)

    def shard_path(self, key: str, index: int) -> Path:
        """Per-image outcomes of cell `key` on slice `index`."""
        return self.folder / "shards" / key / f"{index:05d}.parquet"

    def presence_path(self, key: str, index: int) -> Path:
        """Counts of surviving tokens of cell `key` on slice `index`."""
        return self.folder / "tokens" / key / f"{index:05d}.parquet"

    def has_shard(self, key: str, index: int) -> bool:
        """Whether cell `key` is done with slice `index`: both its files are there and whole."""
        return is_whole(self.presence_path(key, index)) and is_whole(self.shard_path(key, index))

    def write_shard(self, key: str, index: int, outcomes: pd.DataFrame, presence: pd.DataFrame) -> None:
        """Keep one cell's results on one slice."""
        write_frame(self.presence_path(key, index), presence)
        write_frame(self.shard_path(key, index), outcomes)

    def outcomes(self, key: str, slices: int) -> pd.DataFrame:
        """All per-image outcomes of cell `key`, in the order of the data set."""
        return pd.concat([pd.read_parquet(self.shard_path(key, index)) for index in range(slices)], ignore_index=True)

    def presence(self, key: str, slices: int) -> pd.DataFrame:
        """Counts of surviving tokens of cell `key`, summed over the slices."""
        columns = ["block", "place", "present", "foreground"]
        parts = [pd.read_parquet(self.presence_path(key, index), columns=columns) for index in range(slices)]
        return pd.concat(parts).groupby(["block", "place"], as_index=False).sum()

    def alive(self, key: str, counts: Sequence[int]) -> dict[int, NDArray[np.bool_]]:
        """By block, the tokens of cell `key` that survive in the watched images (images, places).

        `counts` says how many images of each slice are watched.
        """
        parts: dict[int, list[NDArray[np.bool_]]] = {}
        for index, count in enumerate(counts):
            frame = pd.read_parquet(self.presence_path(key, index), columns=["block", "place", "alive"])
            for block, rows in frame.groupby("block"):
                parts.setdefault(int(str(block)), []).append(unpacked(rows.sort_values("place").alive.tolist(), count))
        return {block: np.concatenate(found) for block, found in parts.items()}

    def write_cell(self, key: str, record: dict[str, Any]) -> None:
        """Keep what is known of one cell."""
        write_json(self.folder / "cells" / f"{key}.json", record)

    def forget_cells_but(self, keys: Iterable[str]) -> None:
        """Delete the records of cells that are no longer the run's, such as those of a method whose code changed."""
        current = set(keys)
        for path in (self.folder / "cells").glob("*.json"):
            if path.stem not in current:
                path.unlink()

    def write_analysis(self, name: str, frame: pd.DataFrame) -> None:
        """Keep a table that was derived from the cells; one without rows is no file."""
        path = self.folder / "analyses" / f"{name}.parquet"
        if frame.empty:
            path.unlink(missing_ok=True)
        else:
            write_frame(path, frame)

    def write_headline(self, headline: dict[str, Any]) -> None:
        """Keep the run's findings in words."""
        write_json(self.folder / "analyses" / "headline.json", headline)

    def write_dataset(self, dataset: dict[str, Any]) -> None:
        """Keep what the run's images are."""
        write_json(self.folder / "dataset.json", dataset)

    def write_environment(self, environment: dict[str, Any]) -> None:
        """Keep what the run ran on."""
        write_json(self.folder / "environment.json", environment)

    def cells(self) -> list[dict[str, Any]]:
        """All cell records, sorted by key."""
        return [json.loads(path.read_text("utf-8")) for path in sorted((self.folder / "cells").glob("*.json"))]


def slices(indices: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    """`indices` cut into runs of `size`, the last one shorter."""
    return [indices[start : start + size] for start in range(0, len(indices), size)]

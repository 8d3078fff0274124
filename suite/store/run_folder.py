"""A run on disk: where each file stands and how it is written and read.

Every file is written beside its place and moved there when complete, so a run killed at any moment
holds whole files only and goes on with those that are missing. What cannot be derived again from
other files carries a checksum and says what it holds (`suite.store.checksums`); what is found
damaged or foreign is set aside.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import BaseModel

from backbones.common.documents import read_json
from backbones.common.errors import UserError
from suite.config.spec_file import SPEC, read_spec, to_yaml
from suite.data.base import digest
from suite.evaluation.outcomes import COLUMNS
from suite.evaluation.token_counts import unpacked
from suite.store.checksums import fault, parquet, sealed
from suite.store.locks import claimed
from suite.system.atomic_files import to_json, write_atomic, write_json, write_text

MEMBERS = "run.lock"
AT_ONCE = 64  # files whose counts are in memory together


def write_frame(path: Path, frame: pd.DataFrame) -> None:
    """Put `frame` at `path` as Parquet in one step; equal frames are equal bytes."""
    write_atomic({path: parquet(frame)})


def _read(path: Path, columns: Sequence[str]) -> pa.Table:
    """Some columns of the Parquet file at `path`, which is small: threads and pages to come would not pay."""
    with pq.ParquetFile(path) as file:
        return file.read(list(columns), use_threads=False)


@dataclass(frozen=True)
class Store:
    """The folder of one run.

    What is read of its finished shards again and again is kept: a bit an image, and counts of
    tokens.
    """

    folder: Path
    _answers: dict[tuple[str, int], tuple[NDArray[np.int64], NDArray[np.uint8]]] = field(
        default_factory=dict, compare=False, repr=False
    )
    _presence: dict[tuple[str, int], pd.DataFrame] = field(
        default_factory=dict, compare=False, repr=False
    )

    @classmethod
    def open(cls, folder: Path, spec: BaseModel, resume: bool = True) -> Store:
        """Begin a run in `folder`, or `resume` the one that asked the same; UserError if it asked something else."""
        if cls.check(folder, spec, resume):
            write_text(folder / SPEC, to_yaml(spec))
        return cls(folder)

    @classmethod
    def check(cls, folder: Path, spec: BaseModel, resume: bool = True) -> bool:
        """Whether a run would begin in `folder`, rather than go on; UserError if it can do neither."""
        path = folder / SPEC
        if not path.exists():
            if is_free(folder):
                return True
            raise UserError(f"{folder} is not empty and holds no run: choose another folder")
        if changed := differing(read_spec(path, type(spec)), spec):
            raise UserError(
                f"{folder} holds a run with other settings: choose another folder (its {changed})"
            )
        if not resume:
            raise UserError(
                f"{folder} holds this run already: leave out --no-resume, or choose another folder"
            )
        return False

    def claim(self, name: str, wait: bool) -> AbstractContextManager[bool]:
        """Keep other processes from the work `name` (see `suite.store.locks.claimed`)."""
        return claimed(self.folder / "claims" / name, wait)

    def shard_path(self, key: str, index: int) -> Path:
        """Per-image outcomes of cell `key` on slice `index`."""
        return self.folder / "shards" / key / f"{index:05d}.parquet"

    def presence_path(self, key: str, index: int) -> Path:
        """Counts of surviving tokens of cell `key` on slice `index`."""
        return self.folder / "tokens" / key / f"{index:05d}.parquet"

    def failure_path(self, key: str, index: int) -> Path:
        """Why cell `key` could not be evaluated on slice `index`."""
        return self.folder / "failures" / key / f"{index:05d}.json"

    def has_shard(self, key: str, index: int, images: NDArray[np.int64]) -> bool:
        """Whether cell `key` is done with slice `index`, the `images`: both its files are there, whole and its own."""
        paths = self.presence_path(key, index), self.shard_path(key, index)
        found = [self.has(path, self.holding(path, images)) for path in paths]  # both are looked at
        return all(found)

    def holding(self, path: Path, images: NDArray[np.int64]) -> str:
        """What a file at `path` says that it holds: its place in the run, and the images it is about."""
        return f"{self.name(path)} of {len(images)} images {hashlib.sha256(images.tobytes()).hexdigest()[:16]}"

    def name(self, path: Path) -> str:
        """The place of the file at `path` in the run, as ``shards/KEY/00000``."""
        return path.relative_to(self.folder).with_suffix("").as_posix()

    def has(self, path: Path, holds: str) -> bool:
        """Whether the sealed file at `path` is there; one that is damaged, or holds something else, is set aside."""
        try:
            wrong = fault(path.read_bytes(), holds)
        except FileNotFoundError:
            return False
        except IsADirectoryError:
            wrong = "is a folder"
        if wrong:
            self.set_aside(path, wrong)
        return not wrong

    def set_aside(self, path: Path, wrong: str) -> None:
        """Move what stands at `path` out of the way, and say so."""
        name = path.relative_to(self.folder)
        target = self.folder / "set-aside" / name
        number = 1
        while target.exists():
            number += 1
            target = target.with_name(f"{name.name}.{number}")
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.replace(path, target)
        except FileNotFoundError:
            return  # another process was first
        print(f"{path} {wrong}: set aside as {target}, it is made again", file=sys.stderr)

    def write_shards(
        self,
        index: int,
        images: NDArray[np.int64],
        results: Mapping[str, tuple[pd.DataFrame, pd.DataFrame]],
    ) -> None:
        """Keep the outcomes and token counts of several cells on slice `index`, the `images`."""
        tokens = {
            self.presence_path(key, index): presence for key, (_, presence) in results.items()
        }
        shards = {self.shard_path(key, index): outcomes for key, (outcomes, _) in results.items()}
        self.write_sealed(
            {path: (frame, self.holding(path, images)) for path, frame in (tokens | shards).items()}
        )

    def write_sealed(self, frames: Mapping[Path, tuple[pd.DataFrame, str]]) -> None:
        """Put each frame in its place as a file that says what it holds."""
        write_atomic({path: sealed(frame, holds) for path, (frame, holds) in frames.items()})

    def write_failures(self, index: int, reasons: Mapping[str, str]) -> None:
        """Keep why cells could not be evaluated on slice `index`."""
        write_atomic(
            {
                self.failure_path(key, index): to_json({"reason": reason})
                for key, reason in reasons.items()
            }
        )

    def failure(self, key: str, index: int | None = None) -> str | None:
        """Why cell `key` failed on the first slice on which it did, up to slice `index` (None: on any)."""
        first = self.first_failure(key)
        return None if first is None or (index is not None and first[0] > index) else first[1]

    def first_failure(self, key: str) -> tuple[int, str] | None:
        """The first slice on which cell `key` failed, and why; None if it did on none."""
        for path in sorted((self.folder / "failures" / key).glob("*.json")):
            try:
                return int(path.stem), str(read_json(path)["reason"])
            except (ValueError, KeyError, TypeError):
                self.set_aside(path, "is torn or was changed")
        return None

    def keep_only(self, key: str, slices: int) -> None:
        """Leave of cell `key` the results on its first slices, as many as it has or until it failed.

        Later ones, by a process that did not know of the failure yet, are deleted; what is no
        result is set aside.
        """
        first = self.first_failure(key)
        end = slices if first is None else first[0]
        wanted = {self.shard_path(key, index).name: index < end for index in range(slices)}
        for folder in (self.shard_path(key, 0).parent, self.presence_path(key, 0).parent):
            for path in sorted(folder.glob("[!.]*")):
                if path.name not in wanted:
                    self.set_aside(path, "is not the run's")
                elif not wanted[path.name]:
                    path.unlink(missing_ok=True)

    def write_halved(self, backbone: str, index: int, halved: dict[str, int]) -> None:
        """Keep with which batch slice `index` was done for lack of memory, and what came of it."""
        path = self.folder / "halved" / f"{digest(backbone)[:16]}-{index:05d}.json"
        write_json(path, {"backbone": backbone, "shard": index, **halved})

    def halved(self) -> list[dict[str, Any]]:
        """The slices that were done with a smaller batch than asked for."""
        found = []
        for path in sorted((self.folder / "halved").glob("*.json")):
            try:
                found.append(
                    {
                        name: value
                        for name, value in read_json(path).items()
                        if isinstance(value, str | int)
                    }
                )
            except (ValueError, AttributeError):
                self.set_aside(path, "is torn or was changed")
        return found

    def outcomes(
        self, key: str, slices: int, columns: Sequence[str] = tuple(COLUMNS)
    ) -> pd.DataFrame:
        """The per-image outcomes of cell `key`, in the order of the data set."""
        paths = [self.shard_path(key, index) for index in range(slices)]
        frame: pd.DataFrame = pa.concat_tables([_read(path, columns) for path in paths]).to_pandas()
        if {"image", "label_true", "prediction"} <= set(frame.columns):
            self._answers.setdefault((key, slices), self._answers_of(frame))
        return frame

    def answers(self, key: str, slices: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The images that cell `key` saw, by their number in the data set, and whether it was right on each.

        Read once, and kept as a bit an image: what all statistics over pairs of cells stand on.
        """
        if (key, slices) not in self._answers:
            self.outcomes(key, slices, ["image", "label_true", "prediction"])
        images, packed = self._answers[key, slices]
        return images, np.unpackbits(packed, count=len(images)).astype(bool)

    def _answers_of(self, frame: pd.DataFrame) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        images = frame.image.to_numpy()
        known = next(
            (known for known, _ in self._answers.values() if np.array_equal(known, images)), images
        )
        return known, np.packbits(frame.prediction.to_numpy() == frame.label_true.to_numpy())

    def presence(self, key: str, slices: int) -> pd.DataFrame:
        """Counts of surviving tokens of cell `key`, summed over the slices."""
        if (key, slices) not in self._presence:
            columns = ["block", "position", "present", "foreground"]
            total = pd.DataFrame()
            for start in range(0, slices, AT_ONCE):
                paths = [
                    self.presence_path(key, index)
                    for index in range(start, min(start + AT_ONCE, slices))
                ]
                found = pa.concat_tables([_read(path, columns) for path in paths]).to_pandas()
                total = (
                    pd.concat([total, found]).groupby(["block", "position"], as_index=False).sum()
                )
            self._presence[key, slices] = total
        return self._presence[key, slices].copy()

    def alive(self, key: str, counts: Sequence[int]) -> dict[int, NDArray[np.bool_]]:
        """By block, the tokens of cell `key` that survive in the watched images (images, places).

        `counts` says how many images of each slice are watched.
        """
        parts: dict[int, list[NDArray[np.bool_]]] = {}
        for index, count in enumerate(counts):
            table = _read(self.presence_path(key, index), ["block", "position", "alive"])
            block, position = (table.column(name).to_numpy() for name in ("block", "position"))
            rows, bits = np.lexsort((position, block)), table.column("alive").to_pylist()
            blocks, starts = np.unique(block[rows], return_index=True)
            for number, those in zip(blocks.tolist(), np.split(rows, starts[1:]), strict=True):
                parts.setdefault(number, []).append(unpacked([bits[row] for row in those], count))
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
        """All cell records, sorted by key; UserError if one is no longer what was written."""
        try:
            return [read_json(path) for path in sorted((self.folder / "cells").glob("*.json"))]
        except ValueError as error:
            raise UserError(
                f"a cell of {self.folder} cannot be read ({error}): run the same command again"
            ) from None


def is_free(folder: Path) -> bool:
    """Whether nothing stands in `folder` but what a killed start may have left."""
    return not folder.exists() or all(
        file.name == MEMBERS or file.name.endswith(".tmp") for file in folder.iterdir()
    )


def differing(one: BaseModel, other: BaseModel) -> str:
    """The first setting in which two specifications differ, ``batch is 32, not 16``; nothing if they agree."""
    left, right = one.model_dump(mode="json"), other.model_dump(mode="json")
    return next(
        (
            f"{name} is {left[name]}, not {right[name]}"
            for name in left
            if left[name] != right[name]
        ),
        "",
    )


def slices(indices: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    """`indices` cut into runs of `size`, the last one shorter."""
    return [indices[start : start + size] for start in range(0, len(indices), size)]

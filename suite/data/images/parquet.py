"""`parquet:PATH`: images in Parquet as Hugging Face lays them out, a column `image` and a column `label`.

`image` is a struct {bytes, path} or plain bytes, `label` a whole number; PATH is one file or a
folder of files called SPLIT.parquet, SPLIT-00000-of-00004.parquet and the like, which may be links,
as in the Hub's cache.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import struct
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from backbones.common.errors import UserError
from backbones.preprocessing import Preprocessing
from suite.data.base import WHOLE, Manifest, Request, check_index, digest, numbered, one_line
from suite.data.images.imagefolder import SPLIT_NAMES
from suite.data.loading.decode import decode
from suite.data.loading.preprocess import Photographs, asked_of

_DAMAGE = (pa.ArrowException, OSError, ValueError, LookupError, MemoryError, OverflowError)
MOST_ROWS = 50_000_000
MOST_BYTES = 1 << 31


def _split_of(path: Path) -> str | None:
    """The split a file's name begins with, if it is a usual one."""
    word = re.split(r"[-_.]", path.name, maxsplit=1)[0]
    return word if word in SPLIT_NAMES else None


def find_files(path: Path, split: str | None) -> tuple[list[Path], str]:
    """The files of `split` at `path`, sorted, and the split's name, ``all`` if the names tell none."""
    if path.is_file():
        return [path], _split_of(path) or WHOLE
    if not path.is_dir():
        raise UserError(f"{path} does not exist: check the path")
    files = sorted(path.glob("*.parquet")) or sorted(path.glob("data/*.parquet"))
    if not files:
        raise UserError(f"{path} has no .parquet files: give a file, or a folder that holds some")
    splits = sorted({name for name in map(_split_of, files) if name})
    if not splits:
        return files, WHOLE
    if split is None and len(splits) == 1:
        split = splits[0]
    if split not in splits:
        asked = f"no split '{split}'" if split else "several splits"
        raise UserError(f"{path} has {asked}: choose {' or '.join(splits)} with --split")
    return [file for file in files if _split_of(file) == split], split


def _open(path: Path) -> pq.ParquetFile:
    """The Parquet file at `path`, its columns checked."""
    try:
        file = pq.ParquetFile(path)
        names = [*file.schema_arrow.names]
    except _DAMAGE as error:
        reason = one_line(error)
        raise UserError(
            f"{path} is not a readable Parquet file ({reason}): fetch it again"
        ) from error
    for column in ("image", "label"):
        if column not in names:
            raise UserError(
                f"{path} has no column '{column}' (it has {', '.join(names)}): rename the one that is it"
            )
    if not pa.types.is_integer(file.schema_arrow.field("label").type):
        kind = file.schema_arrow.field("label").type
        raise UserError(
            f"{path} has labels of type {kind}: number the classes from 0 in column 'label'"
        )
    _check_sizes(file.metadata, path)
    return file


def _check_sizes(metadata: pq.FileMetaData, path: Path) -> None:
    """UserError for more rows or larger groups than memory holds: labels are read at once, images group by group."""
    if not 0 <= metadata.num_rows <= MOST_ROWS:
        raise UserError(
            f"{path} states {metadata.num_rows:,} rows: split it into files of at most {MOST_ROWS:,}"
        )
    for group in range(metadata.num_row_groups):
        size = metadata.row_group(group).total_byte_size
        if not 0 <= size <= MOST_BYTES:
            raise UserError(
                f"{path} has a row group of {size:,} bytes: write it anew with groups of at most {MOST_BYTES >> 20} MB "
                f"(row_group_size=1000)"
            )


def footer(path: Path) -> bytes:
    """The metadata at the end of a Parquet file: schema, and place, size and statistics of every column chunk."""
    with path.open("rb") as file:
        file.seek(-8, os.SEEK_END)
        (length,) = struct.unpack("<I", file.read(4))
        file.seek(-8 - length, os.SEEK_END)
        return file.read(length)


def _labels(file: pq.ParquetFile, path: Path) -> NDArray[np.int64]:
    """The labels in `file`; UserError if any is missing."""
    try:
        column = file.read(columns=["label"]).column("label")
    except _DAMAGE as error:
        raise UserError(f"{path} is damaged ({one_line(error)}): fetch it again") from error
    if column.null_count:
        raise UserError(
            f"{path} has {column.null_count} rows without a label: take them out, or label them"
        )
    labels: NDArray[np.int64] = column.to_numpy().astype(np.int64)
    return labels


def class_names(schema: pa.Schema, labels: NDArray[np.int64], name: str) -> tuple[str, ...]:
    """The names that Hugging Face's metadata gives the labels, else their numbers up to the largest there is."""
    try:
        stored = json.loads((schema.metadata or {})[b"huggingface"])
        names = stored["info"]["features"]["label"]["names"]
        if isinstance(names, list) and all(isinstance(name, str) for name in names):
            return tuple(names)
    except (KeyError, TypeError, ValueError, RecursionError):
        pass
    return numbered(labels, name)


class ParquetImages(Photographs):
    """Images in Parquet files, read a row group at a time; the last group is kept, so go through it in order."""

    name = "parquet"

    def __init__(self, split: str, paths: list[Path], asked: dict[str, Any] | None = None) -> None:
        self.split = split
        self.paths = paths
        self.prepare(Preprocessing(), asked or {})
        self._files = [_open(path) for path in paths]
        per_file = [_labels(file, path) for file, path in zip(self._files, paths, strict=True)]
        self.labels = np.concatenate(per_file)
        if not len(self.labels):
            raise UserError(f"{paths[0]} has no rows: give a file that holds images")
        self.classes = class_names(self._files[0].schema_arrow, self.labels, str(paths[0]))
        groups = [
            (file, group)
            for file in range(len(paths))
            for group in range(self._files[file].num_row_groups)
        ]
        sizes = [self._files[file].metadata.row_group(group).num_rows for file, group in groups]
        if sum(sizes) != len(self.labels):
            raise UserError(
                f"{paths[0]} is damaged ({len(self.labels)} labels for {sum(sizes)} images): fetch it again"
            )
        self._groups = groups
        self._ends = np.cumsum(sizes)
        self._file_starts = np.cumsum([0, *(len(labels) for labels in per_file)])
        self._kept: tuple[int, Any] = (-1, None)
        self._lock = Lock()

    def __getstate__(self) -> dict[str, Any]:
        """All but what is open, for another process, which opens the files itself."""
        return {
            name: value
            for name, value in vars(self).items()
            if name not in ("_files", "_kept", "_lock")
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Open the files again."""
        vars(self).update(state)
        self._files = [_open(path) for path in self.paths]
        self._kept = (-1, None)
        self._lock = Lock()

    def _column(self, place: int) -> Any:
        """The image column of row group `place`, read unless it is the one kept."""
        with self._lock:
            if self._kept[0] != place:
                file, group = self._groups[place]
                try:
                    column = (
                        self._files[file].read_row_group(group, columns=["image"]).column("image")
                    )
                    if len(column) != self._files[file].metadata.row_group(group).num_rows:
                        raise ValueError(f"{len(column)} rows where others are stated")
                except _DAMAGE as error:
                    reason = one_line(error)
                    raise UserError(
                        f"{self.paths[file]} is damaged ({reason}): fetch it again"
                    ) from error
                self._kept = (place, column)
            return self._kept[1]

    def image(self, index: int) -> NDArray[np.uint8]:
        """The pixels of one row; UserError naming file and row if there are none."""
        place = int(np.searchsorted(self._ends, check_index(index, len(self)), side="right"))
        column = self._column(place)
        file = self._groups[place][0]
        name = f"{self.paths[file]} row {index - int(self._file_starts[file])}"
        try:
            cell = column[index - int(self._ends[place]) + len(column)].as_py()
        except _DAMAGE as error:
            raise UserError(
                f"{name} is damaged ({one_line(error)}): fetch the file again"
            ) from error
        content = cell.get("bytes") if isinstance(cell, dict) else cell
        if not isinstance(content, bytes):
            raise UserError(
                f"{name} has no image bytes in column 'image': store the images in the file, not their paths"
            )
        return decode(content, name)

    def sample(self, index: int, image_size: int) -> NDArray[np.float32]:
        """The image resized, cropped and normalised."""
        return self.preprocess(self.image(index), image_size)

    def identity(self) -> Manifest:
        """Names, sizes and footers of the files (a footer changes with the data), labels, and the preprocessing."""
        files = [
            [path.name, path.stat().st_size, hashlib.sha256(footer(path)).hexdigest()]
            for path in self.paths
        ]
        return {
            "files": digest([files, self.labels.tolist()]),
            "preprocess": self.preprocess.identity(),
        }


def open_parquet(request: Request) -> ParquetImages:
    """Open ``parquet:PATH``; without a split, PATH must not hold several."""
    if request.path is None:
        raise UserError("parquet needs a file or a folder: write parquet:PATH")
    files, split = find_files(Path(request.path).expanduser(), request.split)
    return ParquetImages(split, files, asked_of(request))

"""`parquet:PATH`: images in Parquet as on the Hugging Face Hub, in columns `image` and `label`.

`image` is a struct {bytes, path} or plain bytes, `label` a whole number. PATH is one file or a
folder of files called SPLIT.parquet, SPLIT-00000-of-00004.parquet and the like, which may be links,
as in the Hub's cache.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from backbones.common.errors import UserError
from backbones.common.paths import local_path
from backbones.preprocessing import Preprocessing
from suite.data.base import (
    UNDIVIDED,
    IntArray,
    Request,
    digest,
    numbered_classes,
    one_line,
)
from suite.data.images.imagefolder import SPLIT_NAMES
from suite.data.loading.decode import fresh, stamp
from suite.data.loading.preprocess import Photographs, overrides_in

# What pyarrow raises for a damaged file, depending on where the damage lies.
_DAMAGE = (pa.ArrowException, OSError, ValueError, LookupError, MemoryError, OverflowError)
# Labels are read at once and images a row group at a time: both must fit into memory.
MAX_ROWS = 50_000_000
MAX_BYTES = 1 << 31
# Several threads may decode images of one row group, which shall be read once. A lock of the data
# set's own could not be sent to worker processes with it.
_READING = Lock()


def _split_of(path: Path) -> str | None:
    """The split that a file's name begins with, if it is a usual one."""
    word = re.split(r"[-_.]", path.name, maxsplit=1)[0]
    return word if word in SPLIT_NAMES else None


def find_files(path: Path, split: str | None) -> tuple[list[Path], str]:
    """Sorted files of `split` at `path`, and its name; `UNDIVIDED` if no file names a split."""
    if path.is_file():
        return [path], _split_of(path) or UNDIVIDED
    if not path.is_dir():
        raise UserError(f"{path} does not exist: check the path")
    files = sorted(path.glob("*.parquet")) or sorted(path.glob("data/*.parquet"))
    if not files:
        raise UserError(f"{path} has no .parquet files: give a file, or a folder that holds some")
    splits = sorted({name for name in map(_split_of, files) if name})
    if not splits:
        return files, UNDIVIDED
    if split is None and len(splits) == 1:
        split = splits[0]
    if split not in splits:
        problem = f"no split '{split}'" if split else "several splits"
        raise UserError(f"{path} has {problem}: choose {' or '.join(splits)} with --split")
    return [file for file in files if _split_of(file) == split], split


def _open(path: Path) -> pq.ParquetFile:
    """The Parquet file at `path`; UserError unless its columns and sizes can be used."""
    try:
        file = pq.ParquetFile(path)
        schema = file.schema_arrow
    except _DAMAGE as error:
        reason = one_line(error)
        raise UserError(
            f"{path} is not a readable Parquet file ({reason}): fetch it again"
        ) from error
    for column in ("image", "label"):
        if column not in schema.names:
            names = ", ".join(schema.names)
            raise UserError(
                f"{path} has no column '{column}' (it has {names}): rename the one that is it"
            )
    kind = schema.field("label").type
    if not pa.types.is_integer(kind):
        raise UserError(
            f"{path} has labels of type {kind}: number the classes from 0 in column 'label'"
        )
    # The footer may state anything: sizes are checked before memory is taken for them.
    if not 0 <= file.metadata.num_rows <= MAX_ROWS:
        raise UserError(
            f"{path} states {file.metadata.num_rows:,} rows: "
            f"split it into files of at most {MAX_ROWS:,}"
        )
    for group in range(file.num_row_groups):
        size = file.metadata.row_group(group).total_byte_size
        if not 0 <= size <= MAX_BYTES:
            raise UserError(
                f"{path} has a row group of {size:,} bytes: write it anew with groups of at most "
                f"{MAX_BYTES >> 20} MB (row_group_size=1000)"
            )
    return file


@contextmanager
def _reading(name: str, fix: str = "fetch it again") -> Iterator[None]:
    """UserError with `fix` for what pyarrow raises inside."""
    try:
        yield
    except _DAMAGE as error:
        raise UserError(f"{name} is damaged ({one_line(error)}): {fix}") from error


def _labels(file: pq.ParquetFile, path: Path) -> IntArray:
    """The labels in `file`; UserError if any is missing."""
    with _reading(str(path)):
        column = file.read(columns=["label"]).column("label")
    if column.null_count:
        raise UserError(
            f"{path} has {column.null_count} rows without a label: take them out, or label them"
        )
    labels: IntArray = column.to_numpy().astype(np.int64)
    return labels


def footer(path: Path) -> bytes:
    """The metadata of a Parquet file: schema, and place, size and statistics of every chunk."""
    with path.open("rb") as file:
        # The file ends in the length of the footer and four letters.
        file.seek(-8, os.SEEK_END)
        (length,) = struct.unpack("<I", file.read(4))
        file.seek(-8 - length, os.SEEK_END)
        return file.read(length)


def class_names(schema: pa.Schema, labels: IntArray, name: str) -> tuple[str, ...]:
    """Class names from the Hub's metadata, else the numbers up to the largest label."""
    try:
        metadata = json.loads((schema.metadata or {})[b"huggingface"])
        names = metadata["info"]["features"]["label"]["names"]
        if isinstance(names, list) and all(isinstance(name, str) for name in names):
            return tuple(names)
    except (KeyError, TypeError, ValueError, RecursionError):
        # Metadata are optional, and may be of another writer.
        pass
    return numbered_classes(labels, name)


class ParquetImages(Photographs):
    """Images in Parquet files, read a row group at a time.

    The last group is kept, so that images in their order read each group once.
    """

    name = "parquet"

    def __init__(self, split: str, paths: list[Path], overrides: dict[str, Any]) -> None:
        self.split = split
        self.paths = paths
        self.prepare(Preprocessing(), overrides)
        labels: list[IntArray] = []
        # Of every row group the file, its number there, and its first row there.
        self._groups: list[tuple[Path, int, int]] = []
        sizes: list[int] = []
        schema = None
        for path in paths:
            file = _open(path)
            schema = schema or file.schema_arrow
            labels.append(_labels(file, path))
            row = 0
            for group in range(file.num_row_groups):
                self._groups.append((path, group, row))
                sizes.append(file.metadata.row_group(group).num_rows)
                row += sizes[-1]
        self.labels = np.concatenate(labels)
        if not len(self.labels):
            raise UserError(f"{paths[0]} has no rows: give a file that holds images")
        self.classes = class_names(schema, self.labels, str(paths[0]))
        self._ends = np.cumsum(sizes)
        # A damaged footer may state other numbers of rows than the column of labels has.
        if self._ends[-1] != len(self.labels):
            raise UserError(
                f"{paths[0]} is damaged ({len(self.labels)} labels for {self._ends[-1]} images): "
                f"fetch it again"
            )
        # Of each picture the row, all files counted on.
        self.rows: IntArray = np.arange(len(self.labels))
        self._kept: tuple[int, Any] = (-1, None)

    def __getstate__(self) -> dict[str, Any]:
        """The state for a worker process, without the row group that is kept."""
        return vars(self) | {"_kept": (-1, None)}

    def _column(self, number: int) -> Any:
        """The image column of row group `number`, read unless it is the one kept."""
        with _READING:
            if self._kept[0] != number:
                path, group, _ = self._groups[number]
                with _reading(str(path)):
                    file = pq.ParquetFile(path)
                    column = file.read_row_group(group, columns=["image"]).column("image")
                    rows = file.metadata.row_group(group).num_rows
                    if len(column) != rows:
                        raise ValueError(f"{len(column)} rows where {rows} are stated")
                self._kept = (number, column)
            return self._kept[1]

    @property
    def names(self) -> list[str]:
        """The rows."""
        return list(map(str, self.rows.tolist()))

    def fetch(self, index: int) -> tuple[bytes, str, str]:
        """The bytes of one row, file and row, and a stamp of both; UserError without bytes."""
        place = int(self.rows[index])
        number = self._group_of(place)
        path, _, first_row = self._groups[number]
        status = path.stat()
        column = self._column(number)
        row = place - int(self._ends[number]) + len(column)
        name = f"{path} row {first_row + row}"
        with _reading(name, "fetch the file again"):
            cell = column[row].as_py()
        content = cell.get("bytes") if isinstance(cell, dict) else cell
        # The path in a cell is not opened: it could lead to any file of this machine.
        if not isinstance(content, bytes):
            raise UserError(
                f"{name} has no image bytes in column 'image': "
                f"store the images in the file, not their paths"
            )
        return content, name, "" if fresh(status) else f"{stamp(status)}-{place}"

    def stamp(self, index: int) -> str:
        """The present stamp of the file of a row, and the row."""
        place = int(self.rows[index])
        path, _, _ = self._groups[self._group_of(place)]
        return f"{stamp(path.stat())}-{place}"

    def reordered(self, order: IntArray) -> Self:
        """The same rows under other numbers."""
        other = copy.copy(self)
        other.rows, other.labels = self.rows[order], self.labels[order]
        return other

    def _group_of(self, place: int) -> int:
        return int(np.searchsorted(self._ends, place, side="right"))

    @property
    def folder(self) -> Path:
        """The folder of the files."""
        return self.paths[0].parent

    def listing(self) -> str:
        """Hash of names, sizes and footers of the files, and of the labels."""
        files = []
        for path in self.paths:
            # The footer changes with the data, and is read in no time.
            files.append([path.name, path.stat().st_size, hashlib.sha256(footer(path)).hexdigest()])
        return digest([files, self.labels.tolist()])


def open_parquet(request: Request) -> ParquetImages:
    """Open ``parquet:PATH``; a split must be chosen if PATH has several."""
    if request.path is None:
        raise UserError("parquet needs a file or a folder: write parquet:PATH")
    files, split = find_files(local_path(request.path), request.split)
    return ParquetImages(split, files, overrides_in(request))

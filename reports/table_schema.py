"""Bounded reading of a run folder's tables, which may come from anyone.

Each column must be of its type and within its range.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pandas.api.types import is_bool, is_number, is_scalar

from backbones.common.errors import UserError
from suite.store.schema import BYTES, INDICES, LISTS, TEXTS, WHOLE
from suite.store.schema import TRUTHS as NULLABLE

PAIRS = ("confusion", "pixels")  # of classes, in outcomes of segmentation
AGAIN = "delete the file and run the command of this run again"
MOST = 1e30  # of a measurement
MOST_ROWS = 20_000_000
MOST_BYTES = 1 << 30
LARGEST = 1 << 40  # of a whole number, which may be an image or a count of tokens
LARGEST_PLACE = 1 << 12  # of a row, a column or a block
SPARSE = 1 << 16  # places of a grid of which few may be known
# This one is a mask, never empty, and stays of its own type.
TRUTHS = frozenset(NULLABLE) - {"is_reference"}


def read_frame(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read the table at `path`, which must have `columns`.

    UserError if the file is damaged or too large, or lacks a column or has one of another type.
    """
    try:
        frame = _table(path).to_pandas()
    except UserError:
        raise
    except Exception as error:
        # pyarrow raises many types for a damaged file
        reason = " ".join(str(error).split())[:120]
        fix = "delete it and resume the run"
        raise UserError(f"'{path}' cannot be read ({reason}): {fix}") from error
    for column in columns:
        if column not in frame.columns:
            raise UserError(f"'{path}' lacks the column '{column}': {AGAIN}")
        values = frame[column]
        typed = _typed(values, column, path)
        if typed is not values:
            frame[column] = typed
    if {"row", "col"} <= set(columns) and len(frame):
        area = (int(frame["row"].max()) + 1) * (int(frame["col"].max()) + 1)
        # a figure allocates every position of the grid
        if area > max(len(frame), SPARSE):
            raise UserError(
                f"'{path}' has {len(frame):,} rows for a grid of {area:,} positions: "
                "delete the file and resume"
            )
    return frame


def _table(path: Path) -> pa.Table:
    """Read the table at `path` without pandas metadata; UserError if it would not fit in memory."""
    if not path.is_file():
        raise UserError(f"'{path}' is no file: delete it and resume the run")
    metadata = pq.read_metadata(path)
    # the footer states sizes before anything is decompressed
    largest = 0
    for group in range(metadata.num_row_groups):
        rows = metadata.row_group(group)
        largest = max(largest, rows.total_byte_size)
        for column in range(metadata.num_columns):
            largest = max(largest, rows.column(column).num_values)
    if not 0 <= metadata.num_rows <= MOST_ROWS or largest > MOST_BYTES:
        raise UserError(
            f"'{path}' states {metadata.num_rows:,} rows, too many for a report: "
            "delete it and resume"
        )
    schema = metadata.schema.to_arrow_schema()
    # read as dictionaries, since a page may repeat one long value without end
    long = [field.name for field in schema if _is_long(field.type)]
    # `read_table` would set up a data set for each of many small files
    with pq.ParquetFile(path, metadata=metadata, read_dictionary=long) as file:
        table = file.read().replace_schema_metadata(None)
    for column in long:
        if _unfolded(table.column(column)) > MOST_BYTES:
            size = f"{MOST_BYTES >> 20} MB"
            raise UserError(f"'{path}' unfolds to more than {size}: delete it and resume the run")
    return pa.table({field: _plain(table.column(field)) for field in table.column_names})


def _is_long(kind: pa.DataType) -> bool:
    """Return whether values of this type may be long."""
    return bool(pa.types.is_string(kind) or pa.types.is_binary(kind))


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column with its dictionary resolved."""
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _unfolded(column: pa.ChunkedArray) -> int:
    """Return the bytes of a column once its dictionary is resolved."""
    if not pa.types.is_dictionary(column.type):
        return int(column.nbytes)
    parts = (pc.binary_length(chunk.dictionary).take(chunk.indices) for chunk in column.chunks)
    return sum(pc.sum(part).as_py() or 0 for part in parts)


def _typed(values: pd.Series, column: str, path: Path) -> pd.Series:
    """Return `values` as the type of `column`; UserError if they are of another."""
    if column in TEXTS:
        if isinstance(values.dtype, pd.StringDtype):
            return values
        # NaN, which is unequal to itself, marks a missing text
        texts = values.map(lambda value: value is None or isinstance(value, str) or value != value)
        if not texts.all():
            raise _wrong(path, column, "texts")
        return values
    if column in LISTS:
        return values.map(lambda value: _owners(value, column, path))
    if column in PAIRS:
        return values.map(lambda value: _counts(value, column, path))
    if column in BYTES:
        if not values.map(lambda value: isinstance(value, bytes)).all():
            raise _wrong(path, column, "image files")
        return values
    if column in TRUTHS:
        return _truths(values, column, path)
    if column in WHOLE:
        return _whole(values, column, path, LARGEST)
    if column in INDICES:
        return _whole(values, column, path, LARGEST_PLACE, -1 if column == "block" else 0)
    if not (pd.api.types.is_numeric_dtype(values) or values.isna().all()):
        raise _wrong(path, column, "numbers")
    numeric = pd.api.types.is_numeric_dtype(values)
    # a budget is a share, also where every value happens to be whole
    if column != "budget" and numeric and not pd.api.types.is_float_dtype(values):
        return values
    measured = values if values.dtype == "float64" else values.astype("float64")
    # larger numbers are no measurements and would overflow the figures
    large = np.abs(measured.to_numpy()) >= MOST
    return measured.mask(large) if large.any() else measured


def _truths(values: pd.Series, column: str, path: Path) -> pd.Series:
    """Return True, False, or None where nothing was tested."""
    truths: list[bool | None] = []
    for value in values:
        if (is_bool(value) or is_number(value)) and value in (0, 1):
            truths.append(bool(value))
        elif is_scalar(value) and pd.isna(value):
            truths.append(None)
        else:
            raise _wrong(path, column, "truths")
    return pd.Series(truths, index=values.index, dtype=object)


def _whole(
    values: pd.Series, column: str, path: Path, largest: int, least: int = -LARGEST
) -> pd.Series:
    """Return whole numbers from `least` to `largest`."""
    if not pd.api.types.is_numeric_dtype(values) or pd.api.types.is_complex_dtype(values):
        raise _wrong(path, column, "whole numbers")
    # NaN and infinity fail both comparisons
    numbers = values.to_numpy(dtype="float64")
    whole = numbers == np.floor(numbers)
    within = (least <= numbers) & (numbers <= largest)
    if not (whole & within).all():
        raise _wrong(path, column, f"whole numbers from {least:,} to {largest:,}")
    return values if pd.api.types.is_integer_dtype(values) else values.astype("int64")


def _owners(value: Any, column: str, path: Path) -> Any:
    """Return the token that each position lives in, or a negative mark."""
    if isinstance(value, np.ndarray) and value.ndim == 1 and value.size:
        whole = np.issubdtype(value.dtype, np.integer)
        if whole and value.min() >= -2 and value.max() < value.size:
            return value
    raise _wrong(path, column, "lists of places")


def _counts(value: Any, column: str, path: Path) -> Any:
    """Return whole numbers from 0 on, of which there may be none."""
    if isinstance(value, np.ndarray) and value.ndim == 1:
        whole = np.issubdtype(value.dtype, np.integer)
        if not value.size or (whole and value.min() >= 0 and value.max() <= LARGEST):
            return value.astype(np.int64)
    raise _wrong(path, column, "lists of counts")


def _wrong(path: Path, column: str, wanted: str) -> UserError:
    """Return the error of a column that is not of its type."""
    return UserError(f"'{path}' has no {wanted} in the column '{column}': {AGAIN}")

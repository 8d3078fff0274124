"""The tables of a run folder, which may come from anyone: read within bounds, each column of the kind it must be."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pandas.api.types import is_bool, is_number

from backbones.common.errors import UserError

AGAIN = "delete the file and run the command of this run again"  # whichever made it
MOST = 1e30  # of a measurement
MOST_ROWS = 20_000_000
MOST_BYTES = 1 << 30
LARGEST = 1 << 40  # of a whole number, which may be an image or a count of tokens
LARGEST_PLACE = 1 << 12  # of a row, a column or a block
TEXTS = frozenset(
    ("backbone", "label", "reference", "one", "other", "axis", "method", "setting", "status", "reason", "sentence",
     "verdict", "interval", "machine", "precision", "mixer", "against", "quantity", "first", "second", "ranking",
     "target", "score", "given", "nearness", "baseline")
)  # fmt: skip
WHOLE = frozenset(("image", "prediction", "dense_prediction", "label_true"))
PLACES = frozenset(("block", "row", "col", "seed"))
SPARSE = 1 << 16  # places of a grid of which few may be known
LISTS, BYTES, TRUTHS = (
    frozenset(("owner",)),
    frozenset(("png",)),
    frozenset(("significant", "shown")),
)


def read_frame(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """The table at `path`, `columns` being what it must have.

    UserError, one line, for a file that is damaged, too large, lacks a column or has one of another
    kind.
    """
    try:
        frame = _table(path).to_pandas()
    except UserError:
        raise
    except Exception as error:  # pyarrow raises many kinds for a damaged file
        reason = " ".join(str(error).split())[:120]
        raise UserError(
            f"'{path}' cannot be read ({reason}): delete it and resume the run"
        ) from error
    for column in columns:
        if column not in frame.columns:
            raise UserError(f"'{path}' lacks the column '{column}': {AGAIN}")
        frame[column] = _typed(frame[column], column, path)
    if {"row", "col"} <= set(columns) and len(frame):
        area = (int(frame["row"].max()) + 1) * (int(frame["col"].max()) + 1)
        if area > max(len(frame), SPARSE):  # what draws it makes room for every place
            raise UserError(
                f"'{path}' has {len(frame):,} rows for a grid of {area:,} places: delete the file and resume"
            )
    return frame


def _table(path: Path) -> pa.Table:
    """The table at `path` without what its writer noted about pandas; UserError if it does not fit in memory."""
    if not path.is_file():
        raise UserError(f"'{path}' is no file: delete it and resume the run")
    metadata = pq.read_metadata(path)
    claimed = [
        metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups)
    ]
    values = [
        metadata.row_group(group).column(column).num_values
        for group in range(metadata.num_row_groups)
        for column in range(metadata.num_columns)
    ]
    if not 0 <= metadata.num_rows <= MOST_ROWS or max([*claimed, *values], default=0) > MOST_BYTES:
        raise UserError(
            f"'{path}' states {metadata.num_rows:,} rows, too many for a report: delete it and resume"
        )
    schema = metadata.schema.to_arrow_schema()
    long = [
        field.name for field in schema if _is_long(field.type)
    ]  # a page may repeat one long value without end
    table = pq.read_table(path, read_dictionary=long, partitioning=None).replace_schema_metadata(
        None
    )
    for column in long:
        if _unfolded(table.column(column)) > MOST_BYTES:
            raise UserError(
                f"'{path}' unfolds to more than {MOST_BYTES >> 20} MB: delete it and resume the run"
            )
    return pa.table({field: _plain(table.column(field)) for field in table.column_names})


def _is_long(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_binary(kind))


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _unfolded(column: pa.ChunkedArray) -> int:
    """Bytes of a column of texts once each stands for itself."""
    if not pa.types.is_dictionary(column.type):
        return int(column.nbytes)
    parts = (pc.binary_length(chunk.dictionary).take(chunk.indices) for chunk in column.chunks)
    return sum(pc.sum(part).as_py() or 0 for part in parts)


def _typed(values: pd.Series, column: str, path: Path) -> pd.Series:
    """`values` as the kind that `column` has."""
    if column in TEXTS:
        if not values.map(
            lambda value: value is None or isinstance(value, str) or value != value
        ).all():
            raise _wrong(path, column, "texts")
        return values
    if column in LISTS:
        return values.map(lambda value: _owners(value, column, path))
    if column in BYTES:
        if not values.map(lambda value: isinstance(value, bytes)).all():
            raise _wrong(path, column, "image files")
        return values
    if column in TRUTHS:
        return _truths(values, column, path)
    if column in WHOLE:
        return _whole(values, column, path, LARGEST)
    if column in PLACES:
        return _whole(values, column, path, LARGEST_PLACE, -1 if column == "block" else 0)
    if not (pd.api.types.is_numeric_dtype(values) or values.isna().all()):
        raise _wrong(path, column, "numbers")
    if (
        column != "budget"
        and not pd.api.types.is_float_dtype(values)
        and pd.api.types.is_numeric_dtype(values)
    ):
        return values
    measured = values.astype("float64")
    return measured.where(measured.abs() < MOST)  # what is larger is no measurement


def _truths(values: pd.Series, column: str, path: Path) -> pd.Series:
    """True, False, or None where nothing was asked; runs from before wrote 1, 0 and NaN."""
    known = values.notna()
    if not all((is_bool(value) or is_number(value)) and value in (0, 1) for value in values[known]):
        raise _wrong(path, column, "truths")
    told = [bool(value) if there else None for value, there in zip(values, known, strict=True)]
    return pd.Series(told, index=values.index, dtype=object)


def _whole(
    values: pd.Series, column: str, path: Path, largest: int, least: int = -LARGEST
) -> pd.Series:
    if not pd.api.types.is_numeric_dtype(values) or pd.api.types.is_complex_dtype(values):
        raise _wrong(path, column, "whole numbers")
    inexact = values.to_numpy(dtype="float64")
    within = (
        np.isfinite(inexact)
        & (inexact == np.floor(inexact))
        & (least <= inexact)
        & (inexact <= largest)
    )
    if not within.all():
        raise _wrong(path, column, f"whole numbers from {least:,} to {largest:,}")
    return values if pd.api.types.is_integer_dtype(values) else values.astype("int64")


def _owners(value: Any, column: str, path: Path) -> Any:
    """The token that each place lives in, one of the places or a negative mark."""
    whole = (
        isinstance(value, np.ndarray)
        and value.ndim == 1
        and np.issubdtype(value.dtype, np.integer)
        and value.size
    )
    if whole and value.min() >= -2 and value.max() < value.size:
        return value
    raise _wrong(path, column, "lists of places")


def _wrong(path: Path, column: str, wanted: str) -> UserError:
    return UserError(f"'{path}' has no {wanted} in the column '{column}': {AGAIN}")

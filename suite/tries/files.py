"""Tables of tries on disk: a Parquet file a backbone, a row for each setting at each budget.

Answers are packed, one bit an image; what the tries depend on is in the file's metadata. Equal
tries give equal bytes.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter

from backbones.common.errors import UserError
from suite.config.run_spec import TRIES_FILES
from suite.system.atomic_files import write_atomic
from suite.tries.settings import Setting
from suite.tries.table import PROTOCOL, Origin, Tries, Try

METADATA = b"suite.tries"
COLUMNS = pa.schema(
    {
        "method": pa.string(),
        "schedule": pa.string(),
        "cls_window": pa.int64(),
        "budget": pa.float64(),
        "seed": pa.int64(),
        "removed": pa.float64(),
        "tokens_removed": pa.int64(),
        "top1": pa.float64(),
        "picked": pa.bool_(),
        "correct": pa.binary(),
        "reason": pa.string(),
    }
)
ORIGIN = TypeAdapter(Origin)
FIX = "make one with 'python -m suite tune'"


def file_name(backbone: str) -> str:
    """Name of the file with the tries of a backbone, without brackets that a shell would read."""
    return f"tries-{re.sub('[^A-Za-z0-9_.+-]+', '_', backbone).strip('_')}.parquet"


def write_tries(tries: Tries, path: Path) -> None:
    """Write a table whole or not at all."""
    rows = []
    for row in tries.rows:
        packed = None if row.correct is None else np.packbits(row.correct).tobytes()
        rows.append(
            {
                "method": row.method,
                "schedule": row.setting.schedule,
                "cls_window": row.setting.cls_window,
                "budget": row.budget,
                "seed": tries.origin.seed,
                "removed": row.removed,
                "tokens_removed": row.tokens_removed,
                "top1": row.top1,
                "picked": tries.pick(row.method) == row.setting,
                "correct": packed,
                "reason": row.reason,
            }
        )
    table = pa.Table.from_pylist(rows, COLUMNS)
    table = table.replace_schema_metadata({METADATA: ORIGIN.dump_json(tries.origin)})
    sink = pa.BufferOutputStream()
    # Answers hardly repeat: a dictionary of them would only add to the file.
    pq.write_table(table, sink, compression="zstd", use_dictionary=["method", "schedule"])
    write_atomic({path: sink.getvalue().to_pybytes()})


def open_tries(path: Path) -> list[Tries]:
    """Read the table at `path`, or all tables in the folder of a run, one a backbone.

    UserError if there is none, or if one is damaged or of another version.
    """
    files = [path]
    if path.is_dir():
        files = sorted(path.glob(TRIES_FILES))
    if not files:
        raise UserError(f"{path} holds no table of tries: {FIX}, or give another folder")
    return [read_tries(file) for file in files]


def read_origin(path: Path) -> Origin:
    """Read what a table depends on, without its rows; UserError if it is none of this version."""
    try:
        origin = ORIGIN.validate_json((pq.read_schema(path).metadata or {})[METADATA])
    except FileNotFoundError:
        raise UserError(f"there is no table of tries at {path}: {FIX}") from None
    except (OSError, LookupError, ValueError):  # pydantic's and pyarrow's are ValueErrors
        raise UserError(f"{path} is no table of tries, or damaged: {FIX}") from None
    if origin.protocol != PROTOCOL:
        raise UserError(
            f"{path} was tuned by another version (protocol {origin.protocol}, this one has "
            f"{PROTOCOL}): {FIX}"
        )
    return origin


def read_tries(path: Path) -> Tries:
    """Read a table; UserError if it is none of this version, or damaged."""
    origin = read_origin(path)
    try:
        table = pq.read_table(path)
        if not table.schema.equals(COLUMNS):
            raise ValueError("other columns")
        stored = table.to_pylist()
        rows = tuple(_row(values, len(origin.images)) for values in stored)
    except (OSError, LookupError, TypeError, ValueError):
        raise UserError(f"{path} is no table of tries, or damaged: {FIX}") from None
    picks = {}
    for values, row in zip(stored, rows, strict=True):
        if values["picked"]:
            picks[row.method] = row.setting
    return Tries(origin, rows, picks)


def _row(values: dict[str, Any], images: int) -> Try:
    """One row; ValueError if its answers are not those to so many images."""
    packed, correct = values["correct"], None
    if packed is not None:
        if len(packed) != (images + 7) // 8:
            raise ValueError("answers to another number of images")
        correct = np.unpackbits(np.frombuffer(packed, np.uint8), count=images).astype(bool)
    setting = Setting(values["schedule"], values["cls_window"])
    shared = {name: values[name] for name in ("method", "budget", "removed", "tokens_removed")}
    return Try(**shared, setting=setting, correct=correct, reason=values["reason"])

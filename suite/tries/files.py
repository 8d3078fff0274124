"""Tables of tries on disk: a Parquet file a backbone, a row for each setting at each budget.

What came of the images is packed by `FORMS`; what the tries depend on is in the file's metadata.
Equal tries give equal bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import TypeAdapter

from backbones.common.errors import UserError
from suite.config.run_spec import TRIES_FILES
from suite.stats.correctness import Outcomes
from suite.stats.hits import Hits
from suite.stats.overlap import Overlaps
from suite.system.atomic_files import write_atomic
from suite.tries.settings import Setting, on_grid
from suite.tries.table import PROTOCOL, Origin, Tries, Try

METADATA = b"suite.tries"
ORIGIN = TypeAdapter(Origin)
FIX = "make one with 'python -m suite tune'"


@dataclass(frozen=True)
class Form:
    """How what came of the images is stored, of one task.

    ``kind``    its outcomes, made of what `unpack` gives
    ``column``  where it stands, packed; the accuracy stands under the name of the metric
    """

    kind: type[Hits] | type[Overlaps]
    column: str
    pack: Callable[[Any], bytes]
    unpack: Callable[[bytes, int], NDArray[Any]]

    @property
    def columns(self) -> pa.Schema:
        """The columns of a file."""
        return pa.schema(
            {
                "method": pa.string(),
                "schedule": pa.string(),
                "cls_window": pa.int64(),
                "budget": pa.float64(),
                "seed": pa.int64(),
                "removed": pa.float64(),
                "tokens_removed": pa.int64(),
                self.kind.metric.column: pa.float64(),
                "picked": pa.bool_(),
                self.column: pa.binary(),
                "reason": pa.string(),
            }
        )


def pack_hits(outcomes: Hits) -> bytes:
    """Whether each image is right, a bit each."""
    return np.packbits(outcomes.correct[0]).tobytes()


def unpack_hits(packed: bytes, images: int) -> NDArray[np.bool_]:
    """The hits (1, images); ValueError if they are not of so many."""
    if len(packed) != (images + 7) // 8:
        raise ValueError("answers to another number of images")
    return np.unpackbits(np.frombuffer(packed, np.uint8), count=images).astype(bool)[None]


def pack_pixels(outcomes: Overlaps) -> bytes:
    """Pixels (2, K, images) of each class in both truth and prediction, and in either.

    Four bytes a number, the lowest ones of all numbers first: most others are zero.
    """
    numbers = np.ascontiguousarray(outcomes.pixels[0].transpose(1, 2, 0), "<u4")
    return numbers.reshape(-1, 1).view(np.uint8).T.tobytes()


def unpack_pixels(packed: bytes, images: int) -> NDArray[np.int64]:
    """The pixels (1, images, 2, K); ValueError if they are not of so many images."""
    numbers = np.frombuffer(packed, np.uint8).reshape(4, -1).T.copy().view("<u4")
    return numbers.reshape(2, -1, images).transpose(2, 0, 1).astype(np.int64)[None]


FORMS = (
    Form(Hits, "correct", pack_hits, unpack_hits),
    Form(Overlaps, "pixels", pack_pixels, unpack_pixels),
)


def file_name(backbone: str) -> str:
    """Name of the file with the tries of a backbone, without brackets that a shell would read."""
    return f"tries-{re.sub('[^A-Za-z0-9_.+-]+', '_', backbone).strip('_')}.parquet"


def write_tries(tries: Tries, path: Path) -> None:
    """Write a table whole or not at all."""
    form = next(form for form in FORMS if form.kind.metric == tries.metric)
    rows = []
    for row in tries.rows:
        rows.append(
            {
                "method": row.method,
                "schedule": row.setting.schedule,
                "cls_window": row.setting.cls_window,
                "budget": row.budget,
                "seed": tries.origin.seed,
                "removed": row.removed,
                "tokens_removed": row.tokens_removed,
                tries.metric.column: row.accuracy,
                "picked": tries.pick(row.method) == row.setting,
                form.column: None if row.outcomes is None else form.pack(row.outcomes),
                "reason": row.reason,
            }
        )
    table = pa.Table.from_pylist(rows, form.columns)
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
        # LookupError where the columns are those of no form.
        form = {form.columns: form for form in FORMS}[table.schema.remove_metadata()]
        stored = table.to_pylist()
        rows = tuple(_row(values, form, np.array(origin.images, np.int64)) for values in stored)
    except (OSError, LookupError, TypeError, ValueError):
        raise UserError(f"{path} is no table of tries, or damaged: {FIX}") from None
    picks = {}
    for values, row in zip(stored, rows, strict=True):
        if values["picked"]:
            picks[row.method] = row.setting
    return Tries(origin, rows, picks)


def _row(values: dict[str, Any], form: Form, images: NDArray[np.int64]) -> Try:
    """One row; ValueError if its answers are not those to these images."""
    shared = {name: values[name] for name in ("method", "budget", "removed", "tokens_removed")}
    outcomes: Outcomes | None = None
    if (packed := values[form.column]) is not None:
        name, removed = values["method"], values["removed"]
        answers = form.unpack(packed, len(images))
        outcomes = form.kind(name, answers, images, removed, coarse=on_grid(name))
    setting = Setting(values["schedule"], values["cls_window"])
    return Try(**shared, setting=setting, outcomes=outcomes, reason=values["reason"])

"""Parquet files with a checksum of themselves and a line that says what they contain.

Both are in the footer's key-value metadata, which other readers of Parquet ignore. The checksum is
the SHA-256 of the whole file with the digits of the checksum as zeros: a change of any byte is
noticed, before anything is parsed.
"""

from __future__ import annotations

import hashlib

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

CONTENTS, CHECKSUM = b"suite.contents", b"suite.sha256"
ZEROS = b"0" * 64
# In Thrift's compact protocol: the key, then a string of 64 bytes as the next field.
PREFIX = CHECKSUM + b"\x18\x40"


def parquet(frame: pd.DataFrame, metadata: dict[bytes, bytes] | None = None) -> bytes:
    """`frame` as a Parquet file with this metadata; equal frames give equal bytes."""
    # Not `Table.from_pandas`: what pandas notes of itself differs between its versions, and takes
    # longer than the columns of a shard.
    table = pa.table({name: pa.array(frame[name], from_pandas=True) for name in frame})
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, table.schema, compression="zstd") as writer:
        writer.write_table(table)
        if metadata:
            writer.add_key_value_metadata(metadata)
    return sink.getvalue().to_pybytes()


def with_checksum(frame: pd.DataFrame, contents: str) -> bytes:
    """`frame` as a Parquet file that says what it contains and carries its checksum."""
    file = parquet(frame, {CONTENTS: contents.encode(), CHECKSUM: ZEROS})
    return _with_digits(file, hashlib.sha256(file).hexdigest().encode())


def verify_checksum(file: bytes, contents: str) -> str | None:
    """What is wrong with a file that should have these `contents`; None if nothing is."""
    # The last one: the footer, after any data that happen to look like it.
    start = file.rfind(PREFIX)
    if start < 0:
        return "is torn, or not the suite's"
    digits = file[start + len(PREFIX) :][: len(ZEROS)]
    if hashlib.sha256(_with_digits(file, ZEROS)).hexdigest().encode() != digits:
        return "is torn or was changed"
    # Sound, but perhaps of another cell or shard: files can be copied about.
    metadata = pq.read_metadata(pa.BufferReader(file)).metadata
    if metadata[CONTENTS] == contents.encode():
        return None
    return f"holds {metadata[CONTENTS].decode()}"


def _with_digits(file: bytes, digits: bytes) -> bytes:
    """Replace the digits of the checksum."""
    start = file.rindex(PREFIX) + len(PREFIX)
    return file[:start] + digits + file[start + len(digits) :]

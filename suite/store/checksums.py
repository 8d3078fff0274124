"""Parquet files that carry a checksum of themselves and say what they hold, so that a torn or foreign one is noticed.

Both stand in the footer's key-value metadata, which every reader of Parquet passes over. The
checksum is the SHA-256 of the whole file with the checksum's own digits as zeros: a change of any
byte is noticed, and before anything is parsed.
"""

from __future__ import annotations

import hashlib

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

HOLDS, CHECKSUM = b"suite.holds", b"suite.sha256"
BLANK = b"0" * 64
MARK = (
    CHECKSUM + b"\x18\x40"
)  # in Thrift's compact protocol: the key, then a string of 64 bytes as the next field


def parquet(frame: pd.DataFrame, metadata: dict[bytes, bytes] | None = None) -> bytes:
    """`frame` as a Parquet file with this metadata; equal frames are equal bytes."""
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, table.schema, compression="zstd") as writer:
        writer.write_table(table)
        if metadata:
            writer.add_key_value_metadata(metadata)
    return sink.getvalue().to_pybytes()


def sealed(frame: pd.DataFrame, holds: str) -> bytes:
    """`frame` as a Parquet file that says what it `holds` and carries its checksum."""
    content = parquet(frame, {HOLDS: holds.encode(), CHECKSUM: BLANK})
    return _with_digits(content, hashlib.sha256(content).hexdigest().encode())


def fault(content: bytes, holds: str) -> str | None:
    """What is wrong with a file of this `content` that should hold `holds`; None if nothing is."""
    start = content.rfind(MARK)
    if start < 0:
        return "is torn, or not the suite's"
    digits = content[start + len(MARK) :][: len(BLANK)]
    if hashlib.sha256(_with_digits(content, BLANK)).hexdigest().encode() != digits:
        return "is torn or was changed"
    metadata = pq.read_metadata(pa.BufferReader(content)).metadata
    return None if metadata[HOLDS] == holds.encode() else f"holds {metadata[HOLDS].decode()}"


def _with_digits(content: bytes, digits: bytes) -> bytes:
    """`content` with these as the digits of its checksum."""
    start = content.rindex(MARK) + len(MARK)
    return content[:start] + digits + content[start + len(digits) :]

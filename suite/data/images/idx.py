"""The IDX format of MNIST and its kin: a typed array behind a big-endian header, usually gzipped."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backbones.common.errors import UserError
from suite.data.base import one_line

_UNSIGNED_BYTE = 8
# Four times what the largest file of MNIST's kin holds; a few bytes of gzip could swell to
# anything.
MAX_BYTES = 1 << 28


def parse_idx(content: bytes, name: str) -> NDArray[np.uint8]:
    """The array of uint8 that uncompressed IDX `content` holds; UserError naming `name` if it is not one."""
    if (
        len(content) < 4
        or content[:2] != b"\0\0"
        or content[2] != _UNSIGNED_BYTE
        or content[3] == 0
    ):
        raise UserError(f"{name} is not an IDX file of bytes: fetch it again")
    dimensions = content[3]
    header = 4 + 4 * dimensions
    if len(content) < header:
        raise UserError(f"{name} is cut off: fetch it again")
    shape = struct.unpack(f">{dimensions}I", content[4:header])
    if len(content) - header != int(np.prod(shape, dtype=object)):
        raise UserError(
            f"{name} holds {len(content) - header} bytes, its header says {shape}: fetch it again"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def gunzip(path: Path) -> bytes:
    """The content of a gzipped (``.gz``) or plain file; UserError if it cannot be read or holds too much."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be read ({one_line(error)}): fetch it again") from error
    if len(content) > MAX_BYTES:
        raise UserError(f"{path} holds more than {MAX_BYTES >> 20} MB: fetch it again")
    return content


def read_idx(path: Path) -> NDArray[np.uint8]:
    """The uint8 array in the IDX file at `path`, gzipped or not."""
    return parse_idx(gunzip(path), str(path))


def idx_bytes(array: NDArray[np.uint8]) -> bytes:
    """`array` as uncompressed IDX content."""
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, _UNSIGNED_BYTE, array.ndim, *array.shape)
    return header + np.ascontiguousarray(array, np.uint8).tobytes()

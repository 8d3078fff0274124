"""Writing files so that a reader, at any moment, sees the old content or the new and nothing between."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

AT_ONCE = 8  # flushes under way together: a disk takes several in the time of one


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`; what was written there takes `path`'s place when the block ends well.

    The data are on disk before the name changes, and the folder's entry after it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = beside(path)
    with _by_place({path: temporary}):
        try:
            yield temporary
            _flush(temporary)
            os.replace(temporary, path)
            _flush(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def place(contents: Mapping[Path, bytes]) -> None:
    """Put several files in their places, each in one step and in this order, when all their data are on disk."""
    temporaries = {path: beside(path) for path in contents}
    folders = dict.fromkeys(path.parent for path in contents)
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    with _by_place(temporaries):
        try:
            for path, temporary in temporaries.items():
                temporary.write_bytes(contents[path])
            with ThreadPoolExecutor(AT_ONCE) as pool:
                list(pool.map(_flush, temporaries.values()))
                for path, temporary in temporaries.items():
                    os.replace(temporary, path)
                list(pool.map(_flush, folders))
        finally:
            for temporary in temporaries.values():
                temporary.unlink(missing_ok=True)


def beside(path: Path) -> Path:
    """The name that this process writes under before the file takes its place at `path`."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


@contextmanager
def _by_place(temporaries: Mapping[Path, Path]) -> Iterator[None]:
    """Let the system's complaint about a temporary name be one about the path that was asked for."""
    try:
        yield
    except OSError as error:
        asked = {str(temporary): str(path) for path, temporary in temporaries.items()}
        if str(error.filename) in asked:
            error.filename = asked[str(error.filename)]
        raise


def write_text(path: Path, text: str) -> None:
    """Put `text` at `path` in one step."""
    place({path: text.encode()})


def to_json(value: Any) -> bytes:
    """`value` as JSON, equal values as equal bytes; NaN is refused."""
    return (
        json.dumps(value, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n"
    ).encode()


def write_json(path: Path, value: Any) -> None:
    """Put `value` at `path` in one step, as JSON (see `to_json`)."""
    place({path: to_json(value)})


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Atomic writes: at any moment a reader sees the old content of a file, or the new one, whole."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FLUSHES = 8  # at once: a disk takes several in the time of one


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path; what is written there replaces `path` if the block succeeds.

    The data are on disk before the name changes, and the folder's entry after it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temp_path(path)
    with _errors_about({path: temporary}):
        try:
            yield temporary
            # Without it, a crash of the machine could leave the new name with no data.
            _flush(temporary)
            os.replace(temporary, path)
            _flush(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def write_atomic(contents: Mapping[Path, bytes]) -> None:
    """Write several files, each atomically and in this order, once all their data are on disk."""
    temporaries = {path: temp_path(path) for path in contents}
    folders = dict.fromkeys(path.parent for path in contents)
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    with _errors_about(temporaries):
        try:
            for path, temporary in temporaries.items():
                temporary.write_bytes(contents[path])
            with ThreadPoolExecutor(FLUSHES) as pool:
                # A list, since errors are raised only where results are read.
                list(pool.map(_flush, temporaries.values()))
                for path, temporary in temporaries.items():
                    os.replace(temporary, path)
                list(pool.map(_flush, folders))
        finally:
            for temporary in temporaries.values():
                temporary.unlink(missing_ok=True)


def temp_path(path: Path) -> Path:
    """The path at which this process writes a file before it replaces the one at `path`."""
    # In the same folder, since a rename is atomic within one file system only.
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


@contextmanager
def _errors_about(temporaries: Mapping[Path, Path]) -> Iterator[None]:
    """Let errors name the paths of the files, by which users know them, not the temporary ones."""
    try:
        yield
    except OSError as error:
        paths = {str(temporary): str(path) for path, temporary in temporaries.items()}
        if str(error.filename) in paths:
            error.filename = paths[str(error.filename)]
        raise


def write_text(path: Path, text: str) -> None:
    """Write `text` to a file atomically."""
    write_atomic({path: text.encode()})


def to_json(value: Any) -> bytes:
    """`value` as JSON, equal values as equal bytes; NaN is refused."""
    text = json.dumps(value, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False)
    # Names of files may be no text; JSON has escapes for what stands for their bytes.
    return f"{text}\n".encode(errors="backslashreplace")


def write_json(path: Path, value: Any) -> None:
    """Write `value` to a file atomically, as JSON (see `to_json`)."""
    write_atomic({path: to_json(value)})


def _flush(path: Path) -> None:
    """Wait until the system has a file or a folder on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

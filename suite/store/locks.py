"""Claims: locks on files that the kernel gives back when their holder ends, however it ends.

They hold between processes of one machine, and between machines where the file system carries locks
(ext4, XFS, NFS, Lustre mounted with ``flock``). Where it carries none everybody is told that the
claim is theirs: files are still whole, since each is put in its place in one step, but the same
work may be done twice.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

WITHOUT_LOCKS = {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK}


@contextmanager
def claimed(path: Path, wait: bool) -> Iterator[bool]:
    """Hold the file `path` alone among processes; says False at once if another holds it and we do not `wait`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _opened(path)
    try:
        yield _lock(
            descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB, otherwise=True
        )
    finally:
        os.close(descriptor)


class Members:
    """The processes at work in one folder, by a file that they hold together; an instance is this one among them."""

    def __init__(self, path: Path) -> None:
        self._descriptor = _opened(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def alone(self) -> bool:
        """Keep all others out, if there are none; what was held before is given up either way."""
        return _lock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, otherwise=False)

    def join(self) -> None:
        """Be one of several, as soon as nobody keeps the others out."""
        _lock(self._descriptor, fcntl.LOCK_SH, otherwise=True)


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)


def _lock(descriptor: int, how: int, otherwise: bool) -> bool:
    """Whether the lock was had; `otherwise` where the file system has no locks."""
    try:
        fcntl.flock(descriptor, how)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in WITHOUT_LOCKS:
            raise
        return otherwise
    return True

"""Locks on files, which the kernel releases when their process ends, however it ends.

They work between processes of one machine, and between machines whose file system carries locks
(ext4, XFS, NFS, Lustre mounted with ``flock``). On one without, every process gets the lock: files
are still whole, since each is replaced in one step, but work may be done twice.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

UNSUPPORTED = {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK}


@contextmanager
def file_lock(path: Path, wait: bool) -> Iterator[bool]:
    """Lock the file `path` among processes; gives False if another has it and we do not `wait`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _open(path)
    try:
        # The kernel drops it with the process, so that no stale lock is left behind.
        how = fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB
        yield _lock(descriptor, how, unsupported=True)
    finally:
        os.close(descriptor)  # releases the lock


class RunLock:
    """The lock of a run folder: shared by all processes at work, exclusive for tidying up."""

    def __init__(self, path: Path) -> None:
        self._descriptor = _open(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def try_exclusive(self) -> bool:
        """Take the exclusive lock if no other process has any; a shared one is lost either way."""
        # Without locks nobody may tidy up: others could be at work.
        return _lock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, unsupported=False)

    def shared(self) -> None:
        """Take the shared lock; blocks while another process holds it exclusively."""
        _lock(self._descriptor, fcntl.LOCK_SH, unsupported=True)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)


def _lock(descriptor: int, how: int, unsupported: bool) -> bool:
    """Whether the lock was taken; `unsupported` on a file system without locks."""
    try:
        fcntl.flock(descriptor, how)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        return unsupported
    return True

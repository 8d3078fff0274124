"""Open a run folder for one process, beside others that work on the same run."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel

from suite.store.locks import RunLock
from suite.store.run_folder import LOCK, Store


@contextmanager
def session(
    folder: Path, spec: BaseModel, resume: bool = True, again: bool = False
) -> Iterator[Store]:
    """Create or resume the run in `folder`, and clean up what killed processes left.

    `again` retries cells that failed before an interruption, as the next run of a finished one
    does. UserError if `folder` is not this run's.
    """
    # Before anything is created in a folder that may be another's.
    Store.check(folder, spec, resume)
    folder.mkdir(parents=True, exist_ok=True)
    with RunLock(folder / LOCK) as lock:
        if lock.try_exclusive():
            store = Store.open(folder, spec, resume)
            tidy(folder, failures=again)
            lock.shared()
        else:
            # Another process is starting or at work; the spec is there once it shares the lock.
            lock.shared()
            store = Store.open(folder, spec, resume)
        yield store
        # Failures are in the records of the cells now, and are tried again the next time.
        if lock.try_exclusive():
            tidy(folder, failures=True)


def tidy(folder: Path, failures: bool) -> None:
    """Remove half-written files, locks of shards and, on request, failures of dead processes.

    No other process may be at work.
    """
    for path in folder.rglob(".*.tmp"):
        path.unlink(missing_ok=True)
    shutil.rmtree(folder / "locks", ignore_errors=True)
    if failures:
        shutil.rmtree(folder / "failures", ignore_errors=True)

"""One process's work in the folder of a run, beside others that do the same or went before."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel

from suite.store.locks import Members
from suite.store.run_folder import MEMBERS, Store


@contextmanager
def session(
    folder: Path, spec: BaseModel, resume: bool = True, again: bool = False
) -> Iterator[Store]:
    """The store of a run that is begun or gone on with; UserError if `folder` is not this run's.

    Whoever comes first, and whoever is the last to end well, tidies up. `again` tries cells that
    failed before the run was interrupted once more, as the next run does when all is done.
    """
    Store.check(folder, spec, resume)  # before anything is put there
    folder.mkdir(parents=True, exist_ok=True)
    with Members(folder / MEMBERS) as members:
        if members.alone():
            store = Store.open(folder, spec, resume)
            tidy(folder, failures=again)
            members.join()
        else:
            members.join()
            store = Store.open(folder, spec, resume)
        yield store
        if members.alone():
            tidy(folder, failures=True)  # they are in the records of the cells


def tidy(folder: Path, failures: bool) -> None:
    """Remove what processes that are gone left: half-written files, claims and, if asked, what is told of failures.

    Nobody else may be at work.
    """
    for path in folder.rglob(".*.tmp"):
        path.unlink(missing_ok=True)
    for name in ("claims", "failures") if failures else ("claims",):
        shutil.rmtree(folder / name, ignore_errors=True)

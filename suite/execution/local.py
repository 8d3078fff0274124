"""All shards in this process, one after the other; another local process on the same run takes those it finds free."""

from __future__ import annotations

from suite.evaluation.runner import Progress
from suite.execution.shards import attempt, complete, failures, shards
from suite.plan.prepare import Prepared
from suite.store.run_folder import Store


def execute(
    prepared: Prepared, store: Store, progress: Progress, fail_fast: bool = False
) -> dict[str, str]:
    """See that every shard is on disk or has failed; the reasons of the cells that failed, by key.

    `fail_fast` returns after the first shard with a cell that failed. `progress` is told how many
    images were done, cell by cell counted apart.
    """
    elsewhere = []
    for shard in shards(prepared):
        found = attempt(prepared, store, shard, progress)
        if found is None:
            elsewhere.append(shard)
        elif found and fail_fast:
            return found
    for shard in elsewhere:  # done by now, or left by a process that died
        if (found := complete(prepared, store, shard, progress)) and fail_fast:
            return found
    return failures(prepared, store)

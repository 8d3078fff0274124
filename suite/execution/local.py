"""Evaluate all shards in this process, beside others that may share the run."""

from __future__ import annotations

from suite.evaluation.runner import Progress
from suite.execution.shards import complete, failures, raise_first, shards
from suite.plan.prepare import Prepared
from suite.store.run_folder import Store


def execute(
    prepared: Prepared, store: Store, progress: Progress, fail_fast: bool = False
) -> dict[str, str]:
    """See that every shard is on disk or has failed; reasons of the cells that failed, by key.

    `progress` receives the number of outcomes done, one image under one cell each. StoppedError
    after the first shard with a cell that failed if `fail_fast`.
    """
    busy = []
    for shard in shards(prepared):
        reasons = complete(prepared, store, shard, progress, wait=False)
        if reasons is None:
            busy.append(shard)
        elif fail_fast:
            raise_first(prepared, reasons)
    # Only now wait for other processes: their shards are done, or were left by one that died.
    for shard in busy:
        reasons = complete(prepared, store, shard, progress, wait=True)
        if reasons and fail_fast:
            raise_first(prepared, reasons)
    return failures(prepared, store)

"""All shards in this process, one after the other."""

from __future__ import annotations

from suite.prepare import Prepared
from suite.runner import Progress
from suite.shards import complete, shards
from suite.store import Store


def execute(prepared: Prepared, store: Store, progress: Progress) -> dict[str, str]:
    """Evaluate every shard that is not on disk yet; returns the reasons of the cells that failed, by key.

    `progress` is told how many images were done, cell by cell counted apart.
    """
    failures: dict[str, str] = {}
    for shard in shards(prepared):
        failures |= complete(prepared, store, shard, failures.keys(), progress)
    return failures

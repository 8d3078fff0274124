"""Shards: the unit of work, of what is lost at most, and of what can be evaluated anywhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from suite.cells import Cell
from suite.prepare import Prepared
from suite.runner import Progress, SliceResult, run_slice, runnable
from suite.store import Store, slices


@dataclass(frozen=True)
class Shard:
    """Slice number `index` of the run's images, those numbered `images` in the data set, under one backbone's cells."""

    backbone: str
    index: int
    images: NDArray[np.int64]


def shards(prepared: Prepared) -> Iterator[Shard]:
    """All shards of a run, in the order in which one process takes them."""
    for backbone in prepared.models:
        for index, images in enumerate(slices(prepared.indices, prepared.spec.shard)):
            yield Shard(backbone, index, images)


def complete(prepared: Prepared, store: Store, shard: Shard, progress: Progress) -> dict[str, str]:
    """See that every cell of `shard` is on disk or has failed; the reasons of those that failed, by key.

    Waits for a process that is at it. `progress` is told how many images were done, cell by cell counted apart.
    """
    found = attempt(prepared, store, shard, progress, wait=True)
    assert found is not None
    return found


def attempt(
    prepared: Prepared, store: Store, shard: Shard, progress: Progress, wait: bool = False
) -> dict[str, str] | None:
    """`complete`, but None at once if another process is at `shard` and we do not `wait`."""
    cells = runnable(prepared, shard.backbone)
    with store.claim(f"{prepared.dense(shard.backbone).key}-{shard.index:05d}", wait) as mine:
        if not mine:
            return None
        left = missing(store, shard, cells)
        progress(len(shard.images) * (len(cells) - len(left)))
        if left:
            keep(store, shard, evaluated(prepared, shard, left, progress))
    return failures(prepared, store, shard)


def failures(prepared: Prepared, store: Store, shard: Shard | None = None) -> dict[str, str]:
    """The reasons of the cells that failed, by key; of a `shard` only those that failed on its slice or before."""
    cells = runnable(prepared, shard.backbone) if shard else prepared.cells
    reasons = {cell.key: store.failure(cell.key, shard.index if shard else None) for cell in cells}
    return {key: reason for key, reason in reasons.items() if reason is not None}


def missing(store: Store, shard: Shard, cells: Sequence[Cell]) -> list[Cell]:
    """Those of `cells` that are not on disk and are not known to fail on this slice or one before it.

    A failure on a later slice does not count, so that the first is found in whatever order slices are taken.
    """
    return [
        cell
        for cell in cells
        if not store.has_shard(cell.key, shard.index, shard.images) and store.failure(cell.key, shard.index) is None
    ]


def evaluated(prepared: Prepared, shard: Shard, cells: Sequence[Cell], progress: Progress) -> SliceResult:
    """The results of `cells` on `shard`, which depend on nothing else."""
    model, dense = prepared.models[shard.backbone], prepared.dense(shard.backbone)
    return run_slice(prepared, model, shard.images, dense, cells, progress)


def keep(store: Store, shard: Shard, result: SliceResult) -> None:
    """Put the results of a shard on disk: first what failed, which a later process then leaves alone."""
    store.write_failures(shard.index, result.failures)
    frames = {
        key: (pd.concat(parts, ignore_index=True), result.presence.frame(key))
        for key, parts in result.parts.items()
        if key not in result.failures
    }
    store.write_shards(shard.index, shard.images, frames)

"""Shards: the unit of work, of what is lost at most, and of what can be evaluated anywhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from suite.data.base import one_line
from suite.evaluation.runner import Progress, SliceResult, run_slice, runnable
from suite.plan.cells import Cell
from suite.plan.prepare import Prepared
from suite.store.run_folder import Store, slices
from suite.system.out_of_memory import DeviceLostError, out_of_memory, with_less
from suite.system.stopwatch import STOPWATCH
from suite.terminal.progress import Stock


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

    Waits for a process that is at it. `progress` is told how many images were done, cell by cell
    counted apart.
    """
    found = attempt(prepared, store, shard, progress, wait=True)
    assert found is not None
    return found


def attempt(
    prepared: Prepared, store: Store, shard: Shard, progress: Progress, wait: bool = False
) -> dict[str, str] | None:
    """`complete`, but None at once if another process is at `shard` and we do not `wait`."""
    cells = runnable(prepared, shard.backbone)
    with claim(prepared, store, shard, wait) as mine:
        if not mine:
            return None
        left = missing(store, shard, cells)
        progress(len(shard.images) * (len(cells) - len(left)))
        try:
            if left:
                keep(store, shard, evaluated(prepared, shard, left, progress))
        except DeviceLostError as lost:
            store.write_failures(shard.index, lost.reasons)
            raise
    return failures(prepared, store, shard)


def claim(
    prepared: Prepared, store: Store, shard: Shard, wait: bool
) -> AbstractContextManager[bool]:
    """Keep other processes from `shard` (see `suite.store.locks.claimed`)."""
    return store.claim(f"{prepared.dense(shard.backbone).key}-{shard.index:05d}", wait)


def stock(prepared: Prepared, store: Store) -> Stock:
    """How many outcomes, one image under one cell each, an earlier start left of all; files are not looked into."""
    done = total = 0
    for shard in shards(prepared):
        cells = runnable(prepared, shard.backbone)
        left = sum(store.shard_path(cell.key, shard.index).is_file() for cell in cells)
        done, total = done + len(shard.images) * left, total + len(shard.images) * len(cells)
    return done, total, "outcomes"


def failures(prepared: Prepared, store: Store, shard: Shard | None = None) -> dict[str, str]:
    """The reasons of the cells that failed, by key; of a `shard` only those that failed on its slice or before."""
    cells = runnable(prepared, shard.backbone) if shard else prepared.cells
    reasons = {cell.key: store.failure(cell.key, shard.index if shard else None) for cell in cells}
    return {key: reason for key, reason in reasons.items() if reason is not None}


def missing(store: Store, shard: Shard, cells: Sequence[Cell]) -> list[Cell]:
    """Those of `cells` that are not on disk and are not known to fail on this slice or one before it.

    A failure on a later slice does not count, so that the first is found in whatever order slices
    are taken.
    """
    return [
        cell
        for cell in cells
        if not store.has_shard(cell.key, shard.index, shard.images)
        and store.failure(cell.key, shard.index) is None
    ]


def evaluated(
    prepared: Prepared, shard: Shard, cells: Sequence[Cell], progress: Progress
) -> SliceResult:
    """The results of `cells` on `shard`, which depend on nothing else.

    Where memory runs out the batch is halved, for this shard. On CPU nothing changes by it; on CUDA
    logits may, in their last digits, so predictions are compared with those of yet another batch.
    ``halved`` of the result says it.
    """
    asked = prepared.spec.batch

    def with_batch(batch: int) -> SliceResult:
        told: list[int] = []

        def tell(count: int) -> None:
            told.append(count)
            progress(count)

        try:
            return sliced(prepared, shard, shard.images, cells, batch, tell)
        except Exception:
            progress(-sum(told))
            raise

    try:
        result, batch = with_less(asked, with_batch, f"slice {shard.index} of {shard.backbone}")
    except Exception as error:
        if not out_of_memory(error):
            raise
        progress(len(shard.images) * len(cells))
        reason = f"{type(error).__name__} with one image: {one_line(error)}"
        return SliceResult(failures=dict.fromkeys((cell.key for cell in cells), reason))
    if batch < asked:
        result.halved = {"batch": batch}
        if prepared.device != "cpu":
            result.halved |= flips(prepared, shard, cells, result, batch)
    return result


def sliced(
    prepared: Prepared,
    shard: Shard,
    images: NDArray[np.int64],
    cells: Sequence[Cell],
    batch: int,
    progress: Progress,
) -> SliceResult:
    """The results of `cells` of `shard` on `images`, so many at a time."""
    spec = prepared.spec.model_copy(update={"batch": batch})
    model, dense = prepared.models[shard.backbone], prepared.dense(shard.backbone)
    return run_slice(replace(prepared, spec=spec), model, images, dense, cells, progress)


def flips(
    prepared: Prepared, shard: Shard, cells: Sequence[Cell], result: SliceResult, batch: int
) -> dict[str, int]:
    """How many predictions on the shard's first `batch` images another batch, of half as many, makes otherwise."""
    few = shard.images[:batch]
    sound = [cell for cell in cells if cell.key in result.outcomes]
    again = sliced(prepared, shard, few, sound, max(1, batch // 2), lambda _: None)
    compared = [cell.key for cell in sound if cell.key in again.outcomes]
    pairs = [
        (found.outcomes[key].prediction[: len(few)] for found in (result, again))
        for key in compared
    ]
    count = sum(int((one.to_numpy() != other.to_numpy()).sum()) for one, other in pairs)
    return {"compared": len(few) * len(compared), "flips": count}


def keep(store: Store, shard: Shard, result: SliceResult) -> None:
    """Put the results of a shard on disk: first what failed, which a later process then leaves alone."""
    with STOPWATCH.part("writing"):
        store.write_failures(shard.index, result.failures)
        if result.halved:
            store.write_halved(shard.backbone, shard.index, result.halved)
        frames = {
            key: (outcomes, result.presence.frame(key)) for key, outcomes in result.outcomes.items()
        }
        store.write_shards(shard.index, shard.images, frames)

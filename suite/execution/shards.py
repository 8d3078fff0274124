"""Shards: some images under all cells of a backbone, the unit of work and of what is lost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from suite.data.base import one_line
from suite.evaluation.runner import Progress, ShardResult, evaluate_shard
from suite.plan.cells import Cell
from suite.plan.prepare import Prepared
from suite.store.run_folder import Store
from suite.system.out_of_memory import (
    DeviceLostError,
    StoppedError,
    out_of_memory,
    with_smaller_batch,
)
from suite.system.stopwatch import STOPWATCH


@dataclass(frozen=True)
class Shard:
    """Shard number `index` of a backbone; `images` are numbers in the data set."""

    backbone: str
    index: int
    images: NDArray[np.int64]


def shards(prepared: Prepared) -> Iterator[Shard]:
    """All shards of a run, in the order in which one process evaluates them."""
    for backbone in prepared.models:
        for index, images in enumerate(prepared.shards):
            yield Shard(backbone, index, images)


def complete(
    prepared: Prepared,
    store: Store,
    shard: Shard,
    progress: Progress,
    wait: bool,
) -> dict[str, str] | None:
    """See that every cell of `shard` is on disk or has failed; returns reasons by key.

    If another process works on it, returns None, or waits for it if `wait`. `progress` receives
    the number of outcomes done, one image under one cell each, those on disk included.
    """
    cells = prepared.runnable[shard.backbone]
    with lock(prepared, store, shard, wait) as acquired:
        if not acquired:
            return None
        # Only now, since another process may have done them while this one waited.
        todo = missing(store, shard, cells)
        progress(len(shard.images) * (len(cells) - len(todo)))
        try:
            if todo:
                save(store, shard, evaluate(prepared, shard, todo, progress))
        except DeviceLostError as lost:
            # The next process leaves these cells out; this one cannot use the device any more.
            store.write_failures(shard.index, lost.reasons)
            raise
    return failures(prepared, store, shard)


def lock(
    prepared: Prepared, store: Store, shard: Shard, wait: bool
) -> AbstractContextManager[bool]:
    """Lock `shard` among processes; gives False if another has it and `wait` is False."""
    return store.lock(f"{prepared.dense[shard.backbone].key}-{shard.index:05d}", wait)


def missing(store: Store, shard: Shard, cells: Sequence[Cell]) -> list[Cell]:
    """Those of `cells` to evaluate: not on disk, and no failure on this shard or an earlier one."""
    todo = []
    for cell in cells:
        done = store.has_shard(cell.key, shard.index, shard.images)
        # A failure on a later shard does not count. So the reason on record is that of the first
        # shard on which the cell fails, in any order of shards.
        if not done and store.failure(cell.key, shard.index) is None:
            todo.append(cell)
    return todo


def failures(prepared: Prepared, store: Store, shard: Shard | None = None) -> dict[str, str]:
    """Reasons of the cells that failed, by key; up to and including `shard` if one is given."""
    cells = prepared.runnable[shard.backbone] if shard else prepared.cells
    reasons = {}
    for cell in cells:
        reason = store.failure(cell.key, shard.index if shard else None)
        if reason is not None:
            reasons[cell.key] = reason
    return reasons


def raise_first(prepared: Prepared, reasons: Mapping[str, str]) -> None:
    """Raise a StoppedError for the first cell of the run that failed, if one did."""
    for cell in prepared.cells:
        if cell.key in reasons:
            raise StoppedError(
                f"{cell.label} on {cell.backbone} failed ({reasons[cell.key]}): "
                "run the same command without --fail-fast to continue with the others"
            )


def evaluate(
    prepared: Prepared,
    shard: Shard,
    cells: Sequence[Cell],
    progress: Progress,
) -> ShardResult:
    """Evaluate `cells` on `shard`, with half the batch as often as memory runs out.

    On CPU the batch changes no result. On CUDA logits may differ in their last digits, so the
    predictions of the first images are compared with those of yet another batch.
    """
    name = f"shard {shard.index} of {shard.backbone}"

    def with_batch(batch_size: int) -> ShardResult:
        done = 0

        def count(outcomes: int) -> None:
            nonlocal done
            done += outcomes
            progress(outcomes)

        try:
            return evaluate_shard(prepared, shard.backbone, shard.images, cells, batch_size, count)
        except Exception:
            progress(-done)  # what was counted is lost with the batch
            raise

    try:
        result, batch_size = with_smaller_batch(prepared.spec.batch_size, with_batch, name)
    except Exception as error:
        if not out_of_memory(error):
            raise
        # Not even one image fits: the cells fail, and the run continues with the next shard.
        progress(len(shard.images) * len(cells))
        reason = f"{type(error).__name__} with one image: {one_line(error)}"
        return ShardResult({}, {}, {cell.key: reason for cell in cells})
    if batch_size == prepared.spec.batch_size:
        return result
    halved = {"batch": batch_size}
    if prepared.device != "cpu":
        halved |= count_flips(prepared, shard, cells, result, batch_size)
    return replace(result, halved=halved)


def count_flips(
    prepared: Prepared,
    shard: Shard,
    cells: Sequence[Cell],
    result: ShardResult,
    batch_size: int,
) -> dict[str, int]:
    """Count the predictions on the first `batch_size` images that differ with half that batch."""
    # One batch is enough to show whether the batch size matters, at the cost of one more pass.
    first = shard.images[:batch_size]
    sound = [cell for cell in cells if cell.key in result.outcomes]
    half = max(1, batch_size // 2)
    again = evaluate_shard(prepared, shard.backbone, first, sound, half, lambda outcomes: None)
    flips = 0
    for key, outcomes in again.outcomes.items():
        before = result.outcomes[key].prediction[: len(first)].to_numpy()
        flips += int((outcomes.prediction.to_numpy() != before).sum())
    return {"compared": len(first) * len(again.outcomes), "flips": flips}


def save(store: Store, shard: Shard, result: ShardResult) -> None:
    """Write the results of a shard to disk."""
    with STOPWATCH.part("writing"):
        # Failures first: after a crash in here, the next process does not run those cells again.
        store.write_failures(shard.index, result.failures)
        if result.halved:
            store.write_halved(shard.backbone, shard.index, result.halved)
        frames = {key: (result.outcomes[key], result.tokens[key]) for key in result.outcomes}
        store.write_shards(shard.index, shard.images, frames)

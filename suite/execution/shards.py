"""Shards: some images under all cells of a backbone, the unit of work and of what is lost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from suite.data.base import one_line
from suite.evaluation.runner import Progress, ShardResult, evaluate_shard
from suite.execution.images import found_damaged, held
from suite.plan.cells import Cell
from suite.plan.prepare import Prepared
from suite.store.results import differing, joined, tracked_subset
from suite.store.run_folder import Store
from suite.store.schema import TASKS
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
            if len(images):
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
        todo, images = missing(prepared, store, shard, cells)
        progress(len(shard.images) * len(cells) - len(images) * len(todo))
        try:
            if todo:
                part = replace(shard, images=images)
                save(prepared, store, part, evaluate(prepared, part, todo, progress))
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


def missing(
    prepared: Prepared, store: Store, shard: Shard, cells: Sequence[Cell]
) -> tuple[list[Cell], NDArray[np.int64]]:
    """Those of `cells` to evaluate, and on which images of `shard`: all, or those that all lack.

    A cell is left out if it is on disk, or failed on this shard or an earlier one.
    """
    index, images = shard.index, shard.images
    hashes, same = compared(prepared, store, index, images, [cell.key for cell in cells])
    part = np.array(hashes)[same].tolist() if hashes else []
    todo, others = [], True
    for cell in cells:
        begun = not all(same) and store.keeps(cell.key, index, images[same], part)
        done = False
        if not begun:
            if hashes:
                store.forget_others(cell.key, index, images, hashes)
            done = store.has_shard(cell.key, index, images, hashes)
        # A failure on a later shard does not count. So the reason on record is that of the first
        # shard on which the cell fails, in any order of shards.
        if not done and store.failure(cell.key, index) is None:
            todo.append(cell)
            others = others and begun
    return todo, images[~same] if others else images


def compared(
    prepared: Prepared, store: Store, index: int, images: NDArray[np.int64], keys: Sequence[str]
) -> tuple[list[str], NDArray[np.bool_]]:
    """Hashes of what the `images` of a shard hold, and which were evaluated when they held it.

    Of data that are not in files there are none, and all images are the same.
    """
    hashes: list[str] = []
    # Before anything is on disk, images need not be read to learn what they hold.
    if any(store.outcomes_path(key, index).is_file() for key in keys):
        hashes = held(prepared, images)
    seen = store.seen(index) if hashes else {}
    if not seen:
        return hashes, np.ones(len(images), np.bool_)
    pairs = zip(images.tolist(), hashes, strict=True)
    return hashes, np.array(
        [image in seen and seen[image].content == text for image, text in pairs]
    )


def count_existing(prepared: Prepared, store: Store) -> tuple[int, int]:
    """Count the outcomes on disk that hold, of how many; an outcome is one image under one cell."""
    same = []
    for index, images in enumerate(prepared.shards):
        same.append(images[compared(prepared, store, index, images, prepared.keys)[1]])
    done, _ = store.count_outcomes(prepared.keys, same)
    return done, len(prepared.keys) * len(prepared.indices)


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
    """Count the answers on the first `batch_size` images that differ with half that batch."""
    # One batch is enough to show whether the batch size matters, at the cost of one more pass.
    first = shard.images[~np.isin(shard.images, list(result.damaged))][:batch_size]
    sound = [cell for cell in cells if cell.key in result.outcomes]
    half = max(1, batch_size // 2)
    again = evaluate_shard(prepared, shard.backbone, first, sound, half, lambda outcomes: None)
    answer = TASKS[prepared.dataset.task].answer
    flips = 0
    for key, outcomes in again.outcomes.items():
        before = result.outcomes[key][: len(first)]
        flips += int(differing(outcomes, before, answer).sum())
    return {"compared": len(first) * len(again.outcomes), "flips": flips}


def save(prepared: Prepared, store: Store, shard: Shard, result: ShardResult) -> None:
    """Write the results of a shard to disk, joined to those of its other images.

    UserError if images are damaged, which the run is not to go on without.
    """
    with STOPWATCH.part("writing"):
        # Failures first: after a crash in here, the next process does not run those cells again.
        store.write_failures(shard.index, result.failures)
        if result.halved:
            store.write_halved(shard.backbone, shard.index, result.halved)
        prepared.seen.update(result.seen)
        frames = {key: (result.outcomes[key], result.tokens[key]) for key in result.outcomes}
        whole = prepared.shards[shard.index]
        sound = whole[~np.isin(whole, list(result.damaged))]
        others = np.setdiff1d(sound, shard.images)
        if len(others):
            sets, tracked = [others, np.setdiff1d(sound, others)], tracked_subset(prepared.chosen)
            for key, (outcomes, tokens) in frames.items():
                earlier, counts = store.read(key, shard.index)
                rows = pd.concat([earlier, outcomes]).sort_values("image", ignore_index=True)
                frames[key] = rows, joined([counts, tokens], sets, tracked)
        store.write_shards(shard.index, sound, frames, prepared.seen)
    found_damaged(prepared, result.damaged)

"""Shards: the unit of work, of what is lost at most, and of what can be evaluated anywhere."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from suite.prepare import Prepared
from suite.runner import Progress, run_slice, runnable
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


def complete(
    prepared: Prepared, store: Store, shard: Shard, failed: Collection[str], progress: Progress
) -> dict[str, str]:
    """Evaluate the cells of `shard` that are neither on disk nor `failed`, and keep them; the reasons of new failures.

    `progress` is told how many images were done, cell by cell counted apart.
    """
    cells = runnable(prepared, shard.backbone)
    missing = [cell for cell in cells if cell.key not in failed and not store.has_shard(cell.key, shard.index)]
    progress(len(shard.images) * (len(cells) - len(missing)))
    if not missing:
        return {}
    model, dense = prepared.models[shard.backbone], prepared.dense(shard.backbone)
    result = run_slice(prepared, model, shard.images, dense, missing, progress)
    for cell in missing:
        if cell.key not in result.failures:
            frame = pd.concat(result.parts[cell.key], ignore_index=True)
            store.write_shard(cell.key, shard.index, frame, result.presence.frame(cell.key))
    return result.failures

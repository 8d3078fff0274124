"""Batches of a data set, prepared a little ahead in the background."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from suite.data.base import Dataset, Grid

AHEAD = 2


class Batch(NamedTuple):
    """``indices`` (B,) int64 in the data set, ``images`` (B, 3, S, S) float32, ``labels`` (B,) int64.

    Of videos ``images`` holds all views as clips, video by video: (B x views, 3, T, S, S).
    ``foreground`` (B, rows, columns) bool says which cells of the asked grid show the object; None where unknown.
    """

    indices: Tensor
    images: Tensor
    labels: Tensor
    foreground: Tensor | None = None


def load(dataset: Dataset, indices: NDArray[np.int64], image_size: int, grid: Grid | None = None) -> Batch:
    """One batch, now, with the foreground on `grid` if one is given."""
    samples, foreground = dataset.samples_with_foreground(indices, image_size, grid)
    return Batch(
        torch.from_numpy(indices.copy()),
        torch.from_numpy(samples),
        torch.from_numpy(dataset.labels[indices]),
        None if foreground is None else torch.from_numpy(foreground),
    )


def batches(
    dataset: Dataset,
    indices: NDArray[np.int64],
    batch_size: int,
    image_size: int,
    grid: Grid | None = None,
    ahead: int = AHEAD,
) -> Generator[Batch, None, None]:
    """Batches over `indices` in their order, the last one shorter; every image is decoded exactly once.

    At most `ahead` batches are prepared beyond the one in use. What goes wrong with an image is raised where its batch
    is due; closing the iterator early stops the preparation.
    """
    if batch_size < 1 or ahead < 1:
        raise ValueError(f"batch_size {batch_size} and ahead {ahead} must be at least 1")
    order = np.asarray(indices, np.int64)
    waiting = deque(order[start : start + batch_size] for start in range(0, len(order), batch_size))
    pending: deque[Future[Batch]] = deque()
    pool = ThreadPoolExecutor(1, thread_name_prefix="batches")
    try:
        while waiting or pending:
            while waiting and len(pending) <= ahead:
                pending.append(pool.submit(load, dataset, waiting.popleft(), image_size, grid))
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)

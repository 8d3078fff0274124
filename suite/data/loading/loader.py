"""Batches of a data set, prepared ahead of their use."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from suite.data.base import Dataset, Grid
from suite.data.loading.decode_pool import Crew, Task, workers_for
from suite.data.loading.decode_worker import Decoded
from suite.system.stopwatch import STOPWATCH

AHEAD = 2
NOTHING = np.empty(0, np.int64)
# Who decodes between one slice and the next, and the first batches of the next, which are under
# way.
_between: list[tuple[Crew, deque[Task]]] = []


class Batch(NamedTuple):
    """``indices`` (B,) int64 in the data set, ``images`` (B, 3, S, S) float32, ``labels`` (B,) int64.

    Of videos ``images`` holds all views as clips, video by video: (B x views, 3, T, S, S).
    ``foreground`` (B, rows, columns) bool says which cells of the asked grid show the object; None where unknown.
    """

    indices: Tensor
    images: Tensor
    labels: Tensor
    foreground: Tensor | None = None


def load(
    dataset: Dataset, indices: NDArray[np.int64], image_size: int, grid: Grid | None = None
) -> Batch:
    """One batch, now, with the foreground on `grid` if one is given."""
    return _batch(dataset, indices, dataset.samples_with_foreground(indices, image_size, grid))


def _batch(dataset: Dataset, indices: NDArray[np.int64], decoded: Decoded) -> Batch:
    samples, foreground = decoded
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
    following: NDArray[np.int64] = NOTHING,
    workers: int | None = None,
) -> Generator[Batch, None, None]:
    """Batches over `indices` in their order, the last one shorter; every image is decoded exactly once.

    At most `ahead` batches are prepared beyond the one in use. What goes wrong with an image is
    raised where its batch is due; closing the iterator early stops the preparation.

    `following` are the images that will be asked for next of the same data set, in slices as long
    as `indices`: the first batches of them are prepared too, so that no one waits between one slice
    and the next, and who decodes stays for them. `workers` processes decode (None: see
    `suite.data.loading.decode_pool.workers_for`).
    """
    if batch_size < 1 or ahead < 1:
        raise ValueError(f"batch_size {batch_size} and ahead {ahead} must be at least 1")
    order = np.asarray(indices, np.int64)
    here = _cut(order, batch_size)
    plan = [*here, *_cut(following[: len(order)], batch_size)[:ahead]]
    number = workers_for(dataset, len(order) + len(following)) if workers is None else workers
    crew, pending = _crew_of(dataset, number)
    if len(pending) > len(plan) or not all(
        task.is_of(wanted, image_size, grid) for task, wanted in zip(pending, plan, strict=False)
    ):
        _drop(pending)
    waiting = deque(plan[len(pending) :])
    finished = False
    try:
        for wanted in here:
            while waiting and len(pending) <= ahead:
                pending.append(crew.submit(waiting.popleft(), image_size, grid))
            with STOPWATCH.part("data wait"):
                decoded = pending.popleft().result()
            yield _batch(dataset, wanted, decoded)
        finished = True
    finally:
        if finished and len(following):
            dismiss()
            _between.append((crew, pending))
        else:
            _drop(pending)
            crew.leave()


def _cut(indices: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    return [indices[start : start + size] for start in range(0, len(indices), size)]


def _crew_of(dataset: Dataset, workers: int) -> tuple[Crew, deque[Task]]:
    """The crew that stayed if it decodes `dataset`, with what it has begun, else a new one."""
    if _between and _between[0][0].dataset is dataset:
        return _between.pop()
    dismiss()
    return Crew(dataset, workers), deque()


def dismiss() -> None:
    """End who stayed for a slice that does not come."""
    while _between:
        crew, pending = _between.pop()
        _drop(pending)
        crew.leave()


def _drop(pending: deque[Task]) -> None:
    for task in pending:
        task.drop()
    pending.clear()

"""Batches of a data set, decoded ahead of the model.

A thread decodes, or a DataLoader's worker processes where there are many images to decode.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import warnings
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing import resource_tracker
from threading import Thread
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from backbones.common.errors import UserError, describe_error
from backbones.dense.windows import Layout
from suite.data.base import Dataset, Grid, IntArray, Mask, Samples, Seen, Truth
from suite.data.plugins import BrokenDatasetError, check_truth, is_foreign
from suite.system.stopwatch import STOPWATCH

# The images of a batch, the size they are decoded at, and the grid of their foreground.
BatchSpec = tuple[tuple[int, ...], int, Grid | None]

# The first keeps the model busy, the second makes up for one that takes longer than usual.
AHEAD = 2
NOTHING = np.empty(0, np.int64)
# More would wait for the disk, and each takes memory.
MAX_WORKERS = 8
# A worker takes seconds to import PyTorch; fewer images are decoded sooner than that.
MIN_IMAGES = 512
# What cannot be pickled is decoded by the thread: nothing to warn of.
warnings.filterwarnings("ignore", message="Got pickle error", module="torch.utils.data")
_worker_limit = MAX_WORKERS
# The reader of the last slice. Starting workers costs seconds, so they stay for the next slice.
_waiting: Reader | None = None


class Decoded(NamedTuple):
    """What the images of a batch gave: samples and masks of the sound ones, of which `indices`.

    ``truth``    classes of the pixels of each, of data for segmentation
    ``layouts``  how the windows of each lie, of whole pictures
    ``seen``     what they were decoded from, of data in files
    ``damaged``  the other images, and what is wrong with each
    """

    indices: IntArray
    samples: Samples
    foreground: Mask | None
    truth: Sequence[Truth] | None
    layouts: Sequence[Layout] | None
    seen: dict[int, Seen]
    damaged: dict[int, str]


class Batch(NamedTuple):
    """Some images of a data set as a model takes them.

    ``indices`` (B,) int64 in the data set, ``images`` (B, 3, S, S) float32, ``labels`` (B,) int64.
    Of videos ``images`` holds all views as clips, video by video: (B x views, 3, T, S, S); of
    pictures in windows all windows, picture by picture, which ``layouts`` (B) lay.
    ``foreground`` (B, rows, columns) bool marks the grid cells that show the object; None where
    unknown. ``seen`` and ``damaged`` are those of `Decoded`. ``truth`` (B) are the classes of the
    pixels, (S, S) uint8 each, or (H, W) where there are layouts (`suite.data.base.Dataset`).
    """

    indices: Tensor
    images: Tensor
    labels: Tensor
    foreground: Tensor | None = None
    seen: Mapping[int, Seen] = {}
    damaged: Mapping[int, str] = {}
    truth: Sequence[Tensor] | None = None
    layouts: Sequence[Layout] | None = None


def limit_workers(processes: int) -> None:
    """Use at most `processes` workers, where this process has only a part of its machine."""
    global _worker_limit
    _worker_limit = min(MAX_WORKERS, processes)


def workers_for(dataset: Dataset, images: int) -> int:
    """Number of worker processes that decode `images` of `dataset`; 0 where a thread is enough."""
    # Generated images cost less to draw than to send from another process.
    if not dataset.stored or images < MIN_IMAGES or is_user_script(sys.modules["__main__"]):
        return 0
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return min(_worker_limit, max(1, cores // 2))


def is_user_script(main: ModuleType) -> bool:
    """Whether `main` is a user's script, which every worker process would run again on import.

    ``python -m``, the suite's own command and notebooks are not such scripts.
    """
    is_module = getattr(main, "__spec__", None) is not None
    return not is_module and str(getattr(main, "__file__", None)).endswith(".py")


def batches(
    dataset: Dataset,
    indices: IntArray,
    batch_size: int,
    image_size: int,
    grid: Grid | None = None,
    following: IntArray = NOTHING,
    workers: int | None = None,
) -> Generator[Batch, None, None]:
    """Batches over `indices` in their order, the last one shorter; each image is decoded once.

    At most `AHEAD` batches, and as many for each worker, are decoded beyond the one in use. Images
    that cannot be decoded are named in their batch, which may have no others. Closing the iterator
    early stops decoding.

    `following` are the images of the next calls, in slices as long as `indices`. Their first
    batches are decoded already while the last ones of `indices` are in use. `workers` processes
    decode (None: see `workers_for`); the result does not depend on their number.
    """
    global _waiting
    if batch_size < 1:
        raise ValueError(f"batch_size {batch_size} must be at least 1")
    plan: list[BatchSpec] = []
    for part in [indices, *_cut(following, max(1, len(indices)))]:
        for chosen in _cut(part, batch_size):
            plan.append((tuple(chosen.tolist()), image_size, grid))
    if _waiting is None or _waiting.dataset is not dataset:
        dismiss()
        if workers is None:
            workers = workers_for(dataset, len(indices) + len(following))
        _waiting = Reader(dataset, workers)
    reader, _waiting = _waiting, None
    reader.follow(plan)
    finished = False
    try:
        for _ in _cut(indices, batch_size):
            with STOPWATCH.part("data wait"):
                decoded = reader.next()
            masks, truth = decoded.foreground, decoded.truth
            yield Batch(
                torch.from_numpy(decoded.indices),
                torch.from_numpy(decoded.samples),
                torch.from_numpy(dataset.labels[decoded.indices]),
                None if masks is None else torch.from_numpy(masks),
                decoded.seen,
                decoded.damaged,
                None if truth is None else [torch.from_numpy(of_image) for of_image in truth],
                decoded.layouts,
            )
        finished = True
    finally:
        if finished and len(following):
            dismiss()
            _waiting = reader
        else:
            # Also when the caller stops early, as on Ctrl-C: no process may be left behind.
            reader.close()


def _cut(indices: IntArray, size: int) -> list[IntArray]:
    return [indices[start : start + size] for start in range(0, len(indices), size)]


def dismiss() -> None:
    """End the workers that wait for a next slice."""
    global _waiting
    if _waiting is not None:
        _waiting.close()
        _waiting = None


class Reader:
    """Decodes batches of one data set in a given order, ahead of their use.

    A thread decodes until `workers` processes have started, then it collects what they decode. If
    no process can be started, or one dies, the thread decodes the remaining batches itself.
    """

    def __init__(self, dataset: Dataset, workers: int) -> None:
        self.dataset = dataset
        self._decoder = Decoder(dataset)
        self._plan: deque[BatchSpec] = deque()  # batches that `next` has not returned yet
        self._pending: deque[Future[Decoded]] = deque()
        self._batches: Iterator[Decoded] = iter(())
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._loader: DataLoader[Decoded] | None = None
        self._specs: list[BatchSpec] = []  # what the workers decode, in order
        self.starting = Thread(target=self._start, args=(workers,), daemon=True)
        if workers:
            self.starting.start()

    def _start(self, workers: int) -> None:
        """Start `workers` processes, and let them decode once all of them answer."""
        # They inherit the mask of this thread: Ctrl-C is for the parent, which then ends them.
        # Starting the resource tracker would undo the mask, so that comes first.
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        # Not fork, which loses the threads of PyTorch and numba.
        context = multiprocessing.get_context("forkserver")
        # PyTorch takes seconds to import: the fork server does it once for all workers.
        context.set_forkserver_preload([__name__])
        loader = DataLoader(
            self._decoder,
            sampler=self._specs,
            batch_size=None,
            num_workers=workers,
            prefetch_factor=AHEAD,
            persistent_workers=True,
            multiprocessing_context=context,
            worker_init_fn=_begin_worker,
            # Arrays go through a pipe. Tensors would need shared memory, of which containers often
            # have only 64 MB.
            collate_fn=_unchanged,
            # Without one, a seed would be drawn from PyTorch's global generator.
            generator=torch.Generator(),
        )
        try:
            iter(loader)
            # A second pass, also over no specs, begins once every worker has answered.
            iter(loader)
        except Exception:
            # The data set cannot be pickled, or the system starts no more processes.
            return
        self._loader = loader

    def follow(self, plan: Sequence[BatchSpec]) -> None:
        """Decode the batches of `plan` from now on; pending ones are kept if they are the same."""
        if deque(plan) == self._plan:
            return
        for future in self._pending:
            future.cancel()
        self._pending.clear()
        self._plan = deque(plan)
        self._batches = self._decode(deque(plan))

    def next(self) -> Decoded:
        """What the images of the next batch gave."""
        while len(self._pending) < min(AHEAD + 1, len(self._plan)):
            self._pending.append(self._thread.submit(next, self._batches))
        decoded = self._pending.popleft().result()
        self._plan.popleft()
        return decoded

    def close(self) -> None:
        """End the thread and the worker processes; pending batches are dropped."""
        self._thread.shutdown(wait=True, cancel_futures=True)
        # The processes end with the last reference to their iterator.
        self._batches = iter(())
        self._loader = None

    def _decode(self, plan: deque[BatchSpec]) -> Iterator[Decoded]:
        """Decode `plan` batch by batch, on the reader's thread."""
        while plan:
            if self._loader is not None:
                yield from self._collect(self._loader, plan)
            else:
                yield self._decoder[plan.popleft()]

    def _collect(self, loader: DataLoader[Decoded], plan: deque[BatchSpec]) -> Iterator[Decoded]:
        """Take batches off `plan` as the workers decode them, until one of the workers dies."""
        self._specs[:] = plan
        try:
            for decoded in loader:
                plan.popleft()
                yield decoded
        except RuntimeError as error:
            if "exited unexpectedly" not in str(error):
                raise
            print(
                "a process that decodes images died (out of memory?): decoding goes on without it",
                file=sys.stderr,
            )
            self._loader = None


class Decoder(TorchDataset[Decoded]):
    """Decodes batches; this is what a worker process receives."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def __getitem__(self, spec: BatchSpec) -> Decoded:
        """What the images of a batch gave."""
        indices, image_size, grid = spec
        damaged: dict[int, str] = {}
        try:
            return self._decode(indices, image_size, grid, damaged)
        except BrokenDatasetError:
            raise
        except UserError:
            # One by one, since the error is that of the first alone.
            for index in indices:
                try:
                    self._samples(np.array([index]), image_size, None)
                except UserError as error:
                    damaged[index] = str(error)
        sound = [index for index in indices if index not in damaged]
        return self._decode(sound, image_size, grid, damaged)

    def _decode(
        self, indices: Sequence[int], image_size: int, grid: Grid | None, damaged: dict[int, str]
    ) -> Decoded:
        chosen = np.array(indices, np.int64)
        samples, masks = np.empty((0, 3, image_size, image_size), np.float32), None
        truth = layouts = None
        if len(indices):
            samples, masks, truth, layouts = self._samples(chosen, image_size, grid)
        known = self.dataset.seen
        seen = {index: known.pop(index) for index in indices if index in known}
        return Decoded(chosen, samples, masks, truth, layouts, seen, damaged)

    def _samples(
        self, chosen: IntArray, image_size: int, grid: Grid | None
    ) -> tuple[Samples, Mask | None, Sequence[Truth] | None, Sequence[Layout] | None]:
        dataset = self.dataset
        try:
            samples, masks = dataset.samples_with_foreground(chosen, image_size, grid)
            found = [dataset.layout(index, image_size) for index in chosen.tolist()]
            layouts = [layout for layout in found if layout]
            if layouts:
                whole = [dataset.whole_truth(index) for index in chosen.tolist()]
                return samples, masks, whole, layouts
            if dataset.task != "segmentation":
                return samples, masks, None, None
            truth = dataset.truths(chosen, image_size)
            if is_foreign(dataset):
                check_truth(truth, (len(chosen), image_size, image_size), dataset)
            return samples, masks, list(truth), None
        except UserError:
            raise
        except Exception as error:
            if not is_foreign(self.dataset):
                raise
            raise BrokenDatasetError(
                f"data set '{self.dataset.name}' fails between images {chosen[0]} and {chosen[-1]} "
                f"({describe_error(error)}): correct its code"
            ) from error


def _unchanged(decoded: Any) -> Any:
    return decoded


def _begin_worker(number: int) -> None:
    """Let this worker process end with its parent, however that ends."""
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    # DataLoader's own watch lets a worker hang on a batch that the dead parent no longer reads.
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)

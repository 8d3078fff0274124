"""Who decodes the images of one data set: a thread at first, and worker processes as soon as they have started.

A run of a few images never waits for a process to start, and one whose processes cannot start, or
die, goes on by the thread. What is decoded does not depend on who does it.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from threading import Thread
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from suite.data.base import Dataset, Grid
from suite.data.loading import decode_worker as decoder
from suite.data.loading.decode_worker import Decoded

Asked = tuple[NDArray[np.int64], int, Grid | None]
MOST = 8  # processes
MANY = 512  # images from which on processes are started
_limit = MOST


def limit(processes: int) -> None:
    """Let at most so many `processes` decode, since this process has only a part of its machine."""
    global _limit
    _limit = min(MOST, processes)


def workers_for(dataset: Dataset, images: int) -> int:
    """How many processes decode `images` of `dataset`: none for few, or where a sample is drawn rather than decoded."""
    if not dataset.stored or images < MANY or script_is_run_again(sys.modules["__main__"]):
        return 0
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    return min(_limit, max(1, cores // 2))


def script_is_run_again(main: ModuleType) -> bool:
    """Whether every process that is started would import `main`, a script of the user's, and so run it once more.

    What was started by ``python -m``, our own command and a notebook are no such scripts.
    """
    file = getattr(main, "__file__", None)
    return (
        getattr(main, "__spec__", None) is None and file is not None and Path(file).suffix == ".py"
    )


class Crew:
    """Decodes what it is asked for in the background."""

    def __init__(self, dataset: Dataset, workers: int) -> None:
        """`workers` processes, which start meanwhile; 0: none."""
        self.dataset = dataset
        self.workers = workers
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._processes: ProcessPoolExecutor | None = None
        self._leaving = False
        self._starting = Thread(target=self._start, name="batches-start", daemon=True)
        if workers:
            self._starting.start()

    def _start(self) -> None:
        """Start the processes and wait until they are there."""
        methods = multiprocessing.get_all_start_methods()
        # not by fork: PyTorch's and numba's threads do not come along
        context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
        pool = ProcessPoolExecutor(self.workers, context, decoder.begin, (self.dataset,))
        try:
            for begun in [pool.submit(decoder.ready) for _ in range(self.workers)]:
                begun.result()
        except (
            Exception
        ):  # a data set that cannot be sent, or a system that starts no process: the thread goes on
            pool.shutdown(wait=False, cancel_futures=True)
            return
        self._processes = pool
        if self._leaving:
            pool.shutdown(wait=False, cancel_futures=True)

    def wait_until_started(self) -> bool:
        """Whether processes decode from now on, once that is known."""
        if self.workers:
            self._starting.join()
        return self._processes is not None

    def submit(self, indices: NDArray[np.int64], image_size: int, grid: Grid | None) -> Task:
        """Begin to decode a batch, in a piece for each process."""
        asked = indices, image_size, grid
        if (pool := self._processes) is not None:
            pieces = [piece for piece in np.array_split(indices, self.workers) if len(piece)]
            try:
                return Task(
                    self,
                    asked,
                    [pool.submit(decoder.decode, piece, image_size, grid) for piece in pieces],
                )
            except BrokenProcessPool:
                self.lose()
        return Task(self, asked, [self._thread.submit(self.here, *asked)])

    def here(self, indices: NDArray[np.int64], image_size: int, grid: Grid | None) -> Decoded:
        """Decode in this process."""
        return self.dataset.samples_with_foreground(indices, image_size, grid)

    def lose(self) -> None:
        """Go on by the thread: a process died."""
        if self._processes is not None:
            print(
                "a process that decodes images died (out of memory?): decoding goes on without it",
                file=sys.stderr,
            )
            self._processes = None

    def leave(self) -> None:
        """End the processes and the thread; what was begun and not collected is dropped."""
        self._leaving = True
        self._thread.shutdown(wait=True, cancel_futures=True)
        if self._processes is not None:
            self._processes.shutdown(wait=True, cancel_futures=True)


class Task:
    """A batch that is being decoded."""

    def __init__(self, crew: Crew, asked: Asked, pieces: Sequence[Future[Decoded]]) -> None:
        self.crew, self.asked, self.pieces = crew, asked, pieces

    def is_of(self, indices: NDArray[np.int64], image_size: int, grid: Grid | None) -> bool:
        """Whether this is the batch that is asked for."""
        return np.array_equal(self.asked[0], indices) and self.asked[1:] == (image_size, grid)

    def result(self) -> Decoded:
        """Samples and foreground; what went wrong with an image is raised here."""
        try:
            found = [piece.result() for piece in self.pieces]
        except BrokenProcessPool:
            self.crew.lose()
            return self.crew.here(*self.asked)
        if len(found) == 1:
            return found[0]
        masks = [mask for _, mask in found if mask is not None]
        return np.concatenate([samples for samples, _ in found]), np.concatenate(
            masks
        ) if masks else None

    def drop(self) -> None:
        """Do not decode what has not been begun."""
        for piece in self.pieces:
            piece.cancel()

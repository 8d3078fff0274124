"""What a worker process does: decode pieces of batches of the one data set that it was given.

It knows nothing of PyTorch, so that it starts fast. Interrupts are its parent's to handle, and it
ends when its parent does, however that happens.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from threading import Thread

import numpy as np
from numpy.typing import NDArray

from suite.data.base import Dataset, Grid

Decoded = tuple[NDArray[np.float32], NDArray[np.bool_] | None]
_given: list[Dataset] = []


def begin(dataset: Dataset) -> None:
    """Prepare this process to decode `dataset`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_parent, daemon=True).start()
    _given.append(dataset)


def decode(indices: NDArray[np.int64], image_size: int, grid: Grid | None) -> Decoded:
    """Samples and foreground of these images (see `Dataset.samples_with_foreground`)."""
    return _given[0].samples_with_foreground(indices, image_size, grid)


def ready() -> int:
    """The number of this process, once it has begun."""
    return os.getpid()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)

"""Running a kernel's machine code with the threads that torch already has.

They belong to the OpenMP library that torch itself is linked with. A second pool, numba's or
Python's, would compete with torch's workers, which spin for milliseconds after each of its
operations: on 2 cores a kernel between two matrix products then runs at half speed.
"""

from __future__ import annotations

import ctypes
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch


def launch(entry: int, frame: np.ndarray) -> None:
    """Do all tasks of `frame` with the machine code at the address `entry`."""
    # a thread without a task would only be woken for nothing
    threads = min(torch.get_num_threads(), int(frame["tasks"][0]))
    parallel = _openmp_parallel()
    if threads > 1 and parallel is not None:
        parallel(entry, frame.ctypes.data, threads, 0)
        return
    call = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(entry)
    if threads > 1:
        # ctypes releases the interpreter's lock during a call
        list(_pool(threads).map(call, [frame.ctypes.data] * threads))
    elif threads == 1:
        call(frame.ctypes.data)


@cache
def _openmp_parallel() -> Any:
    """`GOMP_parallel` of torch's OpenMP library; None where it is linked with another kind."""
    # the symbol is looked up through the library's own dependencies
    library = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
    try:
        parallel = ctypes.CDLL(str(library)).GOMP_parallel
    except (OSError, AttributeError):
        return None
    parallel.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
    parallel.restype = None
    return parallel


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="scan")

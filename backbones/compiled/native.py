"""Running compiled kernels: a kernel is a loop over independent tasks, shared by the threads that torch already has.

A kernel takes one record (a `frame`) of addresses, strides and sizes whose first fields are ``next`` and ``tasks``;
every thread takes the next task until none is left. What a task writes depends on nothing but its number, so results
are the same for any number of threads.

Threads are those of the OpenMP library torch itself is linked with. A second pool, numba's or Python's, would compete
with torch's workers, which go on spinning for milliseconds after each of its operations: on 2 cores a kernel between
two matrix products then runs at half speed.
"""

from __future__ import annotations

import ctypes
import inspect
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from llvmlite import ir
from torch import Tensor

from backbones.compiled.ahead import awaited, compile_ahead
from backbones.compiled.jit import callback, config, intrinsic, record_of, types

COUNTERS = [("next", np.int64), ("tasks", np.int64)]


def frame_type(addresses: tuple[str, ...], sizes: tuple[str, ...], scalars: tuple[str, ...] = ()) -> np.dtype[Any]:
    """Layout of a kernel's frame: task counters, then addresses (0: absent), whole numbers, and float scalars."""
    whole = [(name, np.int64) for name in (*addresses, *sizes)]
    return np.dtype([*COUNTERS, *whole, *((name, np.float32) for name in scalars)], align=True)


def _pointer_to(kind: Any) -> Any:
    """Signature and code of a function (address, offset) that gives a pointer to a number of this kind."""
    pointer = types.CPointer(kind)

    def generate(context: Any, builder: Any, __: Any, given: Any) -> Any:
        base = builder.inttoptr(given[0], context.get_value_type(pointer))
        return builder.gep(base, [given[1]])

    return pointer(types.int64, types.int64), generate


@intrinsic
def row(typing: Any, address: Any, offset: Any) -> Any:
    """Pointer to the float32 number `offset` places after an address."""
    return _pointer_to(types.float32)


@intrinsic
def wide_row(typing: Any, address: Any, offset: Any) -> Any:
    """Pointer to the float64 number `offset` places after an address."""
    return _pointer_to(types.float64)


@intrinsic
def whole_row(typing: Any, address: Any, offset: Any) -> Any:
    """Pointer to the int64 number `offset` places after an address."""
    return _pointer_to(types.int64)


@intrinsic
def prefetch(typing: Any, pointer: Any, offset: Any) -> Any:
    """Ask for the cache line of a float32 number that will be read soon; harmless at any address."""

    def generate(_: Any, builder: Any, __: Any, given: Any) -> Any:
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        function = builder.module.declare_intrinsic("llvm.prefetch", [byte], kind)
        place = builder.bitcast(builder.gep(given[0], [given[1]]), byte)
        builder.call(function, [place, number(0), number(3), number(1)])

    return types.void(pointer, types.int64), generate


@intrinsic
def take(typing: Any, frame: Any) -> Any:
    """The number of the next task: the frame's first field before adding one to it, atomically."""

    def generate(_: Any, builder: Any, __: Any, given: Any) -> Any:
        counter = builder.bitcast(given[0], ir.IntType(64).as_pointer())
        return builder.atomic_rmw("add", counter, ir.Constant(ir.IntType(64), 1), "seq_cst")

    return types.int64(frame), generate


def compile_kernel(entry: Callable[[Any], None], frame: np.dtype[Any]) -> Callable[[np.ndarray], None]:
    """Compile `entry`, which takes a pointer to a frame, and return a function that runs one with torch's threads."""
    signature = types.void(types.CPointer(record_of(frame)))
    awaited(entry.__module__)
    with _cache_directory(Path(inspect.getfile(entry)).parent) as writable:
        compiled = callback(signature, cache=writable)(entry)
    return lambda values: _launch(compiled.address, values)


def begin_kernel(entry: Callable[[Any], None], maker: Callable[[], object]) -> None:
    """Compile `entry`, which `maker` hands to `compile_kernel`, beside this process, if that was never done."""
    source = Path(inspect.getfile(entry))
    folder = _cache_folder(source.parent)
    if folder is not None and not any(folder.glob(f"*/{source.stem}.{entry.__name__}-*.nbi")):
        compile_ahead(maker)


def fill(layout: np.dtype[Any], *parts: dict[str, Any]) -> np.ndarray:
    """A frame with the named fields set and all others zero."""
    frame = np.zeros(1, layout)
    for part in parts:
        for name, value in part.items():
            frame[name] = value
    return frame


def address(tensor: Tensor | None) -> int:
    """Where a tensor's numbers begin; 0 for None."""
    return 0 if tensor is None else tensor.data_ptr()


def _launch(entry: int, frame: np.ndarray) -> None:
    threads = min(torch.get_num_threads(), int(frame["tasks"][0]))
    share = _openmp_parallel()
    if threads > 1 and share is not None:
        share(entry, frame.ctypes.data, threads, 0)
        return
    call = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(entry)
    if threads > 1:
        list(_pool(threads).map(call, [frame.ctypes.data] * threads))
    elif threads == 1:
        call(frame.ctypes.data)


@cache
def _openmp_parallel() -> Any:
    """`GOMP_parallel` of the OpenMP library that torch is linked with; None where it has another one."""
    library = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
    try:
        share = ctypes.CDLL(str(library)).GOMP_parallel
    except (OSError, AttributeError):
        return None
    share.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
    share.restype = None
    return share


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="scan")


@contextmanager
def _cache_directory(kernels: Path) -> Iterator[bool]:
    """Let numba keep machine code in `_cache_folder`; yields whether it can."""
    before, folder = config.CACHE_DIR, _cache_folder(kernels)
    config.CACHE_DIR = before if folder is None else str(folder)
    try:
        yield folder is not None
    finally:
        config.CACHE_DIR = before


def _cache_folder(kernels: Path) -> Path | None:
    """A folder named for its sources, those of the folder `kernels` and of this one; None if it cannot be written.

    numba's own place is beside the source, where an installation may be read-only, and it does not notice a change in
    another file that a kernel calls into.
    """
    base = Path(config.CACHE_DIR or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = base / "mamba-token-suite" / _digest(kernels)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None


@cache
def _digest(kernels: Path) -> str:
    sources = [path for folder in (Path(__file__).parent, kernels) for path in sorted(folder.glob("*.py"))]
    return sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:16]

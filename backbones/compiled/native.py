"""Compiled kernels: a kernel is a loop over independent tasks, shared by the threads that torch already has.

A kernel takes one record (a `frame`) of addresses, strides and sizes whose first fields are
``next`` and ``tasks``; every thread takes the next task until none is left. What a task writes
depends on nothing but its number, so results are the same for any number of threads.

torch is imported when a kernel is run: a process that only compiles does without it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from llvmlite import ir

from backbones.compiled.ahead import awaited
from backbones.compiled.cache import cache_folder
from backbones.compiled.jit import callback, config, intrinsic, record_of, types

if TYPE_CHECKING:
    from torch import Tensor

COUNTERS = [("next", np.int64), ("tasks", np.int64)]


def frame_type(
    addresses: tuple[str, ...], sizes: tuple[str, ...], scalars: tuple[str, ...] = ()
) -> np.dtype[Any]:
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


def compile_kernel(
    entry: Callable[[Any], None], frame: np.dtype[Any]
) -> Callable[[np.ndarray], None]:
    """Compile `entry`, which takes a pointer to a frame, and return a function that runs one with torch's threads."""
    signature = types.void(types.CPointer(record_of(frame)))
    awaited(entry.__module__)
    with _cache_directory(Path(inspect.getfile(entry)).parent) as writable:
        compiled = callback(signature, cache=writable)(entry)

    def run(values: np.ndarray) -> None:
        from backbones.compiled.threads import launch

        launch(compiled.address, values)

    return run


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


@contextmanager
def _cache_directory(kernels: Path) -> Iterator[bool]:
    """Let numba keep machine code in `cache_folder`; yields whether it can."""
    before, folder = config.CACHE_DIR, cache_folder(kernels)
    config.CACHE_DIR = before if folder is None else str(folder)
    try:
        yield folder is not None
    finally:
        config.CACHE_DIR = before

"""Compiled kernels: loops over independent tasks, divided among torch's own threads.

A kernel takes one record (a `frame`) of addresses, strides and sizes whose first fields are
``next`` and ``tasks``; every thread takes the next task until all are done. What a task writes
depends on nothing but its number, so results are the same for any number of threads.

torch is imported when a kernel is run: a process that only compiles does without it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from llvmlite import ir

from backbones.compiled.ahead import awaited
from backbones.compiled.jit import (
    array_at,
    cache_directory,
    callback,
    inlined,
    intrinsic,
    record_of,
    types,
)

if TYPE_CHECKING:
    from torch import Tensor

# first in every frame, where `take` expects them
COUNTERS = [("next", np.int64), ("tasks", np.int64)]


def frame_type(
    addresses: tuple[str, ...], sizes: tuple[str, ...], scalars: tuple[str, ...] = ()
) -> np.dtype[Any]:
    """Layout of a kernel's frame: task counters, addresses (0: None), integers, float scalars."""
    integers = [(name, np.int64) for name in (*addresses, *sizes)]
    floats = [(name, np.float32) for name in scalars]
    return np.dtype([*COUNTERS, *integers, *floats], align=True)


def _pointer_to(kind: Any) -> Any:
    """Signature and code of a function (address, offset) that returns a pointer to a number."""
    # A frame stores addresses as integers, which become pointers here.
    pointer = types.CPointer(kind)

    def generate(context: Any, builder: Any, __: Any, arguments: Any) -> Any:
        base = builder.inttoptr(arguments[0], context.get_value_type(pointer))
        return builder.gep(base, [arguments[1]])

    return pointer(types.int64, types.int64), generate


@intrinsic
def row(typing: Any, address: Any, offset: Any) -> Any:
    """Pointer to the float32 number `offset` numbers after an address."""
    return _pointer_to(types.float32)


@intrinsic
def wide_row(typing: Any, address: Any, offset: Any) -> Any:
    """Pointer to the float64 number `offset` numbers after an address."""
    return _pointer_to(types.float64)


@intrinsic
def whole_row(typing: Any, address: Any, offset: Any) -> Any:
    """Pointer to the int64 number `offset` numbers after an address."""
    return _pointer_to(types.int64)


@intrinsic
def prefetch(typing: Any, pointer: Any, offset: Any) -> Any:
    """Prefetch the cache line of a float32 number that will be read soon; safe at any address."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        byte = ir.IntType(8).as_pointer()
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        function = builder.module.declare_intrinsic("llvm.prefetch", [byte], kind)
        place = builder.bitcast(builder.gep(arguments[0], [arguments[1]]), byte)
        # for reading (0), into all levels (3), of the data cache (1)
        builder.call(function, [place, number(0), number(3), number(1)])

    return types.void(pointer, types.int64), generate


@intrinsic
def take(typing: Any, frame: Any) -> Any:
    """Take the next task's number: the frame's first field, which grows by one, atomically."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        counter = builder.bitcast(arguments[0], ir.IntType(64).as_pointer())
        return builder.atomic_rmw("add", counter, ir.Constant(ir.IntType(64), 1), "seq_cst")

    return types.int64(frame), generate


@inlined
def each_task(frame: Any, task: Any) -> None:
    """Call the compiled `task`, which takes a record and a number, for each task not yet taken.

    The whole of a kernel's entry: numba keeps machine code by the file of the entry itself.
    """
    record = array_at(frame, 1)[0]
    index = take(frame)
    while index < record.tasks:
        task(record, index)
        index = take(frame)


def kernel_of(
    entry: Callable[[Any], None], frame: np.dtype[Any]
) -> Callable[[], Callable[[np.ndarray], None]]:
    """A function that returns the kernel of `entry`, compiled at its first call: some seconds."""
    return cache(partial(_compiled, entry, frame))


def _compiled(entry: Callable[[Any], None], frame: np.dtype[Any]) -> Callable[[np.ndarray], None]:
    """Compile `entry`, which takes a pointer to a frame; the result runs one on torch's threads."""
    # A C callback takes the frame by its address, from any thread and without the interpreter.
    signature = types.void(types.CPointer(record_of(frame)))
    # Another process may be compiling the same kernel into the cache.
    awaited(entry.__module__)
    with cache_directory(Path(inspect.getfile(entry)).parent) as writable:
        compiled = callback(signature, cache=writable)(entry)

    def run(values: np.ndarray) -> None:
        from backbones.compiled.threads import launch

        launch(compiled.address, values)

    return run


def fill(
    layout: np.dtype[Any], *parts: Mapping[str, Any], **fields: Tensor | float | None
) -> np.ndarray:
    """A frame with the fields of `parts` and `fields` set, all others zero.

    A tensor is stored as its address: it has to be kept alive until the kernel has run.
    """
    frame = np.zeros(1, layout)
    for part in (*parts, fields):
        for name, value in part.items():
            if value is not None:
                # not isinstance: torch may not be imported here
                frame[name] = value.data_ptr() if hasattr(value, "data_ptr") else value
    return frame

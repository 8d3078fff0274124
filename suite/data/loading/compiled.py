"""Compilation of loops with numba."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast

from numba import njit

from backbones.compiled.jit import cache_directory

F = TypeVar("F", bound=Callable[..., None] | Callable[..., int])


def compiled(function: F) -> F:
    """`function` as machine code without the GIL, cached on disk if a folder can be written."""
    # The cache is renewed when a file of its folder changes. So compiled functions call only those
    # of their own folder, and take the rest as arguments.
    with cache_directory(Path(inspect.getfile(function)).parent) as writable:
        return cast("F", njit(nogil=True, cache=writable)(function))

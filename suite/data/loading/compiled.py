"""Compilation of loops with numba."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

from numba import njit

F = TypeVar("F", bound=Callable[..., None] | Callable[..., int])


def compiled(function: F) -> F:
    """`function` as machine code without the GIL, cached on disk if a folder can be written."""
    # The cache is renewed when the file of `function` changes, not when a file that it calls does.
    # So compiled functions call only those of their own file, and take the rest as arguments.
    try:
        return cast("F", njit(nogil=True, cache=True)(function))
    except RuntimeError:
        # In some containers neither the package's folder nor the user's cache can be written.
        return cast("F", njit(nogil=True)(function))

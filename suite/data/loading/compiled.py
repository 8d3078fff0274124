"""Compilation of the drawing loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

from numba import njit

F = TypeVar("F", bound=Callable[..., None] | Callable[..., int])


def compiled(function: F) -> F:
    """`function` as machine code that releases the GIL, kept on disk between processes where that can be written.

    The stored code is renewed when the file of `function` changes, not when a file it calls into
    does: compiled functions call only those of their own file and take what else they need as
    arguments.
    """
    try:
        return cast("F", njit(nogil=True, cache=True)(function))
    except RuntimeError:
        # Neither the package's folder nor the user's cache can be written, as in some containers.
        return cast("F", njit(nogil=True)(function))

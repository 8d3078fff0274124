"""numba's names, untyped, since its decorators change how functions are called; and its cache."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numba
from numba.core import caching as numba_caching
from numba.core import config as numba_config
from numba.core import types as numba_types
from numba.extending import intrinsic as numba_intrinsic

from backbones.compiled.cache import cache_folder

# Python's error model tests every divisor for zero, which keeps LLVM from vectorising the loop
# around it. Only compiled code calls these functions: without wrappers for Python and C an eighth
# of the time to compile is saved.
_FLAGS: Any = {"error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
device: Any = numba.njit(**_FLAGS)
# for a large function with one caller, in which it is compiled: alone it would be optimised and
# turned into machine code once more, for nobody
inlined: Any = numba.njit(**_FLAGS, inline="always")
# for sums only: LLVM vectorises them if it may change the order of additions
reassociating: Any = numba.njit(**_FLAGS, fastmath={"reassoc"})

callback: Any = numba.cfunc
record_of: Any = numba.from_dtype
array_at: Any = vars(numba)["carray"]
intrinsic: Any = numba_intrinsic
types: Any = numba_types
config: Any = numba_config
caching: Any = numba_caching


def _load(self: Any, signature: Any, context: Any) -> Any:
    try:
        return caching.Cache.load_overload(self, signature, context)
    except Exception:  # unpickling a damaged file raises almost anything
        with suppress(OSError):
            self.flush()
        return None


def _save(self: Any, signature: Any, result: Any) -> None:
    with suppress(OSError):  # a full disk
        caching.Cache.save_overload(self, signature, result)


# numba has no setting for it: what cannot be kept or read is compiled, which works all the same.
caching.FunctionCache.load_overload = _load
caching.FunctionCache.save_overload = _save


@contextmanager
def cache_directory(kernels: Path) -> Iterator[bool]:
    """Make numba keep machine code in `cache_folder`; yields whether it can."""
    before = config.CACHE_DIR
    folder = cache_folder(kernels)
    config.CACHE_DIR = before if folder is None else str(folder)
    try:
        yield folder is not None
    finally:
        config.CACHE_DIR = before

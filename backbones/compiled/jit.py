"""numba's names, untyped: its decorators change how functions are called."""

from __future__ import annotations

from typing import Any

import numba
from numba.core import config as numba_config
from numba.core import types as numba_types
from numba.extending import intrinsic as numba_intrinsic

# Python's error model tests every divisor for zero, which keeps LLVM from vectorising the loop
# around it. Only compiled code calls these functions: without wrappers for Python and C an eighth
# of the time to compile is saved.
_FLAGS: Any = {"error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
device: Any = numba.njit(**_FLAGS)
# for sums only: LLVM vectorises them if it may change the order of additions
reassociating: Any = numba.njit(**_FLAGS, fastmath={"reassoc"})

callback: Any = numba.cfunc
record_of: Any = numba.from_dtype
array_at: Any = vars(numba)["carray"]
intrinsic: Any = numba_intrinsic
types: Any = numba_types
config: Any = numba_config

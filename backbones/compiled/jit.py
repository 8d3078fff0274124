"""numba's names as this package uses them, untyped: its decorators change what a function is called with."""

from __future__ import annotations

from typing import Any

import numba
from numba.core import config as numba_config
from numba.core import types as numba_types
from numba.extending import intrinsic as numba_intrinsic

# Python's error model tests every divisor for zero, which keeps LLVM from vectorising the loop around it.
device: Any = numba.njit(error_model="numpy")
reassociating: Any = numba.njit(error_model="numpy", fastmath={"reassoc"})

callback: Any = numba.cfunc
record_of: Any = numba.from_dtype
array_at: Any = vars(numba)["carray"]
intrinsic: Any = numba_intrinsic
types: Any = numba_types
config: Any = numba_config

"""Single-precision exp, softplus and sigmoid that LLVM vectorises: no calls, no branches.

Polynomials are minimax fits. Nothing here is compiled with fast-math: additions and multiplications
happen exactly as written and fused ones are requested by name, so that the bits of a result do not
depend on how a loop was vectorised.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir

from backbones.compiled.jit import device, intrinsic, reassociating, types

ONE, TWO, ZERO = np.float32(1), np.float32(2), np.float32(0)
LOG2E = np.float32(1.4426950408889634)
# -ln 2 in two parts: the first has few bits, so that k times it is exact
_NEGATIVE_LOG2E_INVERSE_HIGH = np.float32(-0.693359375)
_NEGATIVE_LOG2E_INVERSE_LOW = np.float32(2.12194440e-4)
_ROUNDER = np.float32(1.5 * 2**23)  # adding it leaves the nearest whole number in the lowest bits
_SMALLEST_EXPONENT = np.float32(-126)


def _singles(*values: float) -> tuple[np.float32, ...]:
    return tuple(map(np.float32, values))


_EXP2 = _singles(0.693147004, 0.240222424, 0.0555073358, 0.00967151299, 0.00132647273)
_EXP = _singles(0.499999940, 0.166665211, 0.0416683890, 0.00836871564, 0.00138146023)
_ATANH = _singles(0.333332062, 0.200108498, 0.139995694, 0.140122324)


@intrinsic
def fma(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """A * b + c, rounded once."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        return builder.fma(*arguments)

    return types.float32(types.float32, types.float32, types.float32), generate


@intrinsic
def _times_power(typing: Any, value: Any, rounded: Any) -> Any:
    """Value * 2^k, where `rounded` is k + _ROUNDER."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        # k is in the lowest bits of `rounded`: shifted, it adds to the exponent's bits of the value
        integer = ir.IntType(32)
        exponent = builder.shl(builder.bitcast(arguments[1], integer), ir.Constant(integer, 23))
        bits = builder.add(builder.bitcast(arguments[0], integer), exponent)
        return builder.bitcast(bits, ir.FloatType())

    return types.float32(types.float32, types.float32), generate


@device
def exp2(x: Any) -> Any:
    """2^x for x <= 127, to 1e-7 of the value; exactly 1 at 0; 2^-126 below -126, nan at nan."""
    # below, the exponent's bits would wrap around
    x = _SMALLEST_EXPONENT if x < _SMALLEST_EXPONENT else x
    rounded = x + _ROUNDER
    f = x - (rounded - _ROUNDER)
    q = fma(fma(fma(fma(_EXP2[4], f, _EXP2[3]), f, _EXP2[2]), f, _EXP2[1]), f, _EXP2[0])
    return _times_power(fma(q, f, ONE), rounded)


@device
def exp(x: Any) -> Any:
    """e^x for -87 <= x <= 88, to 1e-7 of the value; e^-87 below."""
    x = np.float32(-87) if x < np.float32(-87) else x
    rounded = fma(x, LOG2E, _ROUNDER)
    k = rounded - _ROUNDER
    f = fma(k, _NEGATIVE_LOG2E_INVERSE_LOW, fma(k, _NEGATIVE_LOG2E_INVERSE_HIGH, x))
    q = fma(fma(fma(fma(_EXP[4], f, _EXP[3]), f, _EXP[2]), f, _EXP[1]), f, _EXP[0])
    return _times_power(fma(q, f * f, f) + ONE, rounded)


@device
def softplus(x: Any) -> Any:
    """log(1 + e^x), with a small relative error however negative x is."""
    # max(x, 0) + 2 atanh(t / (2 + t)) with t = e^-|x|: log1p would lose all digits of a small t
    t = exp(-abs(x))
    s = t / (TWO + t)
    square = s * s
    q = fma(fma(fma(_ATANH[3], square, _ATANH[2]), square, _ATANH[1]), square, _ATANH[0])
    doubled = s + s
    tail = fma(doubled * square, q, doubled)
    return tail + x if x > ZERO else tail


@device
def sigmoid(x: Any) -> Any:
    """1 / (1 + e^-x), with a small relative error on both sides."""
    t = exp(-abs(x))
    return (t if x < ZERO else ONE) / (ONE + t)


@device
def silu(x: Any) -> Any:
    """The gate x * sigmoid(x)."""
    return x * sigmoid(x)


@reassociating
def total(values: Any, count: int) -> Any:
    """Sum of the first `count` values, in an order that depends on `count` alone."""
    result = ZERO
    for index in range(count):
        result += values[index]
    return result


@device
def workspace(size: int) -> Any:
    """`size` zeros that begin on a cache line."""
    # so that no vector straddles two lines
    raw = np.zeros(size + 16, np.float32)
    skip = (-raw.ctypes.data // 4) % 16
    return raw[skip : skip + size]

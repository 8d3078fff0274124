"""Single-precision functions that LLVM vectorises: exp, softplus and sigmoid without a call and without a branch.

Polynomials are minimax fits. Nothing here is compiled with fast-math: additions and multiplications
happen exactly as written and fused ones are asked for by name, so that the bits of a result do not
depend on how a loop was vectorised.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir

from backbones.compiled.jit import device, intrinsic, reassociating, types

ONE, TWO, ZERO = np.float32(1), np.float32(2), np.float32(0)
LOG2E = np.float32(1.4426950408889634)
_NEGATIVE_LOG2E_INVERSE_HIGH, _NEGATIVE_LOG2E_INVERSE_LOW = (
    np.float32(-0.693359375),
    np.float32(2.12194440e-4),
)
_ROUNDER = np.float32(1.5 * 2**23)  # adding it leaves the nearest whole number in the lowest bits
_SMALLEST_EXPONENT = np.float32(-126)
_EXP2 = tuple(
    np.float32(c) for c in (0.693147004, 0.240222424, 0.0555073358, 0.00967151299, 0.00132647273)
)
_EXP = tuple(
    np.float32(c) for c in (0.499999940, 0.166665211, 0.0416683890, 0.00836871564, 0.00138146023)
)
_ATANH = tuple(np.float32(c) for c in (0.333332062, 0.200108498, 0.139995694, 0.140122324))


@intrinsic
def fma(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """A * b + c, rounded once."""
    return types.float32(
        types.float32, types.float32, types.float32
    ), lambda _, builder, __, given: builder.fma(*given)


@intrinsic
def _times_power(typing: Any, value: Any, rounded: Any) -> Any:
    """Value * 2^k, where `rounded` is k + _ROUNDER: k is added to the exponent bits."""

    def generate(_: Any, builder: Any, __: Any, given: Any) -> Any:
        whole = ir.IntType(32)
        exponent = builder.shl(builder.bitcast(given[1], whole), ir.Constant(whole, 23))
        return builder.bitcast(
            builder.add(builder.bitcast(given[0], whole), exponent), ir.FloatType()
        )

    return types.float32(types.float32, types.float32), generate


@device
def exp2(x: Any) -> Any:
    """2^x for x <= 127, to 1e-7 of the value; exactly 1 at 0; 2^-126 below -126, nan at nan."""
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
    """log(1 + e^x) with a small relative error however negative x is: max(x, 0) + 2 atanh(t / (2 + t)), t = e^-|x|."""
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
    """Sum of the first `count` values; their order is the compiler's, but always the same one for a given count."""
    found = ZERO
    for index in range(count):
        found += values[index]
    return found


@device
def workspace(size: int) -> Any:
    """`size` zeros that begin on a cache line, so that no vector straddles two."""
    raw = np.zeros(size + 16, np.float32)
    skip = (-raw.ctypes.data // 4) % 16
    return raw[skip : skip + size]

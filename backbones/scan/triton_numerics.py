"""Single-precision functions for Triton kernels, made of cheap instructions."""

# mypy: ignore-errors
from __future__ import annotations

import triton
import triton.language as tl

LOG2E = tl.constexpr(1.4426950408889634)


@triton.jit
def softplus(x):
    """log(1 + e^x), with a small relative error however negative x is."""
    # max(x, 0) + 2 atanh(t / (2 + t)) with t = e^-|x|: log1p would lose all digits of a small t
    t = tl.exp2(-tl.abs(x) * LOG2E)
    s = t * reciprocal(2.0 + t)
    square = s * s
    q = ((0.140122324 * square + 0.139995694) * square + 0.200108498) * square + 0.333332062
    return tl.maximum(x, 0.0) + (2.0 * s) * (square * q + 1.0)


@triton.jit
def silu(x):
    """SiLU: x / (1 + e^-x)."""
    return x * sigmoid(x)


@triton.jit
def sigmoid(x):
    """1 / (1 + e^-x)."""
    return reciprocal(1.0 + tl.exp2(-x * LOG2E))


@triton.jit
def reciprocal(x):
    """1 / x for x > 0 to 3e-7 of the value, 0 at infinity."""
    # A division would take several times the instructions.
    root = tl.rsqrt(x)
    return root * root

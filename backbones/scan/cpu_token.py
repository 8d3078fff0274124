"""What both passes of the CPU scan read of one token.

Sizes and strides that their frames share, and the timescale.
"""

from __future__ import annotations

from typing import Any

from backbones.compiled.jit import device
from backbones.compiled.native import row
from backbones.compiled.numerics import fma, softplus

SCAN_SIZES = (
    *("directions", "batch", "length", "width", "states", "rank", "chunk", "backwards"),
    *(f"{name}_{axis}" for name in ("u", "delta", "B", "C", "carry") for axis in "kbl"),
    *("z_b", "z_l"),
)


@device
def token_of(frame: Any, k: int, t: int) -> int:
    """The token of direction k's t-th step."""
    return frame.length - 1 - t if frame.backwards >> k & 1 else t


@device
def load(
    frame: Any,
    k: int,
    image: int,
    token: int,
    first: int,
    count: int,
    step: Any,
    decay: Any,
    u: Any,
) -> None:
    """Load timescale, decay and input of one token's channels."""
    timescale(frame, k, image, token, first, count, step)
    source = row(frame.u, k * frame.u_k + image * frame.u_b + token * frame.u_l + first)
    for c in range(count):
        u[c] = source[c]
        decay[c] = step[c]
    if frame.carry != 0:
        away = k * frame.carry_k + image * frame.carry_b + token * frame.carry_l
        carry = row(frame.carry, away + first)
        for c in range(count):
            decay[c] += carry[c]


@device
def timescale(
    frame: Any,
    k: int,
    image: int,
    token: int,
    first: int,
    count: int,
    step: Any,
) -> None:
    """Write one token's timescale, after bias and softplus, into `step`."""
    # Without a rank `delta` is the raw timescale itself, with one its factors before projection.
    raw = row(frame.delta, k * frame.delta_k + image * frame.delta_b + token * frame.delta_l)
    bias = row(frame.bias, k * frame.width + first)
    if frame.rank == 0:
        for c in range(count):
            step[c] = softplus(raw[first + c] + bias[c])
        return
    for c in range(count):
        step[c] = bias[c]
    weight = k * frame.rank * frame.width + first
    pitch = frame.width
    # Four ranks at a time: `step` is loaded and stored once for them.
    for r in range(0, frame.rank - 3, 4):
        w0 = row(frame.weight, weight + r * pitch)
        w1 = row(frame.weight, weight + (r + 1) * pitch)
        w2 = row(frame.weight, weight + (r + 2) * pitch)
        w3 = row(frame.weight, weight + (r + 3) * pitch)
        f0 = raw[r]
        f1 = raw[r + 1]
        f2 = raw[r + 2]
        f3 = raw[r + 3]
        for c in range(count):
            step[c] = fma(f3, w3[c], fma(f2, w2[c], fma(f1, w1[c], fma(f0, w0[c], step[c]))))
    for r in range(frame.rank // 4 * 4, frame.rank):
        factor = raw[r]
        column = row(frame.weight, weight + r * pitch)
        for c in range(count):
            step[c] = fma(factor, column[c], step[c])
    for c in range(count):
        step[c] = softplus(step[c])

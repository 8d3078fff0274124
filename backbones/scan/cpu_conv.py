"""Causal depthwise convolution and SiLU on a CPU, all directions in one pass."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from backbones.compiled.jit import device, inlined
from backbones.compiled.native import each_task, fill, frame_type, kernel_of, row
from backbones.compiled.numerics import fma, silu, workspace

TOKENS = 16  # of one task
FRAME = frame_type(
    ("x", "weight", "bias", "y"),
    ("directions", "batch", "length", "width", "taps", "backwards", "x_b", "x_l"),
)


def convolve(x: Tensor, weight: Tensor, bias: Tensor, backwards: int) -> Tensor:
    """SiLU(conv(x) + bias) of x (B, L, E), fp32 with its last axis contiguous, as (K, B, L, E).

    `weight` (K, taps, E) has the tap of the token itself last; `bias` (K, E). A direction whose bit
    is set in `backwards` sees the tokens after its own instead of those before.
    """
    batch, length, width = x.shape
    directions, taps, _ = weight.shape
    y = x.new_empty(directions, batch, length, width)
    frame = fill(
        FRAME,
        x=x,
        weight=weight,
        bias=bias,
        y=y,
        directions=directions,
        batch=batch,
        length=length,
        width=width,
        taps=taps,
        backwards=backwards,
        x_b=x.stride(0),
        x_l=x.stride(1),
        tasks=batch * -(-length // TOKENS),
    )
    conv_kernel()(frame)
    return y


@device
def conv_token(frame: Any, k: int, image: int, token: int, out: Any) -> None:
    """Convolve one token in one direction."""
    width = frame.width
    bias = row(frame.bias, k * width)
    for c in range(width):
        out[c] = bias[c]
    for tap in range(frame.taps):
        away = frame.taps - 1 - tap
        # a backwards direction looks at later tokens, which saves flipping the sequence twice
        source = token + away if frame.backwards >> k & 1 else token - away
        if 0 <= source < frame.length:
            x = row(frame.x, image * frame.x_b + source * frame.x_l)
            weight = row(frame.weight, (k * frame.taps + tap) * width)
            for c in range(width):
                out[c] = fma(weight[c], x[c], out[c])
    y = row(frame.y, ((k * frame.batch + image) * frame.length + token) * width)
    for c in range(width):
        y[c] = silu(out[c])


@inlined
def conv_task(frame: Any, index: int) -> None:
    """Convolve a few neighbouring tokens of one image, in every direction."""
    # Directions inside the loop over tokens: they read the same rows of x, then still in the cache.
    blocks = (frame.length + TOKENS - 1) // TOKENS
    image, first = index // blocks, index % blocks * TOKENS
    out = workspace(frame.width)
    for token in range(first, min(first + TOKENS, frame.length)):
        for k in range(frame.directions):
            conv_token(frame, k, image, token, out)


def _entry(pointer: Any) -> None:
    each_task(pointer, conv_task)


conv_kernel = kernel_of(_entry, FRAME)

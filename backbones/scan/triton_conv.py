"""Causal depthwise convolution and SiLU as Triton programs, with gradients."""

# mypy: ignore-errors
from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from backbones.scan.contract import dense
from backbones.scan.triton_numerics import sigmoid, silu

# of one program: each thread reads and writes 16 bytes at a time
TOKENS, CHANNELS, WARPS = 32, 64, 4
SUMMED = 16  # tokens at a time where a program keeps sums in registers as well


def convolve(x: Tensor, taps: Tensor, bias: Tensor, backwards: int) -> Tensor:
    """SiLU of x (B, L, E) convolved with `taps` (K, W, E), differentiably: (K, B, L, E).

    A direction sees `W - 1` tokens behind it; bit k of `backwards` says that direction k runs from
    the last token.
    """
    if torch.is_grad_enabled() and any(part.requires_grad for part in (x, taps, bias)):
        return _Convolution.apply(x, taps, bias, backwards)
    return _forward(x, taps, bias, backwards)


class _Convolution(torch.autograd.Function):
    """The convolution with the gradients of its three inputs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, taps: Tensor, bias: Tensor, backwards: int) -> Tensor:
        """See `convolve`."""
        ctx.save_for_backward(x, taps, bias)
        ctx.backwards = backwards
        return _forward(x, taps, bias, backwards)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """Gradients of x, taps and bias."""
        x, taps, bias = ctx.saved_tensors
        dy = dy.contiguous()
        x = dense(x)
        directions, reach, width = taps.shape
        grid = _grid(x)
        dx = torch.empty(x.shape, dtype=x.dtype, device=x.device)
        inner = torch.empty_like(dy)
        # an image's part of the gradients of taps and bias, added up below in a fixed order
        parts = torch.empty(
            grid[2], directions, reach + 1, width, dtype=torch.float32, device=x.device
        )
        with torch.cuda.device_of(x):
            conv_inner[grid[0], grid[2]](
                x,
                taps.contiguous(),
                bias.contiguous(),
                dy,
                inner,
                parts,
                *x.shape,
                x.stride(0),
                x.stride(1),
                **_constants(taps, ctx.backwards) | {"TOKENS": SUMMED},
            )
            conv_outer[grid](
                inner, taps.contiguous(), dx, *x.shape, **_constants(taps, ctx.backwards)
            )
        summed = parts.sum(0)
        return dx, summed[:, :reach].to(taps.dtype), summed[:, reach].to(bias.dtype), None


def _forward(x: Tensor, taps: Tensor, bias: Tensor, backwards: int) -> Tensor:
    x = dense(x)
    y = x.new_empty(taps.shape[0], *x.shape)
    with torch.cuda.device_of(x):
        conv_forward[_grid(x)](
            x,
            taps.contiguous(),
            bias.contiguous(),
            y,
            *x.shape,
            x.stride(0),
            x.stride(1),
            **_constants(taps, backwards),
        )
    return y


def _grid(x: Tensor) -> tuple[int, int, int]:
    batch, length, width = x.shape
    return triton.cdiv(width, CHANNELS), triton.cdiv(length, TOKENS), batch


def _constants(taps: Tensor, backwards: int) -> dict[str, int]:
    return {
        "DIRECTIONS": taps.shape[0],
        "TAPS": taps.shape[1],
        "BACKWARDS": backwards,
        "TOKENS": TOKENS,
        "CHANNELS": CHANNELS,
        "num_warps": WARPS,
        "enable_fp_fusion": True,
    }


@triton.jit(do_not_specialize=("batch", "length"))
def conv_forward(
    x,
    taps,
    bias,
    y,
    batch,
    length,
    width,
    x_b,
    x_l,
    DIRECTIONS: tl.constexpr,
    TAPS: tl.constexpr,
    BACKWARDS: tl.constexpr,
    TOKENS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """Grid (blocks of channels, blocks of tokens, batch)."""
    channel = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
    token = tl.program_id(1) * TOKENS + tl.arange(0, TOKENS)
    b = tl.program_id(2).to(tl.int64)
    x += b * x_b
    y += b * length * width
    # All directions in one program: they read the same tokens of x.
    for k in tl.static_range(DIRECTIONS):
        out = _convolved(
            x, taps, bias, k, token, channel, length, width, x_l, DIRECTIONS, TAPS, BACKWARDS
        )
        inside = (token < length)[:, None] & (channel < width)[None, :]
        direction = y + k * batch.to(tl.int64) * length * width
        place = direction + token[:, None] * width + channel[None, :]
        tl.store(place, silu(out).to(y.dtype.element_ty), inside)


@triton.jit
def _convolved(
    x,
    taps,
    bias,
    k: tl.constexpr,
    token,
    channel,
    length,
    width,
    x_l,
    DIRECTIONS: tl.constexpr,
    TAPS: tl.constexpr,
    BACKWARDS: tl.constexpr,
):
    """The convolution before its SiLU, of these tokens and channels in direction `k`, in fp32."""
    lane = channel < width
    out = tl.zeros((token.shape[0], channel.shape[0]), tl.float32)
    out += tl.load(bias + k * width + channel, lane, 0.0).to(tl.float32)[None, :]
    for tap in tl.static_range(TAPS):
        weight = tl.load(taps + (k * TAPS + tap) * width + channel, lane, 0.0).to(tl.float32)
        # the last tap is the token's own; a backwards direction looks at later tokens
        source = token + (TAPS - 1 - tap if (BACKWARDS >> k) & 1 else tap + 1 - TAPS)
        seen = ((source >= 0) & (source < length))[:, None] & lane[None, :]
        value = tl.load(x + source[:, None] * x_l + channel[None, :], seen, 0.0)
        out += weight[None, :] * value.to(tl.float32)
    return out


@triton.jit(do_not_specialize=("batch", "length"))
def conv_inner(
    x,
    taps,
    bias,
    dy,
    inner,
    parts,
    batch,
    length,
    width,
    x_b,
    x_l,
    DIRECTIONS: tl.constexpr,
    TAPS: tl.constexpr,
    BACKWARDS: tl.constexpr,
    TOKENS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """Gradient before the SiLU, `inner` (K, B, L, E), and an image's part of taps and bias.

    Grid (blocks of channels, batch). `parts` (B, K, W + 1, E) receives the gradients of the taps
    and, last, of the bias.
    """
    channel = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
    b = tl.program_id(1).to(tl.int64)
    x += b * x_b
    lane = channel < width
    for k in tl.static_range(DIRECTIONS):
        # Sums over tokens stay in registers, one block of tokens upon the other, and are summed
        # over the lanes of a block once, at the end. Triton cannot unpack tuples.
        sums = ()
        for _ in tl.static_range(TAPS + 1):
            sums = sums + (tl.zeros((TOKENS, CHANNELS), tl.float32),)  # noqa: RUF005
        for first in range(0, length, TOKENS):
            token = first + tl.arange(0, TOKENS)
            inside = (token < length)[:, None] & lane[None, :]
            out = _convolved(
                x, taps, bias, k, token, channel, length, width, x_l, DIRECTIONS, TAPS, BACKWARDS
            )
            place = (k * batch + b) * length * width + token[:, None] * width + channel[None, :]
            open = sigmoid(out)
            d_out = tl.load(dy + place, inside, 0.0).to(tl.float32)
            gradient = d_out * open * (1.0 + out * (1.0 - open))
            tl.store(inner + place, gradient.to(inner.dtype.element_ty), inside)
            grown = ()
            for tap in tl.static_range(TAPS):
                source = token + (TAPS - 1 - tap if (BACKWARDS >> k) & 1 else tap + 1 - TAPS)
                seen = ((source >= 0) & (source < length))[:, None] & lane[None, :]
                value = tl.load(x + source[:, None] * x_l + channel[None, :], seen, 0.0)
                grown = grown + (sums[tap] + gradient * value.to(tl.float32),)  # noqa: RUF005
            sums = grown + (sums[TAPS] + gradient,)  # noqa: RUF005
        for tap in tl.static_range(TAPS + 1):
            own = ((b * DIRECTIONS + k) * (TAPS + 1) + tap) * width + channel
            tl.store(parts + own, tl.sum(sums[tap], axis=0), lane)


@triton.jit(do_not_specialize=("batch", "length"))
def conv_outer(
    inner,
    taps,
    dx,
    batch,
    length,
    width,
    DIRECTIONS: tl.constexpr,
    TAPS: tl.constexpr,
    BACKWARDS: tl.constexpr,
    TOKENS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """Gradient of x (B, L, E): gathered from every token that saw one, in every direction."""
    channel = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
    token = tl.program_id(1) * TOKENS + tl.arange(0, TOKENS)
    b = tl.program_id(2).to(tl.int64)
    lane = channel < width
    out = tl.zeros((TOKENS, CHANNELS), tl.float32)
    for k in tl.static_range(DIRECTIONS):
        for tap in tl.static_range(TAPS):
            weight = tl.load(taps + (k * TAPS + tap) * width + channel, lane, 0.0).to(tl.float32)
            # the token that saw this one through the tap
            target = token - (TAPS - 1 - tap if (BACKWARDS >> k) & 1 else tap + 1 - TAPS)
            seen = ((target >= 0) & (target < length))[:, None] & lane[None, :]
            place = (k * batch + b) * length * width + target[:, None] * width + channel[None, :]
            out += weight[None, :] * tl.load(inner + place, seen, 0.0).to(tl.float32)
    inside = (token < length)[:, None] & lane[None, :]
    place = dx + b * length * width + token[:, None] * width + channel[None, :]
    tl.store(place, out.to(dx.dtype.element_ty), inside)

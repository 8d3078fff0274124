"""The states of a scan at regular intervals: the first half of its gradient in Triton.

The forward pass keeps no states. `scan_states` writes the state before every `CHUNK` tokens, from
which `scan_backward` computes the states between again.
"""

# mypy: ignore-errors
from __future__ import annotations

import triton
import triton.language as tl

from backbones.scan.triton_numerics import LOG2E, softplus

VARYING = ("batch", "length", "backwards")  # other values must not compile the program again


@triton.jit(do_not_specialize=VARYING)
def scan_states(
    u,
    delta,
    A,
    B,
    bias,
    carry,
    saved,
    batch,
    length,
    width,
    states,
    backwards,
    u_k,
    u_b,
    u_l,
    delta_k,
    delta_b,
    delta_l,
    B_k,
    B_b,
    B_l,
    carry_k,
    carry_b,
    carry_l,
    DIRECTIONS: tl.constexpr,
    N: tl.constexpr,
    BLOCK: tl.constexpr,
    CHUNK: tl.constexpr,
):
    """Write `saved` (K, B, chunks, E, N), the state before each chunk.

    Grid (directions x blocks of channels, batch).
    """
    k = tl.program_id(0) % DIRECTIONS
    block = tl.program_id(0) // DIRECTIONS
    b = tl.program_id(1)
    channel = block * BLOCK + tl.arange(0, BLOCK)
    state = tl.arange(0, N)
    lane = channel < width
    low = state < states
    fits = low[:, None] & lane[None, :]
    a = tl.load(A + (k * width + channel[None, :]) * states + state[:, None], fits, 0.0) * LOG2E
    shift = tl.zeros((BLOCK,), tl.float32)
    if bias is not None:
        shift = tl.load(bias + k * width + channel, lane, 0.0)

    # 64 bits: a large batch has more numbers than 32 bits can count
    far = k.to(tl.int64)
    wide = b.to(tl.int64)
    u += far * u_k + wide * u_b + channel
    delta += far * delta_k + wide * delta_b + channel
    B += far * B_k + wide * B_b + state
    if carry is not None:
        carry += far * carry_k + wide * carry_b + channel
    chunks = tl.cdiv(length, CHUNK)
    row = far * batch + wide
    saved += row * chunks * width * states + channel[None, :] * states + state[:, None]
    reverse = (backwards >> k) & 1
    token = reverse * (length - 1)
    stride = 1 - 2 * reverse

    # The next token is loaded before the present one is worked on, which hides the latency.
    u_next = tl.load(u + token * u_l, lane, 0.0)
    delta_next = tl.load(delta + token * delta_l, lane, 0.0)
    B_next = tl.load(B + token * B_l, low, 0.0)
    carry_next = tl.load(carry + token * carry_l, lane, 0.0) if carry is not None else u_next
    h = tl.zeros((N, BLOCK), tl.float32)
    for chunk in range(chunks - 1):
        tl.store(saved + chunk * (width * states), h, fits)
        for _ in tl.static_range(CHUNK):
            x = u_next.to(tl.float32)
            raw = delta_next.to(tl.float32)
            B_now = B_next
            carry_now = carry_next
            token += stride  # there is always one more: the last chunk is left out
            u_next = tl.load(u + token * u_l, lane, 0.0)
            delta_next = tl.load(delta + token * delta_l, lane, 0.0)
            B_next = tl.load(B + token * B_l, low, 0.0)
            if carry is not None:
                carry_next = tl.load(carry + token * carry_l, lane, 0.0)
            dt = softplus(raw + shift)
            decay = dt
            if carry is not None:
                decay += carry_now.to(tl.float32)
            h = tl.exp2(decay[None, :] * a) * h + (dt * x)[None, :] * B_now.to(tl.float32)[:, None]
    tl.store(saved + (chunks - 1) * (width * states), h, fits)

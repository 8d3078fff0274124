"""The selective scan as a Triton program.

A program takes one block of channels of one image in one direction. It is one warp. Each of its
threads keeps the N states of a few channels in registers, in fp32 for any dtype of the tensors, so
that neither the recurrence nor the sum over states leaves a thread. A reversed direction counts its
tokens down.

The program that finishes last among those of one block of channels adds up the outputs of all
directions, in their order.

The gradient begins with the same walk: without outputs, but with the state before every `CHUNK`
tokens written down, from which `triton_backward` computes the states between again.
"""

# mypy: ignore-errors
from __future__ import annotations

import triton
import triton.language as tl

from backbones.scan.triton_numerics import LOG2E, silu, softplus

# other values must not compile the program again
VARYING = ("batch", "length", "backwards", "scale")


@triton.jit(do_not_specialize=VARYING)
def scan_forward(
    u,
    delta,
    A,
    B,
    C,
    D,
    z,
    bias,
    carry,
    parts,
    y,
    mean,
    step,
    ungated,
    arrivals,
    saved,
    batch,
    length,
    width,
    states,
    backwards,
    scale,
    u_k,
    u_b,
    u_l,
    delta_k,
    delta_b,
    delta_l,
    B_k,
    B_b,
    B_l,
    C_k,
    C_b,
    C_l,
    carry_k,
    carry_b,
    carry_l,
    z_b,
    z_l,
    DIRECTIONS: tl.constexpr,
    N: tl.constexpr,
    BLOCK: tl.constexpr,
    EVEN: tl.constexpr,
    ROWS: tl.constexpr,
    CHUNK: tl.constexpr,
):
    """Scan one block of channels; grid (directions x blocks of channels, batch).

    Strides count elements, and the last axis has stride 1. `parts` (K, B, L, E) receives each
    direction's output; `y` (B, L, E) their sum times `scale`, with `arrivals` (B, blocks) zeros;
    `mean` (blocks, K, B, L) sums of the timescale over a block of channels; `step` (K, B, L, E) the
    timescale; `ungated` (K, B, L, E) the output before the gate; `saved` (K, B, chunks, E, N) the
    state before each chunk. Any of D, z, bias, carry, parts, y, mean, step, ungated and saved may
    be None; without parts there is neither y nor ungated. `EVEN`: no lane and no state is padding.
    """
    k = tl.program_id(0) % DIRECTIONS
    block = tl.program_id(0) // DIRECTIONS
    b = tl.program_id(1)
    channel = block * BLOCK + tl.arange(0, BLOCK)
    state = tl.arange(0, N)
    lane = channel < width
    low = state < states
    # Without padding, loads without masks need fewer instructions.
    if EVEN:
        lane = None
        low = None
    fits = None if EVEN else low[:, None] & lane[None, :]
    other = None if EVEN else 0.0
    a = tl.load(A + (k * width + channel[None, :]) * states + state[:, None], fits, other) * LOG2E
    skip = tl.load(D + k * width + channel, lane, other) if D is not None else None
    shift = tl.load(bias + k * width + channel, lane, other) if bias is not None else None

    # 64 bits: a large batch has more numbers than 32 bits can count
    wide = b.to(tl.int64)
    row = k * batch + wide
    u += k.to(tl.int64) * u_k + wide * u_b + channel
    delta += k.to(tl.int64) * delta_k + wide * delta_b + channel
    B += k.to(tl.int64) * B_k + wide * B_b + state
    if parts is not None:
        C += k.to(tl.int64) * C_k + wide * C_b + state
        part = parts + row * length * width + channel
    if z is not None:
        z += wide * z_b + channel
    if carry is not None:
        carry += k.to(tl.int64) * carry_k + wide * carry_b + channel
    if step is not None:
        step += row * length * width + channel
    if ungated is not None:
        ungated += row * length * width + channel
    if saved is not None:
        saved += row * tl.cdiv(length, CHUNK) * width * states
        saved += channel[None, :] * states + state[:, None]
    if mean is not None:
        mean += (block * DIRECTIONS + k).to(tl.int64) * batch * length + wide * length

    reverse = (backwards >> k) & 1
    token = reverse * (length - 1)
    stride = 1 - 2 * reverse
    # The next token is loaded before the present one is worked on, which hides the latency.
    u_next = tl.load(u + token * u_l, lane, other)
    delta_next = tl.load(delta + token * delta_l, lane, other)
    B_next = tl.load(B + token * B_l, low, other)
    C_next = tl.load(C + token * C_l, low, other) if parts is not None else B_next
    z_next = tl.load(z + token * z_l, lane, other) if z is not None else u_next
    carry_next = tl.load(carry + token * carry_l, lane, other) if carry is not None else u_next
    h = tl.zeros((N, BLOCK), tl.float32)
    for index in range(length):
        # nested, since only the first condition is known to the compiler
        if saved is not None:  # noqa: SIM102
            if index % CHUNK == 0:
                tl.store(saved + index // CHUNK * (width * states), h, fits)
        raw = delta_next.to(tl.float32)
        x = u_next.to(tl.float32)
        B_now = B_next.to(tl.float32)
        C_now = C_next.to(tl.float32)
        z_now = z_next
        carry_now = carry_next
        # after the last token, the same one again
        ahead = tl.where(index + 1 < length, token + stride, token)
        u_next = tl.load(u + ahead * u_l, lane, other)
        delta_next = tl.load(delta + ahead * delta_l, lane, other)
        B_next = tl.load(B + ahead * B_l, low, other)
        if parts is not None:
            C_next = tl.load(C + ahead * C_l, low, other)
        if z is not None:
            z_next = tl.load(z + ahead * z_l, lane, other)
        if carry is not None:
            carry_next = tl.load(carry + ahead * carry_l, lane, other)

        if bias is not None:
            raw += shift
        dt = softplus(raw)
        if step is not None:
            tl.store(step + token * width, dt, lane)
        if mean is not None:
            tl.store(mean + token, tl.sum(dt if EVEN else tl.where(lane, dt, 0.0)))
        decay = dt
        if carry is not None:
            decay = dt + carry_now.to(tl.float32)
        h = tl.exp2(decay[None, :] * a) * h + (dt * x)[None, :] * B_now[:, None]
        if parts is not None:
            out = tl.sum(h * C_now[:, None], axis=0)
            if D is not None:
                out += skip * x
            if ungated is not None:
                tl.store(ungated + token * width, out.to(ungated.dtype.element_ty), lane)
            if z is not None:
                out *= silu(z_now.to(tl.float32))
            tl.store(part + token * width, out.to(parts.dtype.element_ty), lane)
        token = ahead

    if y is not None:
        # All threads' outputs have to be written before this program counts as arrived.
        tl.debug_barrier()
        place = arrivals + b * (tl.num_programs(0) // DIRECTIONS) + block
        if tl.atomic_add(place, 1, sem="acq_rel") == DIRECTIONS - 1:
            _add_directions(
                parts, y, wide, batch, length, width, channel, scale, DIRECTIONS, EVEN, ROWS
            )


@triton.jit
def _add_directions(
    parts,
    y,
    b,
    batch,
    length,
    width,
    channel,
    scale,
    DIRECTIONS: tl.constexpr,
    EVEN: tl.constexpr,
    ROWS: tl.constexpr,
):
    """Write y (B, L, E) of image `b` and these channels: the sum of `parts`, times `scale`."""
    for first in range(0, length, ROWS):
        token = first + tl.arange(0, ROWS)
        inside = (token < length)[:, None]
        inside = inside if EVEN else inside & (channel < width)[None, :]
        offset = token[:, None] * width + channel[None, :]
        # ".cg" reads past the first-level cache, which may have stale lines of other programs
        total = tl.load(parts + b * length * width + offset, inside, 0.0, cache_modifier=".cg")
        for k in tl.static_range(1, DIRECTIONS):
            base = parts + (k * batch + b) * length * width
            other = tl.load(base + offset, inside, 0.0, cache_modifier=".cg")
            # rounded after each addition, so that the bits are those of y[0] + y[1]
            total = (total.to(tl.float32) + other.to(tl.float32)).to(parts.dtype.element_ty)
        result = (total.to(tl.float32) * scale).to(y.dtype.element_ty)
        tl.store(y + b * length * width + offset, result, inside)

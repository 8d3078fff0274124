"""The forward pass of the selective scan on a CPU, vectorised over channels.

A task is one image and one chunk of channels, all directions. Its states stay in the first-level
cache; a direction that runs backwards walks the tokens by index. Softplus, skip connection, gate,
sum over directions and, with a `rank`, the timescale's projection are part of the same pass.
"""

from __future__ import annotations

from typing import Any

from backbones.compiled.jit import device, inlined
from backbones.compiled.native import each_task, frame_type, kernel_of, prefetch, row
from backbones.compiled.numerics import ONE, ZERO, exp2, fma, silu, total, workspace
from backbones.scan.cpu_token import SCAN_SIZES, timescale, token_of

WIDEST_CHUNK = 128
LINE, AHEAD = 16, 4  # numbers of a cache line; tokens to look ahead
READ = ("u", "delta", "weight", "A", "B", "C", "D", "z", "bias", "carry")
ADDRESSES = (*READ, "y", "step", "ungated", "mean")
FRAME = frame_type(ADDRESSES, (*SCAN_SIZES, "y_k", "ungated_k"), scalars=("scale",))


@device
def advance(
    h: Any,
    a: Any,
    decay: Any,
    drive: Any,
    out: Any,
    B: Any,
    C: Any,
    states: int,
    chunk: int,
) -> None:
    """Advance all states by one token: h = 2^(decay a) h + drive B_n; out += C_n h."""
    # Channels are the inner loop: they are independent, so LLVM vectorises it.
    for n in range(states):
        into = B[n]
        onto = C[n]
        state_row = h[n * chunk : (n + 1) * chunk]
        a_row = a[n * chunk : (n + 1) * chunk]
        for c in range(chunk):
            state = fma(exp2(decay[c] * a_row[c]), state_row[c], drive[c] * into)
            state_row[c] = state
            out[c] = fma(state, onto, out[c])


@device
def emit(frame: Any, k: int, image: int, token: int, first: int, count: int, out: Any) -> None:
    """Gate one token's output; store it, or add it to the earlier directions' and scale the sum."""
    y = row(frame.y, k * frame.y_k + (image * frame.length + token) * frame.width + first)
    z = row(frame.z, image * frame.z_b + token * frame.z_l + first)
    # A stride of 0 over directions: they are summed into one output.
    summed = frame.y_k == 0
    last = k == frame.directions - 1
    scale = frame.scale if summed and last else ONE
    # A loop for each case, since a condition inside would keep LLVM from vectorising it.
    if summed and k > 0:
        if frame.z != 0:
            for c in range(count):
                y[c] = (out[c] * silu(z[c]) + y[c]) * scale
        else:
            for c in range(count):
                y[c] = (out[c] + y[c]) * scale
    elif frame.z != 0:
        for c in range(count):
            y[c] = out[c] * silu(z[c]) * scale
    else:
        for c in range(count):
            y[c] = out[c] * scale


@device
def keep(frame: Any, k: int, image: int, token: int, first: int, count: int, out: Any) -> None:
    """Store one token's output before the gate, summed and scaled as `emit` does."""
    place = k * frame.ungated_k + (image * frame.length + token) * frame.width + first
    ungated = row(frame.ungated, place)
    summed = frame.ungated_k == 0
    scale = frame.scale if summed and k == frame.directions - 1 else ONE
    if summed and k > 0:
        for c in range(count):
            ungated[c] = (out[c] + ungated[c]) * scale
    else:
        for c in range(count):
            ungated[c] = out[c] * scale


@device
def look_ahead(frame: Any, k: int, image: int, token: int, first: int, count: int) -> None:
    """Prefetch the rows of a token that comes soon."""
    # A chunk's rows are a whole width apart, which the hardware's prefetcher does not foresee.
    if token < 0 or token >= frame.length:
        return
    u = row(frame.u, k * frame.u_k + image * frame.u_b + token * frame.u_l + first)
    for c in range(0, count, LINE):
        prefetch(u, c)
    if frame.rank == 0:
        place = k * frame.delta_k + image * frame.delta_b + token * frame.delta_l
        delta = row(frame.delta, place + first)
        for c in range(0, count, LINE):
            prefetch(delta, c)
    if frame.z != 0:
        z = row(frame.z, image * frame.z_b + token * frame.z_l + first)
        for c in range(0, count, LINE):
            prefetch(z, c)


@device
def scan_chunk(
    frame: Any,
    k: int,
    image: int,
    first: int,
    count: int,
    chunk: int,
    space: Any,
) -> None:
    """Scan all tokens of one direction, image and chunk of channels."""
    states = frame.states
    length = frame.length
    h = space[: states * chunk]
    a = space[states * chunk : 2 * states * chunk]
    rows = space[2 * states * chunk :]
    step = rows[:chunk]
    decay = rows[chunk : 2 * chunk]
    drive = rows[2 * chunk : 3 * chunk]
    out = rows[3 * chunk :]
    h[:] = ZERO
    # A copy of A's rows side by side; channels beyond `count` keep zeros.
    for n in range(states):
        matrix = row(frame.A, (k * states + n) * frame.width + first)
        for c in range(count):
            a[n * chunk + c] = matrix[c]
    skip = row(frame.D, k * frame.width + first)
    part = first // chunk
    for t in range(length):
        # by index instead of a flipped copy
        token = token_of(frame, k, t)
        look_ahead(frame, k, image, token_of(frame, k, t + AHEAD), first, count)
        timescale(frame, k, image, token, first, count, step)
        u = row(frame.u, k * frame.u_k + image * frame.u_b + token * frame.u_l + first)
        for c in range(count):
            drive[c] = step[c] * u[c]
            out[c] = skip[c] * u[c]
        B = row(frame.B, k * frame.B_k + image * frame.B_b + token * frame.B_l)
        C = row(frame.C, k * frame.C_k + image * frame.C_b + token * frame.C_l)
        # Handed-over decay acts on the state but does not scale the input.
        if frame.carry == 0:
            advance(h, a, step, drive, out, B, C, states, chunk)
        else:
            away = k * frame.carry_k + image * frame.carry_b + token * frame.carry_l
            carry = row(frame.carry, away + first)
            for c in range(count):
                decay[c] = step[c] + carry[c]
            advance(h, a, decay, drive, out, B, C, states, chunk)
        place = (k * frame.batch + image) * length + token
        # Each chunk has a mean of its own; they are added outside, in a fixed order.
        means = row(frame.mean, part * frame.directions * frame.batch * length + place)
        means[0] = total(step, chunk)
        # written only for a trace
        if frame.step != 0:
            kept = row(frame.step, place * frame.width + first)
            for c in range(count):
                kept[c] = step[c]
        if frame.ungated != 0:
            keep(frame, k, image, token, first, count, out)
        emit(frame, k, image, token, first, count, out)


@inlined
def scan_task(frame: Any, index: int) -> None:
    """Scan one image and one chunk of channels, direction after direction."""
    chunks = (frame.width + frame.chunk - 1) // frame.chunk
    image = index // chunks
    first = index % chunks * frame.chunk
    count = min(frame.chunk, frame.width - first)
    # states, A, and four rows, for all directions in turn
    space = workspace((2 * frame.states + 4) * frame.chunk)
    for k in range(frame.directions):
        # The usual case is compiled with constant trip counts.
        if count == WIDEST_CHUNK:
            scan_chunk(frame, k, image, first, WIDEST_CHUNK, WIDEST_CHUNK, space)
        else:
            scan_chunk(frame, k, image, first, count, frame.chunk, space)


def _entry(pointer: Any) -> None:
    each_task(pointer, scan_task)


forward_kernel = kernel_of(_entry, FRAME)

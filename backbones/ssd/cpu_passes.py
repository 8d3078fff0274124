"""What lies between the matrix products of a scan with heads on a CPU, in one compiled kernel.

Every pass works on chunks of T tokens, chunk after chunk and each of all images: what is said of
chunk c of image b stands at index c * batch + b. Tokens beyond the last are zeros.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from backbones.compiled.jit import device
from backbones.compiled.native import each_task, frame_type, kernel_of, row
from backbones.compiled.numerics import ONE, ZERO, exp, softplus, total, workspace

PACK, MASK, PASS_ON, FINISH, TIME = range(5)
TOKENWISE = ("u", "delta", "B", "C", "carry")
FRAME = frame_type(
    (
        *TOKENWISE,
        *("A", "D", "delta_bias"),
        *("packed_B", "packed_C", "step", "elapsed", "values", "scaled"),
        *("products", "mask", "within", "entering", "across", "y"),
    ),
    (
        *("stage", "batch", "length", "width", "heads", "states", "tokens", "chunks"),
        *(f"{name}_{axis}" for name in TOKENWISE for axis in "bl"),
    ),
)


@device
def copied(source: Any, target: Any, count: int) -> None:
    """Copy a row."""
    for c in range(count):
        target[c] = source[c]


@device
def timescales(frame: Any, index: int, image: int, first: int, count: int) -> None:
    """Step and elapsed decay (H, T) of one chunk, of which `count` tokens exist."""
    heads, tokens = frame.heads, frame.tokens
    A, bias = row(frame.A, 0), row(frame.delta_bias, 0)
    space = workspace(2 * heads)
    running, now = space[:heads], space[heads:]
    step = row(frame.step, index * heads * tokens)
    elapsed = row(frame.elapsed, index * heads * tokens)
    for t in range(tokens):
        if t < count:
            raw = row(frame.delta, image * frame.delta_b + (first + t) * frame.delta_l)
            for h in range(heads):
                now[h] = softplus(raw[h] + bias[h])
            for h in range(heads):
                running[h] += now[h] * A[h]
            if frame.carry != 0:
                carry = row(frame.carry, image * frame.carry_b + (first + t) * frame.carry_l)
                for h in range(heads):
                    running[h] += carry[h] * A[h]
        else:
            now[:] = ZERO
        for h in range(heads):
            step[h * tokens + t] = now[h]
            elapsed[h * tokens + t] = running[h]


@device
def pack(frame: Any, index: int) -> None:
    """Timescales of one chunk, its B and C, and its inputs by head and as they enter the state."""
    chunk, image = index // frame.batch, index % frame.batch
    heads, tokens, states, width = frame.heads, frame.tokens, frame.states, frame.width
    channels, first = width // heads, chunk * tokens
    count = min(tokens, frame.length - first)
    timescales(frame, index, image, first, count)
    space = workspace(tokens * heads)
    for h in range(heads):
        step = row(frame.step, (index * heads + h) * tokens)
        elapsed = row(frame.elapsed, (index * heads + h) * tokens)
        end, left = elapsed[tokens - 1], space[h * tokens : (h + 1) * tokens]
        for t in range(tokens):
            # what is left of the token's input at the end of the chunk
            left[t] = exp(end - elapsed[t]) * step[t]
    for t in range(tokens):
        place = index * tokens + t
        B, C = row(frame.packed_B, place * states), row(frame.packed_C, place * states)
        if t >= count:
            for n in range(states):
                B[n] = ZERO
                C[n] = ZERO
        else:
            token = first + t
            copied(row(frame.B, image * frame.B_b + token * frame.B_l), B, states)
            copied(row(frame.C, image * frame.C_b + token * frame.C_l), C, states)
        u = row(frame.u, image * frame.u_b + min(first + t, frame.length - 1) * frame.u_l)
        exists = ONE if t < count else ZERO
        for h in range(heads):
            values = row(frame.values, ((index * heads + h) * tokens + t) * channels)
            for p in range(channels):
                values[p] = u[h * channels + p] * exists
            if chunk < frame.chunks - 1:
                scaled = row(frame.scaled, place * width + h * channels)
                weight = space[h * tokens + t]
                for p in range(channels):
                    scaled[p] = u[h * channels + p] * weight


@device
def mask(frame: Any, index: int) -> None:
    """How much each token of a chunk takes of those before it, and D of itself: (H, T, T)."""
    heads, tokens = frame.heads, frame.tokens
    D = row(frame.D, 0)
    for h in range(heads):
        step = row(frame.step, (index * heads + h) * tokens)
        elapsed = row(frame.elapsed, (index * heads + h) * tokens)
        for t in range(tokens):
            product = row(frame.products, (index * tokens + t) * tokens)
            out = row(frame.mask, ((index * heads + h) * tokens + t) * tokens)
            now = elapsed[t]
            for s in range(t + 1):
                out[s] = product[s] * (exp(now - elapsed[s]) * step[s])
            for s in range(t + 1, tokens):
                out[s] = ZERO
            out[t] += D[h]


@device
def pass_on(frame: Any, index: int) -> None:
    """Add to the states with which a chunk begins what is left of those of the chunk before."""
    image, n = index // frame.states, index % frame.states
    heads, tokens, width = frame.heads, frame.tokens, frame.width
    channels = width // heads
    for chunk in range(1, frame.chunks - 1):
        here = chunk * frame.batch + image
        before = row(frame.entering, ((here - frame.batch) * frame.states + n) * width)
        after = row(frame.entering, (here * frame.states + n) * width)
        for h in range(heads):
            left = exp(row(frame.elapsed, (here * heads + h) * tokens)[tokens - 1])
            for c in range(h * channels, (h + 1) * channels):
                after[c] += left * before[c]


@device
def finish(frame: Any, index: int) -> None:
    """Add up what a chunk's tokens take of each other and of the chunks before."""
    chunk, image = index // frame.batch, index % frame.batch
    heads, tokens, width = frame.heads, frame.tokens, frame.width
    channels, first = width // heads, chunk * tokens
    for t in range(min(tokens, frame.length - first)):
        y = row(frame.y, (image * frame.length + first + t) * width)
        for h in range(heads):
            at = h * channels
            within = row(frame.within, ((index * heads + h) * tokens + t) * channels)
            if chunk == 0:
                for p in range(channels):
                    y[at + p] = within[p]
            else:
                left = exp(row(frame.elapsed, (index * heads + h) * tokens)[t])
                across = row(frame.across, ((index - frame.batch) * tokens + t) * width + at)
                for p in range(channels):
                    y[at + p] = within[p] + left * across[p]


@device
def timescale_means(frame: Any, image: int) -> None:
    """Steps of one image as rows (L, H) of ``step``, and their means (L,) in ``elapsed``."""
    heads, bias = frame.heads, row(frame.delta_bias, 0)
    now = workspace(heads)
    for token in range(frame.length):
        raw = row(frame.delta, image * frame.delta_b + token * frame.delta_l)
        place = image * frame.length + token
        for h in range(heads):
            now[h] = softplus(raw[h] + bias[h])
        copied(now, row(frame.step, place * heads), heads)
        row(frame.elapsed, place)[0] = total(now, heads) / np.float32(heads)


@device
def chunk_task(frame: Any, index: int) -> None:
    """One chunk of one image; or one state of one image, or one image."""
    if frame.stage == PACK:
        pack(frame, index)
    elif frame.stage == MASK:
        mask(frame, index)
    elif frame.stage == PASS_ON:
        pass_on(frame, index)
    elif frame.stage == FINISH:
        finish(frame, index)
    else:
        timescale_means(frame, index)


def _entry(pointer: Any) -> None:
    each_task(pointer, chunk_task)


chunk_kernel = kernel_of(_entry, FRAME)

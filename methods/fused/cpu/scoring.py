"""Scores that read whole rows, for one image: `methods.parts.score` in one pass over them."""

from __future__ import annotations

from typing import Any

import numpy as np

from backbones.compiled.jit import device, reassociating
from backbones.compiled.native import row, wide_row
from backbones.compiled.numerics import ZERO, exp, exp2, fma, workspace
from methods.fused.cpu.similarity import TINY, dot, length

NONE, GIVEN, ACTIVATION, NORM, CLASS, HIDDEN = range(6)


@reassociating
def clipped(values: Any, count: int) -> Any:
    """Sum of max(0, value)."""
    total = ZERO
    for index in range(count):
        total += max(values[index], ZERO)
    return total


@device
def summed_token(frame: Any, image: int, place: int, out: Any) -> None:
    """Branch + residual."""
    start = (image * frame.length + place) * frame.width
    branch, residual = row(frame.branch, start), row(frame.residual, start)
    for c in range(frame.width):
        out[c] = residual[c] + branch[c]


@device
def class_similarity(frame: Any, image: int, special: Any, patch: Any, out: Any) -> None:
    """Cosine of branch + residual with the class token, mean over several special tokens."""
    width = frame.width
    heads, this = workspace(frame.specials * width), workspace(width)
    for s in range(frame.specials):
        head = heads[s * width : (s + 1) * width]
        summed_token(frame, image, special[s], head)
        size = length(head, width)
        for c in range(width):
            # Divided once here, so that a patch token costs one inner product and one division.
            head[c] /= size
    for j in range(frame.patches):
        summed_token(frame, image, patch[j], this)
        size, total = length(this, width), ZERO
        for s in range(frame.specials):
            total += dot(this, heads[s * width : (s + 1) * width], width) / size
        out[j] = total / np.float32(frame.specials)


@reassociating
def attended(alpha: Any, step: Any, count: int) -> Any:
    """Sum of |alpha step|."""
    total = ZERO
    for index in range(count):
        total += abs(alpha[index] * step[index])
    return total


@device
def attend(frame: Any, image: int, k: int, reader: int, space: Any, total: Any) -> None:
    """Add to `total` (L) the hidden attention of token `reader` to those scan `k` carries to it."""
    inner, states = frame.inner, frame.states
    elapsed, alpha = space[:inner], space[inner : 2 * inner]
    elapsed[:] = ZERO
    C = row(frame.C, k * frame.C_k + image * frame.C_b + reader * frame.C_l)
    steps = row(frame.delta, k * frame.delta_k + image * frame.delta_b + reader * frame.delta_l)
    # Away from the reader, so that the time between is a running sum.
    away = 1 if k else -1
    token = reader + away
    while 0 <= token < frame.length:
        for c in range(inner):
            elapsed[c] += steps[c]
        steps = row(frame.delta, k * frame.delta_k + image * frame.delta_b + token * frame.delta_l)
        B = row(frame.B, k * frame.B_k + image * frame.B_b + token * frame.B_l)
        alpha[:] = ZERO
        for n in range(states):
            weight = C[n] * B[n]
            rates = row(frame.A, (k * states + n) * inner)
            for c in range(inner):
                alpha[c] = fma(exp2(elapsed[c] * rates[c]), weight, alpha[c])
        total[token] += attended(alpha, steps, inner) / np.float32(inner)
        token += away


@device
def hidden_attention(frame: Any, image: int, special: Any, patch: Any, out: Any) -> None:
    """Hidden attention of the class token, mean over several special tokens."""
    space, total = workspace(2 * frame.inner), np.zeros(frame.length, np.float32)
    for s in range(frame.specials):
        for k in range(2):
            if frame.scans >> k & 1:
                attend(frame, image, k, special[s], space, total)
    for j in range(frame.patches):
        out[j] = total[patch[j]] / np.float32(frame.specials)


@device
def score(frame: Any, image: int, special: Any, patch: Any, out: Any) -> None:
    """The score (n, float64) of one image's patch tokens."""
    # The test is outside the loops: one mode serves the whole launch.
    if frame.scoring == GIVEN:
        given = wide_row(frame.score, image * frame.patches)
        for j in range(frame.patches):
            out[j] = given[j]
    elif frame.scoring == ACTIVATION:
        for j in range(frame.patches):
            y = row(frame.y, image * frame.y_b + patch[j] * frame.y_l)
            out[j] = clipped(y, frame.y_width) / np.float32(frame.y_width)
    elif frame.scoring == NORM:
        this = workspace(frame.width)
        for j in range(frame.patches):
            summed_token(frame, image, patch[j], this)
            out[j] = length(this, frame.width)
    elif frame.scoring == CLASS:
        class_similarity(frame, image, special, patch, out)
    elif frame.scoring == HIDDEN:
        hidden_attention(frame, image, special, patch, out)


@reassociating
def magnitude(values: Any, count: int) -> Any:
    """Sum of |value|."""
    total = ZERO
    for index in range(count):
        total += abs(values[index])
    return total


@device
def gates(frame: Any, image: int, patch: Any, weight: Any) -> None:
    """Mean Delta times mean |B|, summed over the directions."""
    for j in range(frame.patches):
        total = ZERO
        for k in range(frame.directions):
            step = row(
                frame.step, k * frame.step_k + image * frame.step_b + patch[j] * frame.step_l
            )
            B = row(frame.B, k * frame.B_k + image * frame.B_b + patch[j] * frame.B_l)
            total += step[0] * (magnitude(B, frame.states) / np.float32(frame.states))
        weight[j] = total


@device
def attention(score: Any, count: int, signed: bool, weight: Any) -> None:
    """Turn the score into weights that sum to one: softmax if `signed`, else divided by the sum."""
    top, total = np.float32(-np.inf), ZERO
    for j in range(count):
        # The largest is taken off before exp, which then cannot overflow.
        top = max(top, np.float32(score[j]))
    for j in range(count):
        weight[j] = exp(np.float32(score[j]) - top) if signed else np.float32(score[j])
        total += weight[j]
    total = max(total, TINY)
    for j in range(count):
        weight[j] = weight[j] / total

"""The gradient of the selective scan on a CPU.

A task is one image and one chunk of channels. Each direction is walked twice: first forwards,
keeping every state of the chunk (it fits the second-level cache), then from its last token to its
first with the adjoint state

    v_t = C_t dy_t + exp(decay_{t+1} A) v_{t+1}

Decays are computed again rather than kept. Sums over channels or images (dB, dC, dA, dD, dbias) are
written per task and added up afterwards in a fixed order.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from backbones.compiled.jit import device, inlined
from backbones.compiled.native import each_task, frame_type, kernel_of, row
from backbones.compiled.numerics import LOG2E, ONE, ZERO, exp, exp2, fma, sigmoid, total, workspace
from backbones.scan.cpu_token import SCAN_SIZES, load, token_of

WIDEST_CHUNK = 32  # states of 200 tokens x 16 states x 32 channels are 400 KB
HALF, THIRD, QUARTER = np.float32(1 / 2), np.float32(1 / 3), np.float32(1 / 4)
READ = ("u", "delta", "weight", "A", "B", "C", "D", "z", "bias", "carry", "dy", "dmean")
WRITTEN = ("du", "ddelta", "dA", "dB", "dC", "dD", "dz", "dbias", "dcarry")
FRAME = frame_type((*READ, *WRITTEN), (*SCAN_SIZES, "dy_k"))


@device
def keep_states(
    frame: Any,
    k: int,
    image: int,
    first: int,
    count: int,
    a: Any,
    kept: Any,
    rows: Any,
) -> None:
    """Run the direction and keep the state after each step, (L + 1, N, chunk), the first zero."""
    states = frame.states
    chunk = frame.chunk
    step = rows[:chunk]
    decay = rows[chunk : 2 * chunk]
    u = rows[2 * chunk : 3 * chunk]
    for t in range(frame.length):
        token = token_of(frame, k, t)
        load(frame, k, image, token, first, count, step, decay, u)
        B = row(frame.B, k * frame.B_k + image * frame.B_b + token * frame.B_l)
        for n in range(states):
            into = B[n]
            before = kept[t * states * chunk + n * chunk :]
            after = kept[(t + 1) * states * chunk + n * chunk :]
            a_row = a[n * chunk :]
            # all lanes of the chunk: those beyond `count` are zero
            for c in range(chunk):
                after[c] = fma(exp2(decay[c] * a_row[c] * LOG2E), before[c], step[c] * u[c] * into)


@device
def softplus_slope(step: Any) -> Any:
    """Derivative of softplus from its value: 1 - e^-step."""
    # by its series where the difference would cancel
    series = step * (ONE - step * HALF * (ONE - step * THIRD * (ONE - step * QUARTER)))
    return series if step < np.float32(0.05) else ONE - exp(-step)


@device
def output_back(
    frame: Any,
    k: int,
    image: int,
    token: int,
    first: int,
    count: int,
    after: Any,
    D: Any,
    rows: Any,
) -> None:
    """Gradient g of the scan's output from that of the gated output; add the gate's own to dz."""
    chunk = frame.chunk
    g = rows[2]
    u = rows[8]
    scanned = rows[9]
    C = row(frame.C, k * frame.C_k + image * frame.C_b + token * frame.C_l)
    # the output before the gate, from the kept state
    for c in range(chunk):
        scanned[c] = D[c] * u[c]
    for n in range(frame.states):
        onto = C[n]
        state = after[n * chunk :]
        for c in range(chunk):
            scanned[c] = fma(onto, state[c], scanned[c])
    place = image * frame.length + token
    dy = row(frame.dy, k * frame.dy_k + place * frame.width + first)
    for c in range(count):
        g[c] = dy[c]
    if frame.z != 0:
        z = row(frame.z, image * frame.z_b + token * frame.z_l + first)
        dz = row(frame.dz, place * frame.width + first)
        for c in range(count):
            gate = sigmoid(z[c])
            # derivative of SiLU
            slope = gate * (ONE + z[c] * (ONE - gate))
            dz[c] += g[c] * scanned[c] * slope
            g[c] *= z[c] * gate


@device
def token_back(
    frame: Any,
    k: int,
    image: int,
    token: int,
    first: int,
    count: int,
    a: Any,
    before: Any,
    after: Any,
    v: Any,
    dA: Any,
    D: Any,
    rows: Any,
    sums: Any,
) -> None:
    """Take one token back: the adjoint state, dB, dC, du, ddelta and dcarry.

    Adds to dA, and to the gradients of D and bias in `sums`.
    """
    states = frame.states
    chunk = frame.chunk
    decay = rows[0]
    drive = rows[1]
    g = rows[2]
    ddrive = rows[3]
    ddecay = rows[4]
    into_sum = rows[5]
    onto_sum = rows[6]
    step = rows[7]
    u = rows[8]
    # the sums over states begin at zero for every token
    for c in range(chunk):
        drive[c] = step[c] * u[c]
        ddrive[c] = ZERO
        ddecay[c] = ZERO
    B = row(frame.B, k * frame.B_k + image * frame.B_b + token * frame.B_l)
    C = row(frame.C, k * frame.C_k + image * frame.C_b + token * frame.C_l)
    # every chunk has a part of dB and dC of its own
    part = first // chunk * frame.directions + k
    place = ((part * frame.batch + image) * frame.length + token) * states
    dB = row(frame.dB, place)
    dC = row(frame.dC, place)
    for n in range(states):
        into = B[n]
        onto = C[n]
        a_row = a[n * chunk :]
        old = before[n * chunk :]
        new = after[n * chunk :]
        v_row = v[n * chunk :]
        dA_row = dA[n * chunk :]
        for c in range(chunk):
            adjoint = fma(g[c], onto, v_row[c])
            factor = exp2(decay[c] * a_row[c] * LOG2E)
            # what reaches the decay through the previous state
            through = adjoint * factor * old[c]
            into_sum[c] = adjoint * drive[c]
            onto_sum[c] = g[c] * new[c]
            ddrive[c] = fma(adjoint, into, ddrive[c])
            ddecay[c] = fma(through, a_row[c], ddecay[c])
            dA_row[c] = fma(through, decay[c], dA_row[c])
            v_row[c] = adjoint * factor
        # Summed apart from the loop above, which would not be vectorised with a reduction in it.
        dB[n] = total(into_sum, chunk)
        dC[n] = total(onto_sum, chunk)
    place = (k * frame.batch + image) * frame.length + token
    du = row(frame.du, place * frame.width + first)
    ddelta = row(frame.ddelta, place * frame.width + first)
    # the mean over channels passes an equal part of its gradient to each
    shared = row(frame.dmean, place)[0] / np.float32(frame.width)
    for c in range(count):
        du[c] = fma(ddrive[c], step[c], g[c] * D[c])
        raw_slope = softplus_slope(step[c])
        raw = (fma(ddrive[c], u[c], ddecay[c]) + shared) * raw_slope
        ddelta[c] = raw
        sums[0, c] += g[c] * u[c]
        sums[1, c] += raw
    if frame.dcarry != 0:
        dcarry = row(frame.dcarry, place * frame.width + first)
        for c in range(count):
            dcarry[c] = ddecay[c]


@device
def direction_back(
    frame: Any,
    k: int,
    image: int,
    first: int,
    count: int,
    a: Any,
    kept: Any,
    space: Any,
) -> None:
    """Gradients of one direction, image and chunk of channels."""
    states = frame.states
    chunk = frame.chunk
    size = states * chunk
    v = space[:size]
    dA = space[size : 2 * size]
    # rows: decay, drive, g, ddrive, ddecay, two rows to sum, step, u, output
    rows = space[2 * size : 2 * size + 10 * chunk].reshape(10, chunk)
    sums = space[2 * size + 10 * chunk : 2 * size + 12 * chunk].reshape(2, chunk)
    D = space[2 * size + 12 * chunk : 2 * size + 13 * chunk]
    skip = row(frame.D, k * frame.width + first)
    for c in range(count):
        D[c] = skip[c]
    # from the last step to the first, each with the states before and after it
    for t in range(frame.length - 1, -1, -1):
        token = token_of(frame, k, t)
        before = kept[t * size : (t + 1) * size]
        after = kept[(t + 1) * size : (t + 2) * size]
        load(frame, k, image, token, first, count, rows[7], rows[0], rows[8])
        output_back(frame, k, image, token, first, count, after, D, rows)
        token_back(frame, k, image, token, first, count, a, before, after, v, dA, D, rows, sums)
    place = k * frame.batch + image
    for n in range(states):
        dA_out = row(frame.dA, (place * states + n) * frame.width + first)
        for c in range(count):
            dA_out[c] = dA[n * chunk + c]
    # written once per task: no two tasks share an image and a chunk
    dD = row(frame.dD, place * frame.width + first)
    dbias = row(frame.dbias, place * frame.width + first)
    for c in range(count):
        dD[c] = sums[0, c]
        dbias[c] = sums[1, c]


@inlined
def backward_task(frame: Any, index: int) -> None:
    """Gradients of one image and one chunk of channels, direction after direction."""
    chunks = (frame.width + frame.chunk - 1) // frame.chunk
    image = index // chunks
    first = index % chunks * frame.chunk
    count = min(frame.chunk, frame.width - first)
    size = frame.states * frame.chunk
    # one more than tokens: the state before the first is zero
    kept = workspace((frame.length + 1) * size)
    for k in range(frame.directions):
        # new for each direction, since its zeros are where the sums begin
        space = workspace(3 * size + 13 * frame.chunk)
        a = space[2 * size + 13 * frame.chunk :]
        for n in range(frame.states):
            matrix = row(frame.A, (k * frame.states + n) * frame.width + first)
            for c in range(count):
                a[n * frame.chunk + c] = matrix[c]
        # the first walk borrows rows that the second one expects to be zero
        keep_states(frame, k, image, first, count, a, kept, space[2 * size :])
        space[2 * size : 2 * size + 3 * frame.chunk] = ZERO
        direction_back(frame, k, image, first, count, a, kept, space)


def _entry(pointer: Any) -> None:
    each_task(pointer, backward_task)


# made at the first gradient: inference never waits for it
backward_kernel = kernel_of(_entry, FRAME)

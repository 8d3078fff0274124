"""Gradients of the selective scan as a Triton program.

A program takes one block of channels of one image in one direction. Chunk after chunk from the
last, the states inside are computed again into registers, from what `scan_forward` saved, and the
gradients run back through them. Sums over channels, images or directions are written in parts and
added up outside, in a fixed order, so that a gradient's bits are the same every time.
"""

# mypy: ignore-errors
from __future__ import annotations

import triton
import triton.language as tl

from backbones.scan.triton_numerics import LOG2E, sigmoid, softplus

LN2 = tl.constexpr(0.6931471805599453)
VARYING = ("batch", "length", "backwards")  # other values must not compile the program again


@triton.jit(do_not_specialize=VARYING)
def scan_backward(
    u,
    delta,
    A,
    B,
    C,
    D,
    z,
    bias,
    carry,
    dy,
    dmean,
    saved,
    du,
    ddelta,
    dA,
    dB,
    dC,
    dD,
    dz,
    dbias,
    dcarry,
    batch,
    length,
    width,
    states,
    backwards,
    dy_k,
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
    CHUNK: tl.constexpr,
):
    """Run the gradients back through the scan; grid (directions x blocks of channels, batch).

    Strides count elements, and the last axis has stride 1. `dy` is (B, L, E) or, with `dy_k`, (K,
    B, L, E); `dmean` (K, B, L); `saved` as `scan_forward` writes it. The parts
    are those of `GradientParts`, `dz` (K, B, L, E).
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
    skip = tl.zeros((BLOCK,), tl.float32)
    if D is not None:
        skip = tl.load(D + k * width + channel, lane, 0.0)
    shift = tl.zeros((BLOCK,), tl.float32)
    if bias is not None:
        shift = tl.load(bias + k * width + channel, lane, 0.0)

    # 64 bits: a large batch has more numbers than 32 bits can count
    far = k.to(tl.int64)
    wide = b.to(tl.int64)
    row = far * batch + wide
    u += far * u_k + wide * u_b + channel
    delta += far * delta_k + wide * delta_b + channel
    B += far * B_k + wide * B_b + state
    C += far * C_k + wide * C_b + state
    if z is not None:
        z += wide * z_b + channel
        dz += row * length * width + channel
    if carry is not None:
        carry += far * carry_k + wide * carry_b + channel
        dcarry += row * length * width + channel
    dy += far * dy_k + wide * length * width + channel
    dmean += row * length
    du += row * length * width + channel
    ddelta += row * length * width + channel
    part = ((block * DIRECTIONS + k).to(tl.int64) * batch + wide) * length * states + state
    dB += part
    dC += part

    chunks = tl.cdiv(length, CHUNK)
    saved += row * chunks * width * states + channel[None, :] * states + state[:, None]
    reverse = (backwards >> k) & 1
    first = reverse * (length - 1)
    stride = 1 - 2 * reverse

    dh = tl.zeros((N, BLOCK), tl.float32)
    dA_sum = tl.zeros((N, BLOCK), tl.float32)
    dD_sum = tl.zeros((BLOCK,), tl.float32)
    dbias_sum = tl.zeros((BLOCK,), tl.float32)
    for back in range(chunks):
        chunk = chunks - 1 - back
        h = tl.load(saved + chunk * (width * states), fits, 0.0)
        # All loads of the chunk are issued at once. Triton cannot unpack tuples, hence their sums.
        xs, raws, Bs, Cs = (), (), (), ()
        d_outs, gates, carried, d_means = (), (), (), ()
        for step in tl.static_range(CHUNK):
            index = chunk * CHUNK + step
            # Steps behind the last token load it again, masked out.
            token = first + stride * tl.minimum(index, length - 1)
            here = channel < tl.where(index < length, width, 0)
            there = state < tl.where(index < length, states, 0)
            xs = xs + (tl.load(u + token * u_l, here, 0.0),)  # noqa: RUF005
            raws = raws + (tl.load(delta + token * delta_l, here, 0.0),)  # noqa: RUF005
            Bs = Bs + (tl.load(B + token * B_l, there, 0.0),)  # noqa: RUF005
            Cs = Cs + (tl.load(C + token * C_l, there, 0.0),)  # noqa: RUF005
            d_outs = d_outs + (tl.load(dy + token * width, here, 0.0),)  # noqa: RUF005
            d_means = d_means + (tl.load(dmean + token),)  # noqa: RUF005
            if z is not None:
                gates = gates + (tl.load(z + token * z_l, here, 0.0),)  # noqa: RUF005
            if carry is not None:
                carried = carried + (tl.load(carry + token * carry_l, here, 0.0),)  # noqa: RUF005
        # Forwards through the chunk: the state before each token.
        dts, decays, before = (), (), ()
        for step in tl.static_range(CHUNK):
            here = channel < tl.where(chunk * CHUNK + step < length, width, 0)
            dt = tl.where(here, softplus(raws[step].to(tl.float32) + shift), 0.0)
            decay = dt
            if carry is not None:
                decay += carried[step].to(tl.float32)
            drive = (dt * xs[step].to(tl.float32))[None, :] * Bs[step].to(tl.float32)[:, None]
            dts = dts + (dt,)  # noqa: RUF005
            decays = decays + (decay,)  # noqa: RUF005
            before = before + (h,)  # noqa: RUF005
            h = tl.exp2(decay[None, :] * a) * h + drive
        # Backwards through it: h is the state after the token, dh the adjoint state.
        for step in tl.static_range(CHUNK - 1, -1, -1):
            index = chunk * CHUNK + step
            token = first + stride * tl.minimum(index, length - 1)
            here = channel < tl.where(index < length, width, 0)
            there = state < tl.where(index < length, states, 0)
            x = xs[step].to(tl.float32)
            dt = dts[step]
            decay = decays[step]
            d_out = d_outs[step].to(tl.float32)
            B_now = Bs[step].to(tl.float32)
            C_now = Cs[step].to(tl.float32)
            factor = tl.exp2(decay[None, :] * a)
            kept = factor * before[step]
            if z is not None:
                gate = gates[step].to(tl.float32)
                open = sigmoid(gate)
                inner = tl.sum(h * C_now[:, None], axis=0) + skip * x
                slope = open * (1.0 + gate * (1.0 - open))
                tl.store(dz + token * width, (d_out * inner * slope).to(dz.dtype.element_ty), here)
                d_out *= gate * open
            tl.store(dC + token * states, tl.sum(h * d_out[None, :], axis=1), there)
            dD_sum += d_out * x
            dh += d_out[None, :] * C_now[:, None]
            tl.store(dB + token * states, tl.sum(dh * (dt * x)[None, :], axis=1), there)
            d_drive = tl.sum(dh * B_now[:, None], axis=0)
            d_x = d_out * skip + d_drive * dt
            tl.store(du + token * width, d_x.to(du.dtype.element_ty), here)
            weighed = dh * kept
            dA_sum += weighed * decay[None, :]
            # `a` is A in units of log2(e), for exp2
            d_decay = tl.sum(weighed * a, axis=0) * LN2
            if carry is not None:
                tl.store(dcarry + token * width, d_decay.to(dcarry.dtype.element_ty), here)
            d_raw = d_drive * x + d_decay + d_means[step] / width
            d_raw *= sigmoid(raws[step].to(tl.float32) + shift)
            d_raw = tl.where(here, d_raw, 0.0)
            tl.store(ddelta + token * width, d_raw.to(ddelta.dtype.element_ty), here)
            dbias_sum += d_raw
            dh *= factor
            h = before[step]
    tl.store(dA + (row * states + state[:, None]) * width + channel[None, :], dA_sum, fits)
    if D is not None:
        tl.store(dD + row * width + channel, dD_sum, lane)
    if bias is not None:
        tl.store(dbias + row * width + channel, dbias_sum, lane)

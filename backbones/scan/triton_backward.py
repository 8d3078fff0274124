"""Gradients of the selective scan as a Triton program: one block of channels of one image in one direction.

The states are not kept by the forward pass. A first sweep writes the state before every `CHUNK` tokens; then, chunk
after chunk from the last, the states inside are computed again into registers and the gradients run back through them.
What is summed over channels, images or directions is written in parts and added up outside, in a fixed order, so that
a gradient's bits are the same every time.
"""

# mypy: ignore-errors
from __future__ import annotations

import triton
import triton.language as tl

from backbones.scan.triton_numerics import LOG2E, sigmoid, softplus

LN2 = tl.constexpr(0.6931471805599453)


@triton.jit(do_not_specialize=("batch", "length", "backwards"))
def scan_backward(
    u, delta, A, B, C, D, z, bias, carry, dy, dmean, saved,
    du, ddelta, dA, dB, dC, dD, dz, dbias, dcarry,
    batch, length, width, states, backwards, dy_k,
    u_k, u_b, u_l, delta_k, delta_b, delta_l, B_k, B_b, B_l, C_k, C_b, C_l, z_b, z_l, carry_k, carry_b, carry_l,
    DIRECTIONS: tl.constexpr, N: tl.constexpr, BLOCK: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    """Grid (directions x blocks of channels, batch); strides count elements and the last axis has stride 1.

    `dy` is (B, L, E) or, with `dy_k`, (K, B, L, E); `dmean` (K, B, L). `saved` has N x BLOCK floats for each chunk of
    each program. Parts: `dA` (K, B, E, N), `dD`, `dbias` (K, B, E), `dB`, `dC` (blocks, K, B, L, N), `dz` (K, B, L, E).
    """
    k, block, b = tl.program_id(0) % DIRECTIONS, tl.program_id(0) // DIRECTIONS, tl.program_id(1)
    channel, state = block * BLOCK + tl.arange(0, BLOCK), tl.arange(0, N)
    lane, low = channel < width, state < states
    a = tl.load(A + (k * width + channel[None, :]) * states + state[:, None], low[:, None] & lane[None, :], 0.0) * LOG2E
    skip = tl.load(D + k * width + channel, lane, 0.0) if D is not None else tl.zeros((BLOCK,), tl.float32)
    shift = tl.load(bias + k * width + channel, lane, 0.0) if bias is not None else tl.zeros((BLOCK,), tl.float32)

    far, wide = k.to(tl.int64), b.to(tl.int64)
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
    summed = ((block * DIRECTIONS + k).to(tl.int64) * batch + wide) * length * states + state
    dB += summed
    dC += summed

    chunks = tl.cdiv(length, CHUNK)
    place = (wide * tl.num_programs(0) + tl.program_id(0)) * chunks * N * BLOCK
    saved += place + tl.arange(0, N)[:, None] + tl.arange(0, BLOCK)[None, :] * N
    reverse = (backwards >> k) & 1
    first, stride = reverse * (length - 1), 1 - 2 * reverse

    h = tl.zeros((N, BLOCK), tl.float32)
    for chunk in range(chunks):
        tl.store(saved + chunk * N * BLOCK, h)
        if chunk + 1 < chunks:
            for index in range(chunk * CHUNK, (chunk + 1) * CHUNK):
                token = first + stride * index
                x = tl.load(u + token * u_l, lane, 0.0).to(tl.float32)
                dt = softplus(tl.load(delta + token * delta_l, lane, 0.0).to(tl.float32) + shift)
                decay = dt
                if carry is not None:
                    decay += tl.load(carry + token * carry_l, lane, 0.0).to(tl.float32)
                drive = (dt * x)[None, :] * tl.load(B + token * B_l, low, 0.0).to(tl.float32)[:, None]
                h = tl.exp2(decay[None, :] * a) * h + drive

    dh = tl.zeros((N, BLOCK), tl.float32)
    dA_sum = tl.zeros((N, BLOCK), tl.float32)
    dD_sum = tl.zeros((BLOCK,), tl.float32)
    dbias_sum = tl.zeros((BLOCK,), tl.float32)
    tl.debug_barrier()
    for back in range(chunks):
        chunk = chunks - 1 - back
        h = tl.load(saved + chunk * N * BLOCK)
        xs, raws, dts, decays, Bs, before = (), (), (), (), (), ()
        for step in tl.static_range(CHUNK):
            index = chunk * CHUNK + step
            token = first + stride * tl.minimum(index, length - 1)
            here, there = channel < tl.where(index < length, width, 0), state < tl.where(index < length, states, 0)
            x = tl.load(u + token * u_l, here, 0.0).to(tl.float32)
            raw = tl.load(delta + token * delta_l, here, 0.0).to(tl.float32) + shift
            B_now = tl.load(B + token * B_l, there, 0.0).to(tl.float32)
            dt = tl.where(here, softplus(raw), 0.0)
            decay = dt
            if carry is not None:
                decay += tl.load(carry + token * carry_l, here, 0.0).to(tl.float32)
            xs, raws, dts = xs + (x,), raws + (raw,), dts + (dt,)  # noqa: RUF005 Triton knows no unpacking
            decays, Bs, before = decays + (decay,), Bs + (B_now,), before + (h,)  # noqa: RUF005
            h = tl.exp2(decay[None, :] * a) * h + (dt * x)[None, :] * B_now[:, None]
        for step in tl.static_range(CHUNK - 1, -1, -1):
            index = chunk * CHUNK + step
            token = first + stride * tl.minimum(index, length - 1)
            here, there = channel < tl.where(index < length, width, 0), state < tl.where(index < length, states, 0)
            x, dt, decay, B_now = xs[step], dts[step], decays[step], Bs[step]
            C_now = tl.load(C + token * C_l, there, 0.0).to(tl.float32)
            d_out = tl.load(dy + token * width, here, 0.0).to(tl.float32)
            factor = tl.exp2(decay[None, :] * a)
            kept = factor * before[step]
            if z is not None:
                gate = tl.load(z + token * z_l, here, 0.0).to(tl.float32)
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
            tl.store(du + token * width, (d_out * skip + d_drive * dt).to(du.dtype.element_ty), here)
            weighed = dh * kept
            dA_sum += weighed * decay[None, :]
            d_decay = tl.sum(weighed * a, axis=0) * LN2
            if carry is not None:
                tl.store(dcarry + token * width, d_decay.to(dcarry.dtype.element_ty), here)
            d_raw = (d_drive * x + d_decay + tl.load(dmean + token) / width) * sigmoid(raws[step])
            d_raw = tl.where(here, d_raw, 0.0)
            tl.store(ddelta + token * width, d_raw.to(ddelta.dtype.element_ty), here)
            dbias_sum += d_raw
            dh *= factor
            h = before[step]
    tl.store(dA + (row * width + channel[None, :]) * states + state[:, None], dA_sum, low[:, None] & lane[None, :])
    if D is not None:
        tl.store(dD + row * width + channel, dD_sum, lane)
    if bias is not None:
        tl.store(dbias + row * width + channel, dbias_sum, lane)

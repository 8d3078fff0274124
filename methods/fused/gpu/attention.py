"""The hidden attention of the class token, as a Triton program."""

# mypy: ignore-errors
from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from backbones.scan.contract import dense
from backbones.scan.triton_numerics import LOG2E

CHANNELS = 64  # of one step


def attended(
    delta: Tensor, A: Tensor, B: Tensor, C: Tensor, readers: Tensor, direction: str
) -> Tensor:
    """`methods.parts.hidden_attention.hidden_attention` of the same arguments, fp32 (B, L)."""
    batch, length, width = delta.shape[1:]
    elapsed = torch.stack([delta[0].cumsum(1), delta[1].flip(1).cumsum(1).flip(1)])
    # state by state, so that a step reads whole lines
    rates = A.transpose(1, 2).contiguous()
    delta, B, C, readers = dense(delta), dense(B), dense(C), readers.contiguous()
    out = torch.empty(batch, length, dtype=torch.float32, device=delta.device)
    with torch.cuda.device_of(delta):
        attention_rows[(length, batch)](
            delta, elapsed, rates, B, C, readers, out, length, width, A.shape[2], readers.shape[1],
            *delta.stride()[:3], *elapsed.stride()[:3], *B.stride()[:3], *C.stride()[:3],
            FORWARD=direction != "backward", BACKWARD=direction != "forward",
            N=triton.next_power_of_2(A.shape[2]), CHANNELS=CHANNELS, num_warps=4,
        )  # fmt: skip
    return out


@triton.jit(do_not_specialize=("length",))
def attention_rows(
    delta, elapsed, rates, B, C, readers, out, length, width, states, specials,
    delta_k, delta_b, delta_l, elapsed_k, elapsed_b, elapsed_l, B_k, B_b, B_l, C_k, C_b, C_l,
    FORWARD: tl.constexpr, BACKWARD: tl.constexpr, N: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """One token of one image; grid (tokens, batch)."""
    j = tl.program_id(0)
    b = tl.program_id(1).to(tl.int64)
    state = tl.arange(0, N)
    low = state < states
    total = 0.0
    for s in range(specials):
        reader = tl.load(readers + b * specials + s).to(tl.int32)
        # The forward scan carries what is before the reader, the backward one what is behind.
        k = (j > reader).to(tl.int64)
        seen = ((j < reader) & FORWARD) | ((j > reader) & BACKWARD)
        weight = tl.load(C + k * C_k + b * C_b + reader * C_l + state, low, 0.0).to(tl.float32)
        weight *= tl.load(B + k * B_k + b * B_b + j * B_l + state, low, 0.0).to(tl.float32)
        since = elapsed + k * elapsed_k + b * elapsed_b
        for first in range(0, width, CHANNELS):
            channel = first + tl.arange(0, CHANNELS)
            inside = channel < width
            gap = tl.load(since + reader * elapsed_l + channel, inside, 0.0)
            gap -= tl.load(since + j * elapsed_l + channel, inside, 0.0)
            rate = tl.load(
                rates + (k * states + state[:, None]) * width + channel[None, :],
                low[:, None] & inside[None, :],
                0.0,
            )
            alpha = tl.sum(tl.exp2(gap[None, :] * rate * LOG2E) * weight[:, None], axis=0)
            step = tl.load(delta + k * delta_k + b * delta_b + j * delta_l + channel, inside, 0.0)
            total += tl.where(seen, tl.sum(tl.abs(alpha * step)), 0.0)
    tl.store(out + b * length + j, total / (width * specials))

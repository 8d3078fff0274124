"""Sorting by counting, and a score that reads rows, as Triton programs."""

# mypy: ignore-errors
from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 64


def ranked(keys: Tensor, values: tuple[Tensor, ...], count: int) -> list[Tensor]:
    """The first `count` of one or two `values` (B, n) by descending fp32 `keys` (B, n), stably.

    Any strides.
    """
    batch, length = keys.shape
    out = [torch.empty(batch, count, dtype=value.dtype, device=value.device) for value in values]
    # One list is passed twice and written twice, with the same numbers: one program serves both.
    first, second = values[0], values[-1]
    with torch.cuda.device_of(keys):
        rank_rows[(triton.cdiv(length, BLOCK), batch)](
            keys, first, second, out[0], out[-1], length, count,
            keys.stride(0), keys.stride(1), *first.stride()[:2], *second.stride()[:2],
            BLOCK=BLOCK, num_warps=4,
        )  # fmt: skip
    return out


def clipped_mean(y: Tensor) -> Tensor:
    """Mean over channels of max(0, y) of y (B, L, E), fp32 (B, L)."""
    y = y.contiguous()
    out = torch.empty(y.shape[:2], dtype=torch.float32, device=y.device)
    width, rows = y.shape[2], out.numel()
    with torch.cuda.device_of(y):
        clipped_rows[(triton.cdiv(rows, 4),)](
            y, out, rows, width, ROWS=4, WIDE=triton.next_power_of_2(width), num_warps=4
        )
    return out


@triton.jit
def _order(x):
    """A whole number that orders as `x` does; both zeros are one, and nan has a place as well."""
    bits = (x + 0.0).to(tl.int32, bitcast=True)
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


@triton.jit(do_not_specialize=("length", "count"))
def rank_rows(
    keys, first, second, first_out, second_out, length, count,
    keys_b, keys_l, first_b, first_l, second_b, second_l, BLOCK: tl.constexpr,
):  # fmt: skip
    """Grid (blocks of keys, batch)."""
    b = tl.program_id(1)
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = i < length
    mine = _order(tl.load(keys + b * keys_b + i * keys_l, inside, 0.0).to(tl.float32))
    # n^2 comparisons, but no steps that wait for one another: n is a few hundred.
    before = tl.zeros((BLOCK,), tl.int32)
    for start in range(0, length, BLOCK):
        j = start + tl.arange(0, BLOCK)
        theirs = _order(tl.load(keys + b * keys_b + j * keys_l, j < length, 0.0).to(tl.float32))
        above = (theirs[None, :] > mine[:, None]) | (
            (theirs[None, :] == mine[:, None]) & (j[None, :] < i[:, None])
        )
        before += tl.sum((above & (j < length)[None, :]).to(tl.int32), axis=1)
    chosen = inside & (before < count)
    tl.store(
        first_out + b * count + before, tl.load(first + b * first_b + i * first_l, inside), chosen
    )
    tl.store(
        second_out + b * count + before,
        tl.load(second + b * second_b + i * second_l, inside),
        chosen,
    )


@triton.jit(do_not_specialize=("rows",))
def clipped_rows(y, out, rows, width, ROWS: tl.constexpr, WIDE: tl.constexpr):
    """Grid (blocks of rows)."""
    row, channel = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.arange(0, WIDE)
    inside = (row < rows)[:, None] & (channel < width)[None, :]
    values = tl.load(y + row.to(tl.int64)[:, None] * width + channel[None, :], inside, 0.0).to(
        tl.float32
    )
    tl.store(out + row, tl.sum(tl.maximum(values, 0.0), axis=1) / width, row < rows)

"""Residual addition and RMSNorm as one Triton program."""

# mypy: ignore-errors
from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

ROWS, WARPS = 4, 4


def add_norm(branch: Tensor, residual: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """(residual + branch, its RMSNorm) of (..., C); the sum in the residual's dtype, the norm in the weight's."""
    branch, residual = branch.contiguous(), residual.contiguous()
    added = torch.empty_like(residual)
    normed = torch.empty(branch.shape, dtype=weight.dtype, device=branch.device)
    width = branch.shape[-1]
    rows = branch.numel() // width
    with torch.cuda.device_of(branch):
        add_norm_rows[(triton.cdiv(rows, ROWS),)](
            branch, residual, weight, added, normed, rows, width, eps,
            ROWS=ROWS, WIDE=triton.next_power_of_2(width), num_warps=WARPS,
        )  # fmt: skip
    return added, normed


@triton.jit(do_not_specialize=("rows",))
def add_norm_rows(
    branch, residual, weight, added, normed, rows, width, eps, ROWS: tl.constexpr, WIDE: tl.constexpr
):  # fmt: skip
    """Grid (blocks of rows): x = residual + branch, and x / sqrt(mean(x^2) + eps) * weight."""
    row, channel = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.arange(0, WIDE)
    inside = (row < rows)[:, None] & (channel < width)[None, :]
    place = row.to(tl.int64)[:, None] * width + channel[None, :]
    total = tl.load(residual + place, inside, 0.0) + tl.load(branch + place, inside, 0.0).to(tl.float32)
    tl.store(added + place, total, inside)
    scale = tl.rsqrt(tl.sum(total * total, axis=1) / width + eps)
    gain = tl.load(weight + channel, channel < width, 0.0).to(tl.float32)
    tl.store(normed + place, (total * scale[:, None] * gain[None, :]).to(normed.dtype.element_ty), inside)

"""Residual addition and RMSNorm as one Triton program, and their gradients as another."""

# mypy: ignore-errors
from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

ROWS, WARPS = 4, 4  # of one program
# of the backward pass: each sums its own part of the weight's gradient, added up afterwards
PROGRAMS = 1024


def add_norm(branch: Tensor, residual: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """(residual + branch, its RMSNorm) of (..., C), differentiably.

    The sum has the residual's dtype, which is fp32, and the norm the weight's.
    """
    if torch.is_grad_enabled() and any(part.requires_grad for part in (branch, residual, weight)):
        added, normed = _AddNorm.apply(branch, residual, weight, eps)
        return added, normed
    return _forward(branch, residual, weight, eps)


class _AddNorm(torch.autograd.Function):
    """The two outputs with the gradients of branch, residual and weight."""

    @staticmethod
    def forward(
        ctx: Any,
        branch: Tensor,
        residual: Tensor,
        weight: Tensor,
        eps: float,
    ) -> tuple[Tensor, Tensor]:
        """See `add_norm`."""
        added, normed = _forward(branch, residual, weight, eps)
        ctx.save_for_backward(added, weight)
        ctx.eps, ctx.kind = eps, branch.dtype
        return added, normed

    @staticmethod
    def backward(
        ctx: Any, d_added: Tensor, d_normed: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, None]:
        """Gradients of branch, residual and weight."""
        added, weight = ctx.saved_tensors
        width = added.shape[-1]
        rows = added.numel() // width
        programs = min(triton.cdiv(rows, ROWS), PROGRAMS)
        d_residual = torch.empty_like(added)
        parts = torch.empty(programs, width, dtype=torch.float32, device=added.device)
        with torch.cuda.device_of(added):
            norm_gradients[(programs,)](
                added,
                weight,
                d_added.contiguous(),
                d_normed.contiguous(),
                d_residual,
                parts,
                rows,
                width,
                ctx.eps,
                ROWS=ROWS,
                WIDE=triton.next_power_of_2(width),
                num_warps=WARPS,
            )
        # both addends have the gradient of the sum
        return d_residual.to(ctx.kind), d_residual, parts.sum(0).to(weight.dtype), None


def _forward(branch: Tensor, residual: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    branch, residual = branch.contiguous(), residual.contiguous()
    added = torch.empty_like(residual)
    normed = torch.empty(branch.shape, dtype=weight.dtype, device=branch.device)
    width = branch.shape[-1]
    rows = branch.numel() // width
    with torch.cuda.device_of(branch):
        add_norm_rows[(triton.cdiv(rows, ROWS),)](
            branch,
            residual,
            weight,
            added,
            normed,
            rows,
            width,
            eps,
            ROWS=ROWS,
            WIDE=triton.next_power_of_2(width),
            num_warps=WARPS,
        )
    return added, normed


@triton.jit(do_not_specialize=("rows",))
def add_norm_rows(
    branch,
    residual,
    weight,
    added,
    normed,
    rows,
    width,
    eps,
    ROWS: tl.constexpr,
    WIDE: tl.constexpr,
):
    """Grid (blocks of rows): x = residual + branch, and x / sqrt(mean(x^2) + eps) * weight."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    channel = tl.arange(0, WIDE)
    inside = (row < rows)[:, None] & (channel < width)[None, :]
    # 64 bits: a large batch has more numbers than 32 bits can count
    place = row.to(tl.int64)[:, None] * width + channel[None, :]
    total = tl.load(residual + place, inside, 0.0)
    total += tl.load(branch + place, inside, 0.0).to(tl.float32)
    tl.store(added + place, total, inside)
    scale = tl.rsqrt(tl.sum(total * total, axis=1) / width + eps)
    gain = tl.load(weight + channel, channel < width, 0.0).to(tl.float32)
    result = total * scale[:, None] * gain[None, :]
    tl.store(normed + place, result.to(normed.dtype.element_ty), inside)


@triton.jit(do_not_specialize=("rows",))
def norm_gradients(
    added,
    weight,
    d_added,
    d_normed,
    d_residual,
    parts,
    rows,
    width,
    eps,
    ROWS: tl.constexpr,
    WIDE: tl.constexpr,
):
    """Grid (any number of programs): gradients of blocks of rows, and a part of the weight's."""
    channel = tl.arange(0, WIDE)
    lane = channel < width
    gain = tl.load(weight + channel, lane, 0.0).to(tl.float32)
    # in registers over all blocks of rows, and added up over rows once, at the end
    d_gain = tl.zeros((ROWS, WIDE), tl.float32)
    # every program takes blocks of rows in turn
    for first in range(tl.program_id(0) * ROWS, rows, tl.num_programs(0) * ROWS):
        row = first + tl.arange(0, ROWS)
        inside = (row < rows)[:, None] & lane[None, :]
        place = row.to(tl.int64)[:, None] * width + channel[None, :]
        total = tl.load(added + place, inside, 0.0)
        d_out = tl.load(d_normed + place, inside, 0.0).to(tl.float32)
        scale = tl.rsqrt(tl.sum(total * total, axis=1) / width + eps)[:, None]
        unit = total * scale
        d_unit = d_out * gain[None, :]
        along = tl.sum(d_unit * unit, axis=1) / width
        gradient = tl.load(d_added + place, inside, 0.0) + (d_unit - unit * along[:, None]) * scale
        tl.store(d_residual + place, gradient, inside)
        d_gain += d_out * unit
    tl.store(parts + tl.program_id(0) * width + channel, tl.sum(d_gain, axis=0), lane)

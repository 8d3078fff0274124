"""Residual addition and RMSNorm on a CPU, in one pass over memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from backbones.compiled.jit import device, inlined
from backbones.compiled.native import each_task, fill, frame_type, kernel_of, row
from backbones.compiled.numerics import ONE, total, workspace

ROWS = 64  # of one task
FRAME = frame_type(
    ("branch", "residual", "weight", "sum", "y"), ("rows", "width"), scalars=("eps",)
)


def add_norm(branch: Tensor, residual: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """(residual + branch, its RMSNorm) for fp32 tensors (..., C) and a weight (C,)."""
    # Variables keep the copies alive until the kernel has run: a frame stores addresses only.
    branch, residual, weight = branch.contiguous(), residual.contiguous(), weight.contiguous()
    added, y = torch.empty_like(residual), torch.empty_like(residual)
    width = weight.shape[0]
    rows = residual.numel() // width
    frame = fill(
        FRAME,
        branch=branch,
        residual=residual,
        weight=weight,
        sum=added,
        y=y,
        rows=rows,
        width=width,
        eps=eps,
        tasks=-(-rows // ROWS),
    )
    norm_kernel()(frame)
    return added, y


@device
def norm_row(frame: Any, place: int, squares: Any) -> None:
    """Add and normalise one token."""
    width = frame.width
    branch = row(frame.branch, place * width)
    residual = row(frame.residual, place * width)
    added = row(frame.sum, place * width)
    y = row(frame.y, place * width)
    weight = row(frame.weight, 0)
    for c in range(width):
        value = residual[c] + branch[c]
        squares[width + c] = value
        squares[c] = value * value
    scale = ONE / np.sqrt(total(squares, width) / np.float32(width) + frame.eps)
    for c in range(width):
        value = squares[width + c]
        added[c] = value
        y[c] = value * scale * weight[c]


@inlined
def norm_task(frame: Any, index: int) -> None:
    """Add and normalise a block of tokens."""
    squares = workspace(2 * frame.width)
    for place in range(index * ROWS, min(index * ROWS + ROWS, frame.rows)):
        norm_row(frame, place, squares)


def _entry(pointer: Any) -> None:
    each_task(pointer, norm_task)


norm_kernel = kernel_of(_entry, FRAME)

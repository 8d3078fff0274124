"""A gate on a CPU, and the RMSNorm behind it if there is one, in one pass over memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from backbones.compiled.jit import device
from backbones.compiled.native import each_task, fill, frame_type, kernel_of, row
from backbones.compiled.numerics import ONE, silu, total, workspace

ROWS = 32  # of one task
FRAME = frame_type(
    ("values", "gate", "weight", "kept", "y"),
    ("rows", "length", "width", "values_b", "values_l", "gate_b", "gate_l"),
    scalars=("eps",),
)


def gated(values: Tensor, gate: Tensor) -> Tensor:
    """Values * silu(gate) of fp32 tensors (B, L, F) whose last axis is contiguous."""
    return _run(values, gate, None, 0.0, None)


def gate_norm(
    values: Tensor, gate: Tensor, weight: Tensor, eps: float, kept: Tensor | None = None
) -> Tensor:
    """RMSNorm of `gated` by `weight` (F,); a tensor `kept` (B, L, F) receives `gated` itself."""
    return _run(values, gate, weight, eps, kept)


def _run(
    values: Tensor, gate: Tensor, weight: Tensor | None, eps: float, kept: Tensor | None
) -> Tensor:
    batch, length, width = values.shape
    y = torch.empty(values.shape)
    frame = fill(
        FRAME,
        values=values,
        gate=gate,
        weight=weight,
        kept=kept,
        y=y,
        rows=batch * length,
        length=length,
        width=width,
        values_b=values.stride(0),
        values_l=values.stride(1),
        gate_b=gate.stride(0),
        gate_l=gate.stride(1),
        eps=eps,
        tasks=-(-batch * length // ROWS),
    )
    gate_kernel()(frame)
    return y


@device
def gate_row(frame: Any, place: int, squares: Any) -> None:
    """Gate and normalise one token."""
    image, token, width = place // frame.length, place % frame.length, frame.width
    values = row(frame.values, image * frame.values_b + token * frame.values_l)
    gate = row(frame.gate, image * frame.gate_b + token * frame.gate_l)
    y = row(frame.y, place * width)
    for c in range(width):
        y[c] = values[c] * silu(gate[c])
    if frame.kept != 0:
        kept = row(frame.kept, place * width)
        for c in range(width):
            kept[c] = y[c]
    if frame.weight != 0:
        weight = row(frame.weight, 0)
        for c in range(width):
            squares[c] = y[c] * y[c]
        scale = ONE / np.sqrt(total(squares, width) / np.float32(width) + frame.eps)
        for c in range(width):
            y[c] = y[c] * scale * weight[c]


@device
def gate_task(frame: Any, index: int) -> None:
    """Gate some neighbouring tokens."""
    squares = workspace(frame.width)
    for place in range(index * ROWS, min((index + 1) * ROWS, frame.rows)):
        gate_row(frame, place, squares)


def _entry(pointer: Any) -> None:
    each_task(pointer, gate_task)


gate_kernel = kernel_of(_entry, FRAME)

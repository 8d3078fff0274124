"""The `cpu` scan kernel: float32 tensors in, compiled loops over them, float32 tensors out."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from backbones.compiled.native import fill
from backbones.scan import cpu_backward
from backbones.scan.contract import GradientParts, ScanInputs, ScanResult, backwards_bits, dense
from backbones.scan.cpu_forward import FRAME, WIDEST_CHUNK, forward_kernel

LOG2E = 1.4426950408889634


def cpu_scan(
    inputs: ScanInputs,
    reverse: tuple[bool, ...],
    separate: bool,
    *,
    scale: float = 1.0,
    weight: Tensor | None = None,
    step: Tensor | None = None,
    ungated: Tensor | None = None,
) -> ScanResult:
    """Scan on the CPU; equations in `selective_scan`.

    `scale` multiplies the sum of the directions. With `weight` (K, R, E), `inputs.delta` is (K, B,
    L, R) and the raw timescale is delta @ weight. A tensor `step` (K, B, L, E) receives the
    timescale after bias and softplus; `ungated`, (K, B, L, E) or (B, L, E) for their sum times
    `scale`, the outputs before the gate.
    """
    inputs = inputs.map(lambda tensor: dense(tensor.float()))
    directions, batch, length, width = inputs.u.shape
    chunk = chunk_width(width)
    chunks = -(-width // chunk)
    new = inputs.u.new_empty
    y = new((directions, batch, length, width) if separate else (batch, length, width))
    means = new(chunks, directions, batch, length)
    # Variables keep the tensors alive until the kernel has run: a frame stores addresses only. A is
    # scaled so that the kernel can use exp2.
    fields = _scan_fields(inputs, reverse, chunk, LOG2E)
    frame = fill(
        FRAME,
        fields,
        weight=weight,
        y=y,
        step=step,
        ungated=ungated,
        ungated_k=ungated.stride(0) if ungated is not None and ungated.ndim == 4 else 0,
        mean=means,
        rank=0 if weight is None else weight.shape[1],
        y_k=y.stride(0) if separate else 0,
        scale=scale,
        tasks=batch * chunks,
    )
    forward_kernel()(frame)
    # chunk by chunk, so that the order of additions does not depend on a library's
    total = means[0]
    for part in means[1:]:
        total = total + part
    return ScanResult(y, total / width)


def cpu_scan_backward(
    dy: Tensor, dmean: Tensor, inputs: ScanInputs, reverse: tuple[bool, ...], separate: bool
) -> list[Tensor]:
    """Gradients of the nine inputs for those of y and delta_mean; empty for an input of None."""
    inputs = inputs.map(lambda tensor: dense(tensor.float()))
    batch, width = inputs.u.shape[1], inputs.u.shape[3]
    chunk = chunk_width(width, cpu_backward.WIDEST_CHUNK)
    chunks = -(-width // chunk)
    # the directions add to dz in turn
    dz = None if inputs.z is None else torch.zeros(inputs.z.shape)
    parts = GradientParts.new(inputs, chunks, dz)
    dy, dmean = dy.float().contiguous(), dmean.float().contiguous()
    fields = _scan_fields(inputs, reverse, chunk, 1.0)
    frame = fill(
        cpu_backward.FRAME,
        fields,
        parts._asdict(),
        dy=dy,
        dmean=dmean,
        dy_k=dy.stride(0) if separate else 0,
        tasks=batch * chunks,
    )
    cpu_backward.backward_kernel()(frame)
    return parts.added_up(inputs)


def chunk_width(width: int, widest: int = WIDEST_CHUNK) -> int:
    """Channels of one task: a multiple of 16, at most `widest`, that splits `width` evenly."""
    # 16 numbers are a cache line, and whole vectors
    chunks = -(-width // widest)
    return -(-width // (chunks * 16)) * 16


def _scan_fields(
    inputs: ScanInputs, reverse: tuple[bool, ...], chunk: int, unit: float
) -> dict[str, Any]:
    """The fields of a frame that the forward and the backward kernel share.

    By channel they read unit * A as (K, N, E), and D and bias or zeros.
    """
    directions, batch, length, width = inputs.u.shape
    zeros = inputs.A.new_zeros(directions, width)
    fields: dict[str, Any] = {
        "A": (inputs.A.transpose(1, 2) * unit).contiguous(),
        "D": zeros if inputs.D is None else inputs.D.contiguous(),
        "bias": zeros if inputs.delta_bias is None else inputs.delta_bias.contiguous(),
        "directions": directions,
        "batch": batch,
        "length": length,
        "width": width,
        "states": inputs.A.shape[-1],
        "chunk": chunk,
        "backwards": backwards_bits(reverse),
    }
    for name in ("u", "delta", "B", "C", "carry"):
        tensor: Tensor | None = getattr(inputs, name)
        if tensor is not None:
            fields[name] = tensor
            # over direction, image and token; the last axis is contiguous
            for axis, stride in zip("kbl", tensor.stride()[:3], strict=True):
                fields[f"{name}_{axis}"] = stride
    if inputs.z is not None:
        fields |= {"z": inputs.z, "z_b": inputs.z.stride(0), "z_l": inputs.z.stride(1)}
    return fields

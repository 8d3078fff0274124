"""The `cpu` scan kernel: float32 tensors in, compiled loops over them, float32 tensors out."""

from __future__ import annotations

import torch
from torch import Tensor

from backbones.compiled.native import address, fill
from backbones.scan import cpu_backward
from backbones.scan.contract import ScanInputs, ScanResult
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
) -> ScanResult:
    """Scan on the CPU; equations in `selective_scan`.

    `scale` multiplies the sum of the directions. With `weight` (K, R, E), `inputs.delta` is (K, B,
    L, R) and the raw timescale is delta @ weight. A tensor `step` (K, B, L, E) receives the
    timescale after bias and softplus.
    """
    inputs = inputs.map(_rows)
    directions, batch, length, width = inputs.u.shape
    chunk = chunk_width(width)
    chunks = -(-width // chunk)
    y = inputs.u.new_empty(
        (directions, batch, length, width) if separate else (batch, length, width)
    )
    means = inputs.u.new_empty(chunks, directions, batch, length)
    constants = _per_channel(
        inputs, LOG2E
    )  # held until the kernel has run: a frame keeps addresses, not tensors
    frame = fill(
        FRAME,
        {name: address(tensor) for name, tensor in constants.items()},
        {name: address(getattr(inputs, name)) for name in ("u", "delta", "B", "C", "z", "carry")},
        {"weight": address(weight), "y": address(y), "step": address(step), "mean": address(means)},
        {
            "directions": directions,
            "batch": batch,
            "length": length,
            "width": width,
            "states": inputs.A.shape[-1],
        },
        {
            "rank": 0 if weight is None else weight.shape[1],
            "chunk": chunk,
            "backwards": backwards_bits(reverse),
        },
        token_strides(inputs),
        {"y_k": y.stride(0) if separate else 0, "scale": scale, "tasks": batch * chunks},
    )
    forward_kernel()(frame)
    total = means[0]
    for part in means[1:]:
        total = total + part
    return ScanResult(y, total / width)


def cpu_scan_backward(
    dy: Tensor, dmean: Tensor, inputs: ScanInputs, reverse: tuple[bool, ...], separate: bool
) -> list[Tensor]:
    """Gradients of the nine inputs for those of y and delta_mean; an empty tensor for an input that was None."""
    inputs = inputs.map(_rows)
    directions, batch, length, width = inputs.u.shape
    states, chunk = inputs.A.shape[-1], chunk_width(width, cpu_backward.WIDEST_CHUNK)
    chunks = -(-width // chunk)
    new = inputs.u.new_empty
    dA, dD, dbias = (
        new(directions, batch, states, width),
        new(directions, batch, width),
        new(directions, batch, width),
    )
    dB, dC = (
        new(chunks, directions, batch, length, states),
        new(chunks, directions, batch, length, states),
    )
    du, ddelta = new(directions, batch, length, width), new(directions, batch, length, width)
    dz = None if inputs.z is None else torch.zeros(inputs.z.shape)
    dcarry = None if inputs.carry is None else new(directions, batch, length, width)
    constants = _per_channel(inputs, 1.0)
    found = {
        "du": du,
        "ddelta": ddelta,
        "dA": dA,
        "dB": dB,
        "dC": dC,
        "dD": dD,
        "dz": dz,
        "dbias": dbias,
    }
    given = {"dy": dy.float().contiguous(), "dmean": dmean.float().contiguous()}
    frame = fill(
        cpu_backward.FRAME,
        {
            name: address(tensor)
            for name, tensor in {**constants, **found, **given, "dcarry": dcarry}.items()
        },
        {name: address(getattr(inputs, name)) for name in ("u", "delta", "B", "C", "z", "carry")},
        {
            "directions": directions,
            "batch": batch,
            "length": length,
            "width": width,
            "states": states,
        },
        {"chunk": chunk, "backwards": backwards_bits(reverse), "tasks": batch * chunks},
        token_strides(inputs),
        {"dy_k": given["dy"].stride(0) if separate else 0},
    )
    cpu_backward.backward_kernel()(frame)
    gradients = [
        du,
        ddelta,
        dA.sum(1).transpose(1, 2),
        dB.sum(0),
        dC.sum(0),
        dD.sum(1),
        dz,
        dbias.sum(1),
        dcarry,
    ]
    return [
        part.contiguous() if tensor is not None and part is not None else new(0)
        for tensor, part in zip(inputs, gradients, strict=True)
    ]


def chunk_width(width: int, widest: int = WIDEST_CHUNK) -> int:
    """Channels of one task: a multiple of 16, at most `widest`, that splits `width` evenly."""
    chunks = -(-width // widest)
    return -(-width // (chunks * 16)) * 16


def backwards_bits(reverse: tuple[bool, ...]) -> int:
    """Bit k is set where direction k runs backwards."""
    return sum(1 << index for index, backwards in enumerate(reverse) if backwards)


def token_strides(inputs: ScanInputs) -> dict[str, int]:
    """Strides over direction, image and token of each tensor that has tokens."""
    strides: dict[str, int] = {}
    for name in ("u", "delta", "B", "C", "carry"):
        tensor: Tensor | None = getattr(inputs, name)
        if tensor is not None:
            strides |= dict(
                zip((f"{name}_k", f"{name}_b", f"{name}_l"), tensor.stride(), strict=False)
            )
    if inputs.z is not None:
        strides |= {"z_b": inputs.z.stride(0), "z_l": inputs.z.stride(1)}
    return strides


def _per_channel(inputs: ScanInputs, unit: float) -> dict[str, Tensor]:
    """What a kernel reads per channel: unit * A as (K, N, E), D and bias (zeros where there is none)."""
    directions, width = inputs.A.shape[:2]
    none = inputs.A.new_zeros(directions, width)
    return {
        "A": (inputs.A.transpose(1, 2) * unit).contiguous(),
        "D": none if inputs.D is None else inputs.D.contiguous(),
        "bias": none if inputs.delta_bias is None else inputs.delta_bias.contiguous(),
    }


def _rows(tensor: Tensor) -> Tensor:
    """The tensor in float32 with its last axis contiguous."""
    if tensor.dtype != torch.float32:
        tensor = tensor.float()
    return tensor if tensor.stride(-1) == 1 else tensor.contiguous()

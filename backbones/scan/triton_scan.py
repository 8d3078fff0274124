"""The `triton` scan kernel: both directions in one launch, forward and backward."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor

from backbones.scan.contract import GradientParts, ScanInputs, ScanResult, backwards_bits, dense
from backbones.scan.triton_backward import scan_backward
from backbones.scan.triton_forward import scan_forward

ROWS = 16  # tokens that are added up at a time
# Each thread keeps the states of its own channels, so that more warps would have nothing to share.
ONE_WARP = {"num_warps": 1, "enable_fp_fusion": True}


class Tiles(NamedTuple):
    """How the work is divided: channels of a program in both passes, tokens of a backward chunk.

    `registers` is the limit for a thread of the backward pass: with fewer, more programs run at
    once.
    """

    forward: int = 64
    backward: int = 32
    chunk: int = 4
    registers: int = 255


TILES = Tiles()


def triton_scan(
    inputs: ScanInputs,
    reverse: tuple[bool, ...],
    separate: bool,
    *,
    scale: float = 1.0,
    mean: bool = True,
    step: Tensor | None = None,
    ungated: Tensor | None = None,
    tiles: Tiles = TILES,
) -> ScanResult:
    """Scan on a GPU; equations in `selective_scan`. delta_mean is empty unless `mean`.

    `scale` multiplies the sum of the directions. A float32 tensor `step` (K, B, L, E) receives the
    timescale after bias and softplus; `ungated` in u's dtype, (K, B, L, E) or (B, L, E) for their
    sum times `scale`, the outputs before the gate.
    """
    inputs = _prepared(inputs)
    directions, batch, length, width = inputs.u.shape
    blocks = triton.cdiv(width, _block(width, tiles.forward))
    new = inputs.u.new_empty
    parts = new(inputs.u.shape)
    # A single direction without a scale needs no sum.
    alone = separate or (directions == 1 and scale == 1.0)
    y = None if alone else new(batch, length, width)
    means = new(blocks, directions, batch, length, dtype=torch.float32) if mean else None
    bare = ungated
    if ungated is not None and ungated.ndim == 3:
        bare = new(inputs.u.shape)
    # counts the directions that have finished, for each image and block of channels
    arrivals = None
    if not alone:
        arrivals = torch.zeros(batch * blocks, dtype=torch.int32, device=inputs.u.device)
    with torch.cuda.device_of(inputs.u):
        _launch_forward(inputs, reverse, tiles, (parts, y, means, step, bare, arrivals), scale)
    delta_mean = inputs.A.new_empty(0) if means is None else means.sum(0) / width
    if ungated is not None and bare is not None and bare is not ungated:
        ungated.copy_(sum(bare[1:], start=bare[0]) * scale)
    if y is None:
        y = parts if separate else parts[0]
    return ScanResult(y, delta_mean)


def triton_scan_backward(
    dy: Tensor,
    dmean: Tensor,
    inputs: ScanInputs,
    reverse: tuple[bool, ...],
    separate: bool,
    tiles: Tiles = TILES,
) -> list[Tensor]:
    """Gradients of the nine inputs for those of y and delta_mean; empty for an input of None."""
    original, inputs = inputs, _prepared(inputs)
    directions, batch, length, width = inputs.u.shape
    states = inputs.A.shape[-1]
    block = _block(width, tiles.backward)
    blocks = triton.cdiv(width, block)
    N = triton.next_power_of_2(states)
    dz = None if inputs.z is None else inputs.u.new_empty(inputs.u.shape)
    parts = GradientParts.new(inputs, blocks, dz)
    chunks = triton.cdiv(length, tiles.chunk)
    saved = inputs.A.new_empty(directions, batch, chunks, width, states)
    dy = dy.contiguous()
    with torch.cuda.device_of(inputs.u):
        # the walk of the forward pass, for its states alone
        walked = inputs._replace(D=None, z=None)
        _launch_forward(walked, reverse, tiles, saved=saved)
        scan_backward[(directions * blocks, batch)](
            *inputs,
            dy,
            dmean.float().contiguous(),
            saved,
            *parts,
            batch,
            length,
            width,
            states,
            backwards_bits(reverse),
            dy.stride(0) if separate else 0,
            *_strides(inputs),
            DIRECTIONS=directions,
            N=N,
            BLOCK=block,
            CHUNK=tiles.chunk,
            **ONE_WARP,
            maxnreg=tiles.registers,
        )
    if dz is not None:
        # torch's sum over two rows reads slowly
        parts = parts._replace(dz=dz[0] + dz[1] if directions == 2 else dz.sum(0))
    return parts.added_up(original)


def _launch_forward(
    inputs: ScanInputs,
    reverse: tuple[bool, ...],
    tiles: Tiles,
    outputs: tuple[Tensor | None, ...] = (None,) * 6,
    scale: float = 1.0,
    saved: Tensor | None = None,
) -> None:
    """Launch `scan_forward`; `outputs` are parts, y, mean, step, ungated and arrivals."""
    directions, batch, length, width = inputs.u.shape
    states = inputs.A.shape[-1]
    block = _block(width, tiles.forward)
    N = triton.next_power_of_2(states)
    scan_forward[(directions * triton.cdiv(width, block), batch)](
        *inputs,
        *outputs,
        saved,
        batch,
        length,
        width,
        states,
        backwards_bits(reverse),
        scale,
        *_strides(inputs),
        DIRECTIONS=directions,
        N=N,
        BLOCK=block,
        EVEN=width % block == 0 and states == N,
        ROWS=ROWS,
        CHUNK=tiles.chunk,
        **ONE_WARP,
    )


def _block(width: int, most: int) -> int:
    """Channels of one program: a power of two, at least one for each thread."""
    return max(32, min(most, triton.next_power_of_2(width)))


def _strides(inputs: ScanInputs) -> list[int]:
    """Strides over direction, image and token of each tensor that has tokens, 0 for None."""
    strides: list[int] = []
    for tensor in (inputs.u, inputs.delta, inputs.B, inputs.C, inputs.carry):
        strides += [0, 0, 0] if tensor is None else tensor.stride()[:3]
    # the gate is shared by the directions
    return strides + ([0, 0] if inputs.z is None else [*inputs.z.stride()[:2]])


def _prepared(inputs: ScanInputs) -> ScanInputs:
    """Parameters in fp32 and contiguous, tensors of tokens with their last axis contiguous."""
    changed: dict[str, Any] = {}
    for name, tensor in inputs._asdict().items():
        if tensor is None:
            continue
        if name in ("A", "D", "delta_bias"):
            changed[name] = tensor.float().contiguous()
        else:
            changed[name] = dense(tensor)
    return inputs._replace(**changed)

"""The `triton` scan kernel: both directions in one launch, forward and backward."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor

from backbones.scan.contract import ScanInputs, ScanResult
from backbones.scan.triton_backward import scan_backward, scan_states
from backbones.scan.triton_forward import scan_forward

ROWS = 16  # tokens that are added up at a time
ONE_WARP = {"num_warps": 1, "enable_fp_fusion": True}


class Tiles(NamedTuple):
    """How the work is cut: channels of a program forward and backward, tokens whose states backward holds.

    `registers` is what a thread of the backward pass may use at most: with fewer, more programs are
    at work at once.
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
    tiles: Tiles = TILES,
) -> ScanResult:
    """Scan on a GPU; equations in `selective_scan`. delta_mean is empty unless `mean`.

    `scale` multiplies the sum of the directions. A float32 tensor `step` (K, B, L, E) receives the
    timescale after bias and softplus.
    """
    inputs = _prepared(inputs)
    directions, batch, length, width = inputs.u.shape
    states = inputs.A.shape[-1]
    block = _block(width, tiles.forward)
    blocks = triton.cdiv(width, block)
    N = triton.next_power_of_2(states)
    new = inputs.u.new_empty
    parts = new(inputs.u.shape)
    alone = separate or (directions == 1 and scale == 1.0)
    y = None if alone else new(batch, length, width)
    means = new(blocks, directions, batch, length, dtype=torch.float32) if mean else None
    arrivals = (
        None if alone else torch.zeros(batch * blocks, dtype=torch.int32, device=inputs.u.device)
    )
    with torch.cuda.device_of(inputs.u):
        scan_forward[(directions * blocks, batch)](
            *inputs, parts, y, means, step, arrivals,
            batch, length, width, states, _bits(reverse), scale, *_strides(inputs),
            DIRECTIONS=directions, N=N, BLOCK=block, EVEN=width % block == 0 and states == N, ROWS=ROWS,
            **ONE_WARP,
        )  # fmt: skip
    delta_mean = inputs.A.new_empty(0) if means is None else means.sum(0) / width
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
    """Gradients of the nine inputs for those of y and delta_mean; an empty tensor for an input that was None."""
    given, inputs = inputs, _prepared(inputs)
    directions, batch, length, width = inputs.u.shape
    states = inputs.A.shape[-1]
    block = _block(width, tiles.backward)
    blocks = triton.cdiv(width, block)
    N = triton.next_power_of_2(states)
    tokens = (directions, batch, length)

    def new(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.empty(shape, dtype=dtype, device=inputs.u.device)

    kind = inputs.u.dtype
    du, ddelta = new(*tokens, width, dtype=kind), new(*tokens, width, dtype=kind)
    dz = None if inputs.z is None else new(*tokens, width, dtype=kind)
    dcarry = None if inputs.carry is None else new(*tokens, width)
    dA, dD, dbias = (
        new(directions, batch, width, states),
        *(new(directions, batch, width) for _ in range(2)),
    )
    dB, dC = (new(blocks, *tokens, states) for _ in range(2))
    saved = new(directions, batch, triton.cdiv(length, tiles.chunk), width, states)
    dy = dy.contiguous()
    strides = _strides(inputs)
    with torch.cuda.device_of(inputs.u):
        wide = _block(width, tiles.forward)
        scan_states[(directions * triton.cdiv(width, wide), batch)](
            inputs.u, inputs.delta, inputs.A, inputs.B, inputs.delta_bias, inputs.carry, saved,
            batch, length, width, states, _bits(reverse), *strides[:9], *strides[-3:],
            DIRECTIONS=directions, N=N, BLOCK=wide, CHUNK=tiles.chunk,
            **ONE_WARP,
        )  # fmt: skip
        scan_backward[(directions * blocks, batch)](
            *inputs, dy, dmean.float().contiguous(), saved, du, ddelta, dA, dB, dC, dD, dz, dbias, dcarry,
            batch, length, width, states, _bits(reverse), dy.stride(0) if separate else 0, *strides,
            DIRECTIONS=directions, N=N, BLOCK=block, CHUNK=tiles.chunk,
            **ONE_WARP, maxnreg=tiles.registers,
        )  # fmt: skip
    gated = (
        None if dz is None else dz[0] + dz[1] if directions == 2 else dz.sum(0)
    )  # `sum` of two reads slowly
    found = [du, ddelta, dA.sum(1), dB.sum(0), dC.sum(0), dD.sum(1), gated, dbias.sum(1), dcarry]
    return [
        part.to(tensor.dtype).contiguous() if tensor is not None and part is not None else new(0)
        for tensor, part in zip(given, found, strict=True)
    ]


def _block(width: int, most: int) -> int:
    """Channels of one program: a power of two, at least a thread's each."""
    return max(32, min(most, triton.next_power_of_2(width)))


def _bits(reverse: tuple[bool, ...]) -> int:
    """Bit k is set where direction k runs backwards."""
    return sum(1 << index for index, backwards in enumerate(reverse) if backwards)


def _strides(inputs: ScanInputs) -> list[int]:
    """Strides over direction, image and token of each tensor that has tokens, 0 for one that is not there."""
    strides = [
        stride
        for tensor in (inputs.u, inputs.delta, inputs.B, inputs.C)
        for stride in tensor.stride()[:3]
    ]
    strides += [0, 0] if inputs.z is None else inputs.z.stride()[:2]
    return strides + ([0, 0, 0] if inputs.carry is None else list(inputs.carry.stride()[:3]))


def _prepared(inputs: ScanInputs) -> ScanInputs:
    """Parameters in fp32 and contiguous, tensors of tokens with their last axis contiguous."""
    changed: dict[str, Any] = {}
    for name, tensor in inputs._asdict().items():
        if tensor is None:
            continue
        if name in ("A", "D", "delta_bias"):
            changed[name] = tensor.float().contiguous()
        elif tensor.stride(-1) != 1:
            changed[name] = tensor.contiguous()
    return inputs._replace(**changed)

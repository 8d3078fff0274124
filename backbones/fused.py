"""The block for inference on a CPU in fp32: the same equations, few passes over memory.

Addition and norm are one pass, both convolutions with their SiLU another, and the scan takes in the timescale's
projection, the softplus, the gate and the sum of its directions. Training, fp64 and tracing take the plain path.

Here an image's bits depend neither on its batch nor on the number of threads. The plain path cannot promise that:
torch's SiLU and softplus round differently in the last few elements of a thread's share.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from backbones import rowwise
from backbones.errors import UserError
from backbones.norm import RMSNorm
from backbones.scan import ScanInputs, chosen
from backbones.scan.reference import reference_scan
from backbones.sequence import Trace

if TYPE_CHECKING:
    from backbones.mixer import BidirectionalMixer

BACKWARDS = 0b10  # the second direction


def serves(kernel: str, tokens: Tensor) -> bool:
    """Whether the fused path stands for the plain one: inference on a CPU in fp32, and the scan's kernel is `cpu`."""
    if torch.is_grad_enabled() or tokens.device.type != "cpu" or tokens.dtype != torch.float32:
        return False
    return chosen(kernel, tokens.device, tokens.dtype).kernel == "cpu" and _agrees()


@cache
def _agrees() -> bool:
    """Whether this path gives the plain path's numbers on this machine; UserError if not."""
    from backbones.block import Block
    from backbones.mixer import BidirectionalMixer

    with torch.random.fork_rng(devices=[]):  # building layers draws numbers that are the caller's
        block = Block(24, BidirectionalMixer(24, d_state=4))
    generator = torch.Generator().manual_seed(0)
    for parameter in block.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.5)
    branch, residual = torch.randn(2, 2, 21, 24, generator=generator)
    added, u = add_norm(branch, residual, block.norm)
    found, trace = mix(block.mixer, u, frozenset({"y"}), None)
    mixer = block.mixer
    mixer.kernel = "reference"
    inputs = mixer.scan_inputs(block.norm(residual + branch), None)
    wanted = reference_scan(inputs, (False, True), False).y * 0.5 @ mixer.out_proj.weight.t()
    assert trace.y is not None
    pairs = ((added, residual + branch), (found, wanted), (trace.y @ mixer.out_proj.weight.t(), wanted))
    if any(not (one - other).abs().max() <= 1e-4 * other.abs().max() for one, other in pairs):
        raise UserError("the fused kernels of 'cpu' are wrong on this machine: use kernel 'reference'")
    return True


def add_norm(branch: Tensor, residual: Tensor, norm: RMSNorm) -> tuple[Tensor, Tensor]:
    """(residual + branch, norm of it)."""
    from backbones.scan.cpu_norm import add_norm as run

    return run(branch, residual, norm.weight, norm.eps)


def mix(mixer: BidirectionalMixer, u: Tensor, needs: frozenset[str], carry: Tensor | None) -> tuple[Tensor, Trace]:
    """What `BidirectionalMixer.forward` computes."""
    from backbones.scan.cpu import cpu_scan
    from backbones.scan.cpu_conv import convolve

    parts = mixer.directions
    rank, states = mixer.dt_rank, mixer.d_state
    x, z = rowwise.linear(u, mixer.in_proj.weight, fast=True).chunk(2, dim=-1)
    taps = torch.stack([part.conv.weight.squeeze(1).t() for part in parts])
    conv_bias = torch.stack([part.conv.get_parameter("bias") for part in parts])
    inputs = convolve(x, taps, conv_bias, BACKWARDS)
    projected = torch.stack(
        [rowwise.linear(row, part.x_proj.weight, fast=True) for part, row in zip(parts, inputs, strict=True)]
    )
    dt, B, C = projected.split([rank, states, states], dim=-1)
    A, D = mixer.state_matrix(), torch.stack([part.D for part in parts])
    weight = torch.stack([part.dt_proj.weight.t() for part in parts])
    bias = torch.stack([part.dt_proj.bias for part in parts])
    step = torch.empty_like(inputs) if "delta" in needs else None
    apart = bool(needs & {"y_forward", "y_backward"})
    scale = 0.5 if mixer.divide else 1.0
    scanned = ScanInputs(inputs, dt, A, B, C, D, z, bias, carry)
    result = cpu_scan(scanned, (False, True), apart, scale=scale, weight=weight, step=step)
    y = (result.y[0] + result.y[1]) * scale if apart else result.y
    shown: dict[str, Tensor | None] = {"delta_mean": result.delta_mean, "B": B, "C": C, "A": A, "y": y, "delta": step}
    if apart:
        shown |= {"y_forward": result.y[0], "y_backward": result.y[1]}
    return rowwise.linear(y, mixer.out_proj.weight, fast=True), Trace(**{name: shown[name] for name in needs})

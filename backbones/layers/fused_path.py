"""The block in few passes over memory, by the same equations: on a CPU in fp32, and on a GPU by `triton`.

Addition and norm are one pass, both convolutions with their SiLU another, and the scan takes in the
softplus, the gate and the sum of its directions, on a CPU the timescale's projection too. On a GPU
the passes can be differentiated, and training takes them too; training on a CPU, fp64 and tracing
take the plain path.

On a CPU an image's bits depend neither on its batch nor on the number of threads. The plain path
cannot promise that: torch's SiLU and softplus round differently in the last few elements of a
thread's share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from backbones.common.errors import UserError
from backbones.layers import batch_invariant as rowwise
from backbones.layers.norm import RMSNorm
from backbones.layers.stacked_weights import Stacked, stacked
from backbones.scan import ScanInputs, ScanResult, chosen
from backbones.scan.check import TOLERANCE, as_written
from backbones.scan.reference import reference_scan
from backbones.sequence import Trace

if TYPE_CHECKING:
    from backbones.layers.block import Block
    from backbones.layers.mixer import BidirectionalMixer

REVERSE = (False, True)
BACKWARDS = 0b10  # the same as bits
KERNELS = {"cpu": "cpu", "cuda": "triton"}  # whose fused path there is on a device
Scan = Callable[[bool, Tensor | None, bool], ScanResult]


def serves(kernel: str, tokens: Tensor) -> bool:
    """Whether the fused path stands for the plain one: inference by the device's own kernel."""
    device, dtype = tokens.device.type, tokens.dtype
    if (
        torch.is_grad_enabled()
        or device not in KERNELS
        or (device == "cpu" and dtype != torch.float32)
    ):
        return False
    return chosen(kernel, device, dtype).kernel == KERNELS[device] and _agrees(device, dtype)


def trains(kernel: str, tokens: Tensor) -> bool:
    """Whether `add_norm` may be differentiated: on a GPU, by `triton`."""
    device, dtype = tokens.device.type, tokens.dtype
    if not torch.is_grad_enabled() or device != "cuda":
        return False
    return chosen(kernel, device, dtype).kernel == "triton" and _learns(device, dtype)


@cache
def _agrees(device: str, dtype: torch.dtype) -> bool:
    """Whether this path gives the plain path's numbers on this machine; UserError if not."""
    block, branch, residual = _specimen(device, dtype)
    with torch.no_grad(), as_written(device):
        added, u = add_norm(branch, residual, block.norm)
        found, trace = mix(block.mixer, u, frozenset({"y"}), None)
        mixer = block.float().mixer
        mixer.kernel = "reference"
        inputs = mixer.scan_inputs(block.norm(residual + branch), None)
        wanted = reference_scan(inputs, REVERSE, False).y * 0.5 @ mixer.out_proj.weight.t()
        assert trace.y is not None
        again = trace.y.float() @ mixer.out_proj.weight.t()
    pairs = ((added, residual + branch), (found, wanted), (again, wanted))
    return _close(pairs, TOLERANCE[dtype], KERNELS[device])


@cache
def _learns(device: str, dtype: torch.dtype) -> bool:
    """Whether the gradients of a block by `triton` are those of the plain path; UserError if not."""
    block, branch, residual = _specimen(device, dtype)
    with torch.enable_grad(), as_written(device):
        block.mixer.kernel = "triton"
        leaves = [branch.requires_grad_(), residual.requires_grad_()]
        found = _gradients(block, leaves, *add_norm(branch, residual, block.norm))
        block.float().mixer.kernel = "reference"
        total = residual + branch
        wanted = _gradients(block, leaves, total, block.norm(total))
    return _close(zip(found, wanted, strict=True), 3 * TOLERANCE[dtype], "triton")


def _gradients(block: Block, leaves: list[Tensor], total: Tensor, u: Tensor) -> list[Tensor]:
    """Gradients of a function of all that a block gives, for `leaves` and its parameters."""
    out, _ = block.mixer(u)
    loss = (out.float() * total).sum() + total.square().sum()
    return list(torch.autograd.grad(loss, [*leaves, *block.parameters()]))


def _specimen(device: str, dtype: torch.dtype) -> tuple[Block, Tensor, Tensor]:
    """A small block with large random weights, a branch and a residual."""
    from backbones.layers.block import Block
    from backbones.layers.mixer import BidirectionalMixer

    generator = torch.Generator().manual_seed(0)
    with torch.no_grad(), torch.device("cpu"):
        with torch.random.fork_rng(
            devices=[]
        ):  # building layers draws numbers that are the caller's
            block = Block(24, BidirectionalMixer(24, d_state=4))
        for parameter in block.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.5)
        branch, residual = torch.randn(2, 2, 21, 24, generator=generator).to(device)
    return block.to(device, dtype), branch.to(dtype), residual


def _close(pairs: Iterable[tuple[Tensor, Tensor]], tolerance: float, kernel: str) -> bool:
    for one, other in pairs:
        if not (one.float() - other).abs().max() <= tolerance * other.abs().max():
            raise UserError(
                f"the fused kernels of '{kernel}' are wrong on this machine: use kernel 'reference'"
            )
    return True


def add_norm(branch: Tensor, residual: Tensor, norm: RMSNorm) -> tuple[Tensor, Tensor]:
    """(residual + branch, norm of it)."""
    if branch.device.type == "cpu":
        from backbones.scan.cpu_norm import add_norm as run
    else:
        from backbones.scan.triton_norm import add_norm as run

    return run(branch, residual, norm.weight, norm.eps)


def mix(
    mixer: BidirectionalMixer, u: Tensor, needs: frozenset[str], carry: Tensor | None
) -> tuple[Tensor, Trace]:
    """What `BidirectionalMixer.forward` computes."""
    x, z = rowwise.linear(u, mixer.in_proj.weight, fast=True).chunk(2, dim=-1)
    inputs, scan = (_on_cpu if u.device.type == "cpu" else _on_gpu)(mixer, x, z, carry)
    step = (
        torch.empty(inputs.u.shape, dtype=inputs.A.dtype, device=u.device)
        if "delta" in needs
        else None
    )
    apart = bool(needs & {"y_forward", "y_backward"})
    result = scan(apart, step, "delta_mean" in needs)
    y = (result.y[0] + result.y[1]) * _scale(mixer) if apart else result.y
    shown: dict[str, Tensor | None] = {"delta_mean": result.delta_mean, "y": y, "delta": step}
    shown |= {"A": inputs.A, "B": inputs.B, "C": inputs.C}
    if apart:
        shown |= {"y_forward": result.y[0], "y_backward": result.y[1]}
    return rowwise.linear(y, mixer.out_proj.weight, fast=True), Trace(
        **{name: shown[name] for name in needs}
    )


def _scale(mixer: BidirectionalMixer) -> float:
    return 0.5 if mixer.divide else 1.0


def _on_cpu(
    mixer: BidirectionalMixer, x: Tensor, z: Tensor, carry: Tensor | None
) -> tuple[ScanInputs, Scan]:
    """What the scan takes in, the timescale still unprojected, and the scan."""
    from backbones.scan.cpu import cpu_scan
    from backbones.scan.cpu_conv import convolve

    parts = mixer.directions
    taps = torch.stack([part.conv.weight.squeeze(1).t() for part in parts])
    conv_bias = torch.stack([part.conv.get_parameter("bias") for part in parts])
    u = convolve(x, taps, conv_bias, BACKWARDS)
    projected = torch.stack(
        [
            rowwise.linear(row, part.x_proj.weight, fast=True)
            for part, row in zip(parts, u, strict=True)
        ]
    )
    dt, B, C = projected.split([mixer.dt_rank, mixer.d_state, mixer.d_state], dim=-1)
    A, D = mixer.state_matrix(), torch.stack([part.D for part in parts])
    weight = torch.stack([part.dt_proj.weight.t() for part in parts])
    bias = torch.stack([part.dt_proj.bias for part in parts])
    inputs = ScanInputs(u, dt, A, B, C, D, z, bias, carry)
    return inputs, lambda apart, step, mean: cpu_scan(
        inputs, REVERSE, apart, scale=_scale(mixer), weight=weight, step=step
    )


def _on_gpu(
    mixer: BidirectionalMixer, x: Tensor, z: Tensor, carry: Tensor | None
) -> tuple[ScanInputs, Scan]:
    """What the scan takes in, and the scan."""
    from backbones.scan.triton_scan import triton_scan

    inputs = gpu_inputs(stacked(mixer), x, z, carry)
    return inputs, lambda apart, step, mean: triton_scan(
        inputs, REVERSE, apart, scale=_scale(mixer), step=step, mean=mean
    )


def gpu_inputs(own: Stacked, x: Tensor, z: Tensor, carry: Tensor | None) -> ScanInputs:
    """What the `triton` scan takes in for the two halves (B, L, E) of the input projection, differentiably."""
    from backbones.scan.triton_conv import convolve

    u = convolve(x, own.taps, own.conv_bias, BACKWARDS)
    projected = torch.bmm(u.flatten(1, 2), own.project)
    states = own.A.shape[-1]
    dt, B, C = projected.split([own.expand.shape[1], states, states], dim=-1)
    delta = torch.bmm(dt, own.expand).view(u.shape)
    B, C = B.unflatten(1, x.shape[:2]), C.unflatten(1, x.shape[:2])
    return ScanInputs(u, delta, own.A, B, C, own.D, z, own.step_bias, carry)

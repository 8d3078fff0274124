"""The block in few passes over memory: on a CPU in fp32, and on a GPU by `triton`.

It computes the same equations as the plain path. Addition and norm are one pass, both convolutions
with their SiLU another, and the scan takes in the softplus, the gate and the sum over directions,
on a CPU the timescale's projection too. On a GPU the passes are differentiable, and training uses
them as well; training on a CPU, fp64 and other kernels use the plain path.

On a CPU an image's bits depend neither on its batch nor on the number of threads. The plain path
cannot promise that: torch's SiLU and softplus round differently in the last few elements of a
thread's share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache, partial

import torch
from torch import Tensor

from backbones.common.errors import UserError
from backbones.layers import plain_path
from backbones.layers.batch_invariant import linear
from backbones.layers.norm import RMSNorm
from backbones.layers.plain_path import REVERSE, is_separate, is_ungated, trace_of
from backbones.layers.scan_weights import ScanWeights, initial_weights
from backbones.layers.stacked_weights import StackCache, Stacked, stack
from backbones.scan import ScanInputs, ScanResult, chosen
from backbones.scan.check import TOLERANCE, as_written
from backbones.scan.reference import reference_scan
from backbones.sequence import Trace

BACKWARDS = 0b10  # REVERSE as bits
KERNELS = {"cpu": "cpu", "cuda": "triton"}  # the kernel of each device's fused path


def can_run(kernel: str, tokens: Tensor) -> bool:
    """Whether inference takes the fused path: `kernel` means the device's own one."""
    device, dtype = tokens.device.type, tokens.dtype
    # A tracer sees through no kernel that is not a registered operator.
    if torch.is_grad_enabled() or device not in KERNELS or torch.compiler.is_compiling():
        return False
    if device == "cpu" and dtype != torch.float32:
        return False
    if chosen(kernel, device, dtype).kernel != KERNELS[device]:
        return False
    # Once a process and dtype: a wrong kernel is an error, not a reason for the plain path.
    return check_forward(device, dtype)


def can_train(kernel: str, tokens: Tensor) -> bool:
    """Whether `add_norm` may be differentiated: on a GPU, by `triton`."""
    device, dtype = tokens.device.type, tokens.dtype
    if not torch.is_grad_enabled() or device != "cuda" or torch.compiler.is_compiling():
        return False
    if chosen(kernel, device, dtype).kernel != "triton":
        return False
    return check_gradients(device, dtype)


@cache
def check_forward(device: str, dtype: torch.dtype) -> bool:
    """Compare a block by this path with one by the plain path; UserError if they differ."""
    weights, norm, branch, residual = _random_block(device, dtype)
    with torch.no_grad(), as_written(device):
        added, u = add_norm(branch, residual, norm)
        mixed, trace = mix(weights, u, frozenset({"y", "ungated"}), None, StackCache())
        assert trace.y is not None
        assert trace.ungated is not None
        # the plain path with the same weights, rounded already, in fp32
        _widen(weights, norm)
        total = residual + branch
        inputs = plain_path.scan_inputs(weights, norm(total), None, "reference")
        # `plain_path.mix` would scan by the registered operator, whose first call imports torch's
        # compiler for over a second.
        project = weights.out_proj.weight.t()
        y = reference_scan(inputs, REVERSE, False).y
        expected = y * 0.5 @ project
        traced = trace.y.float() @ project
        ungated = reference_scan(inputs._replace(z=None), REVERSE, False).y * 0.5
    pairs = ((added, total), (mixed, expected), (traced, expected), (trace.ungated, ungated))
    return _close(pairs, TOLERANCE[dtype], KERNELS[device])


@cache
def check_gradients(device: str, dtype: torch.dtype) -> bool:
    """Compare a block's gradients by `triton` with the plain path's; UserError if they differ."""
    weights, norm, branch, residual = _random_block(device, dtype)
    leaves = [branch.requires_grad_(), residual.requires_grad_()]

    def gradients(total: Tensor, u: Tensor, kernel: str) -> list[Tensor]:
        if kernel == "triton":
            inputs = scan_inputs(weights, u, None)
        else:
            inputs = plain_path.scan_inputs(weights, u, None, kernel)
        out, _ = plain_path.mix(weights, inputs, frozenset(), kernel)
        # a function of everything that a block returns
        loss = (out.float() * total).sum() + total.square().sum()
        parameters = [*weights.parameters(), norm.weight]
        return list(torch.autograd.grad(loss, [*leaves, *parameters]))

    with torch.enable_grad(), as_written(device):
        fused = gradients(*add_norm(branch, residual, norm), "triton")
        _widen(weights, norm)
        total = residual + branch
        plain = gradients(total, norm(total), "reference")
    return _close(zip(fused, plain, strict=True), 3 * TOLERANCE[dtype], "triton")


def _random_block(device: str, dtype: torch.dtype) -> tuple[ScanWeights, RMSNorm, Tensor, Tensor]:
    """A small block's layers with large random weights, a branch and a residual."""
    generator = torch.Generator().manual_seed(0)
    # On the CPU by name: a caller may have made another device torch's default.
    with torch.no_grad(), torch.device("cpu"):
        # Building layers draws from the global generator, whose numbers belong to the caller.
        with torch.random.fork_rng(devices=[]):
            weights = initial_weights(24, 48, states=4, taps=4, rank=2, divide=True)
            norm = RMSNorm(24)
        for parameter in (*weights.parameters(), norm.weight):
            values = torch.randn(parameter.shape, generator=generator) * 0.5
            parameter.data = values.to(device, dtype)
        branch, residual = torch.randn(2, 2, 21, 24, generator=generator).to(device)
    return weights, norm, branch.to(dtype), residual


def _widen(weights: ScanWeights, norm: RMSNorm) -> None:
    """Convert the layers to fp32 in place."""
    for parameter in (*weights.parameters(), norm.weight):
        parameter.data = parameter.data.float()


def _close(pairs: Iterable[tuple[Tensor, Tensor]], tolerance: float, kernel: str) -> bool:
    for fused, plain in pairs:
        error = (fused.float() - plain).abs().max()
        # written so that NaN fails the comparison
        if not error <= tolerance * plain.abs().max():
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
    weights: ScanWeights,
    u: Tensor,
    needs: frozenset[str],
    carry: Tensor | None,
    stacks: StackCache,
) -> tuple[Tensor, Trace]:
    """Mix tokens `u` (B, L, C) as `plain_path` does: new tokens and the traced `needs`.

    `stacks` is the mixer's own.
    """
    projected = linear(u, weights.in_proj.weight, fast=True)
    # the scans' inputs and the gate
    x, z = projected.chunk(2, dim=-1)
    prepare = _on_cpu if u.device.type == "cpu" else _on_gpu
    inputs, scan = prepare(weights, stacks.get(weights), x, z, carry, "delta_mean" in needs)
    step = ungated = None
    # The kernel writes these two only where a reducer reads them.
    if "delta" in needs:
        step = torch.empty(inputs.u.shape, dtype=inputs.A.dtype, device=u.device)
    if is_ungated(needs):
        shape = inputs.u.shape if is_separate(needs, "ungated") else x.shape
        ungated = torch.empty(shape, dtype=u.dtype, device=u.device)
    separate = is_separate(needs)
    result = scan(separate, step=step, ungated=ungated)
    # The kernel scales the sum that it writes itself.
    y = (result.y[0] + result.y[1]) * weights.scale if separate else result.y
    out = linear(y, weights.out_proj.weight, fast=True)
    return out, trace_of(needs, inputs, result, y, step, ungated, weights.scale)


def _on_cpu(
    weights: ScanWeights, own: Stacked, x: Tensor, z: Tensor, carry: Tensor | None, mean: bool
) -> tuple[ScanInputs, Callable[..., ScanResult]]:
    """The inputs of the scan, with the timescale not projected yet, and the scan."""
    from backbones.scan.cpu import cpu_scan
    from backbones.scan.cpu_conv import convolve

    u = convolve(x, own.taps, own.conv_bias, BACKWARDS)
    rows: list[Tensor] = []
    for part, convolved in zip(weights.directions, u, strict=True):
        rows.append(linear(convolved, part.x_proj.weight, fast=True))
    sizes = [weights.dt_rank, weights.states, weights.states]
    dt, B, C = torch.stack(rows).split(sizes, dim=-1)
    inputs = ScanInputs(u, dt, own.A, B, C, own.D, z, own.step_bias, carry)
    # The kernel projects the timescale itself, without the rows of zeros, and always returns its
    # mean.
    expand = own.expand[:, : weights.dt_rank].contiguous()
    return inputs, partial(cpu_scan, inputs, REVERSE, scale=weights.scale, weight=expand)


def _on_gpu(
    weights: ScanWeights, own: Stacked, x: Tensor, z: Tensor, carry: Tensor | None, mean: bool
) -> tuple[ScanInputs, Callable[..., ScanResult]]:
    """The inputs of the scan, and the scan."""
    from backbones.scan.triton_scan import triton_scan

    inputs = _gpu_inputs(own, x, z, carry)
    return inputs, partial(triton_scan, inputs, REVERSE, scale=weights.scale, mean=mean)


def scan_inputs(weights: ScanWeights, u: Tensor, carry: Tensor | None) -> ScanInputs:
    """Project and convolve tokens `u` (B, L, C) for training by `triton`, differentiably."""
    x, z = linear(u, weights.in_proj.weight).chunk(2, dim=-1)
    # stacked anew, so that gradients flow to the parameters
    return _gpu_inputs(stack(weights), x, z, carry)


def _gpu_inputs(own: Stacked, x: Tensor, z: Tensor, carry: Tensor | None) -> ScanInputs:
    """The inputs of the `triton` scan for both halves (B, L, E) of the input projection."""
    from backbones.scan.triton_conv import convolve

    u = convolve(x, own.taps, own.conv_bias, BACKWARDS)
    # one product for both directions
    projected = torch.bmm(u.flatten(1, 2), own.project)
    states = own.A.shape[-1]
    dt, B, C = projected.split([own.expand.shape[1], states, states], dim=-1)
    delta = torch.bmm(dt, own.expand).view(u.shape)
    B = B.unflatten(1, x.shape[:2])
    C = C.unflatten(1, x.shape[:2])
    return ScanInputs(u, delta, own.A, B, C, own.D, z, own.step_bias, carry)

"""What a block of Mamba-2 computes beside its scan and its products: plain, or compiled on a CPU.

Compiled passes serve inference on a CPU in fp32, where an image's bits depend neither on its batch
nor on the number of threads. The plain ones serve gradients, other precisions and other devices.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from backbones.common.errors import UserError
from backbones.layers.norm import RMSNorm
from backbones.layers.plain_path import plain_convolve
from backbones.scan.check import TOLERANCE
from backbones.ssd import chosen


class Passes(NamedTuple):
    """The passes over memory of one block.

    ``add_norm``   (branch, residual, norm) to their sum, and its norm
    ``convolve``   (x, conv) to SiLU of the causal depthwise convolution of x (B, L, E)
    ``gate``       (values, gate) to values * silu(gate)
    ``gate_norm``  (values, gate, norm, shown) to its norm, and if ``shown`` the gated values, too
    ``timescales`` (delta, bias) to softplus(delta + bias) (B, L, H), and its mean (B, L)
    ``fast``       whether oneDNN may multiply
    """

    add_norm: Callable[[Tensor, Tensor, RMSNorm], tuple[Tensor, Tensor]]
    convolve: Callable[[Tensor, nn.Conv1d], Tensor]
    gate: Callable[[Tensor, Tensor], Tensor]
    gate_norm: Callable[[Tensor, Tensor, RMSNorm, bool], tuple[Tensor, Tensor | None]]
    timescales: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
    fast: bool


def passes_for(kernel: str, tokens: Tensor) -> Passes:
    """The passes of a block on `tokens` whose scan runs on `kernel`."""
    device, dtype = tokens.device.type, tokens.dtype
    if torch.is_grad_enabled() or device != "cpu" or dtype != torch.float32:
        return PLAIN
    # a tracer sees through the plain ones alone
    if torch.compiler.is_compiling():
        return PLAIN
    return compiled() if chosen(kernel, device, dtype).kernel == "cpu" else PLAIN


def _add_norm(branch: Tensor, residual: Tensor, norm: RMSNorm) -> tuple[Tensor, Tensor]:
    total = residual + branch
    return total, norm(total)


def _convolve(x: Tensor, conv: nn.Conv1d) -> Tensor:
    return plain_convolve(x, conv.weight, conv.bias, backwards=False)


def _gate(values: Tensor, gate: Tensor) -> Tensor:
    return values * functional.silu(gate)


def _gate_norm(
    values: Tensor, gate: Tensor, norm: RMSNorm, shown: bool
) -> tuple[Tensor, Tensor | None]:
    gated = _gate(values, gate)
    return norm(gated), gated


def _timescales(delta: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    wide = torch.promote_types(delta.dtype, torch.float32)
    step = functional.softplus(delta.to(wide) + bias.to(wide))
    return step, step.mean(-1)


PLAIN = Passes(_add_norm, _convolve, _gate, _gate_norm, _timescales, fast=False)


@cache
def compiled() -> Passes:
    """The compiled passes; UserError if they differ from the plain ones on this machine."""
    # imported late: Numba takes seconds
    from backbones.scan import cpu_conv, cpu_norm
    from backbones.ssd import cpu, cpu_gate

    def add_norm(branch: Tensor, residual: Tensor, norm: RMSNorm) -> tuple[Tensor, Tensor]:
        return cpu_norm.add_norm(branch, residual, norm.weight, norm.eps)

    def convolve(x: Tensor, conv: nn.Conv1d) -> Tensor:
        # one direction; (E, 1, taps) as (1, taps, E)
        taps = conv.weight.permute(1, 2, 0).contiguous()
        return cpu_conv.convolve(x, taps, conv.get_parameter("bias"), backwards=0)[0]

    def gate_norm(
        values: Tensor, gate: Tensor, norm: RMSNorm, shown: bool
    ) -> tuple[Tensor, Tensor | None]:
        gated = torch.empty(values.shape) if shown else None
        return cpu_gate.gate_norm(values, gate, norm.weight, norm.eps, gated), gated

    passes = Passes(add_norm, convolve, cpu_gate.gated, gate_norm, cpu.timescales, fast=True)
    _compare(passes, PLAIN)
    return passes


def _compare(ours: Passes, theirs: Passes) -> None:
    """UserError unless both give the same for random tokens."""
    generator = torch.Generator().manual_seed(0)
    # On the CPU by name: a caller may have made another device torch's default.
    with torch.no_grad(), torch.device("cpu"):
        # Building a layer draws from the global generator, whose numbers belong to the caller.
        with torch.random.fork_rng(devices=[]):
            conv, norm = nn.Conv1d(24, 24, 4, groups=24), RMSNorm(24)
        norm.weight.copy_(torch.randn(24, generator=generator))
        one, two = 3 * torch.randn(2, 2, 37, 24, generator=generator)
        bias = torch.randn(24, generator=generator)
        pairs = [
            *zip(ours.add_norm(one, two, norm), theirs.add_norm(one, two, norm), strict=True),
            (ours.convolve(one, conv), theirs.convolve(one, conv)),
            (ours.gate(one, two), theirs.gate(one, two)),
            *zip(
                ours.gate_norm(one, two, norm, True),
                theirs.gate_norm(one, two, norm, True),
                strict=True,
            ),
            *zip(ours.timescales(one, bias), theirs.timescales(one, bias), strict=True),
        ]
        for mine, plain in pairs:
            assert mine is not None
            assert plain is not None
            error = (mine - plain).abs().max()
            # written so that NaN fails the comparison
            if not error <= TOLERANCE[torch.float32] * plain.abs().max():
                raise UserError(
                    "the compiled passes of kernel 'cpu' are wrong on this machine: "
                    "use kernel 'chunked'"
                )

"""The selective scan in plain PyTorch, with which every other kernel is compared.

One state update per token; no tensor of shape (B, L, E, N) is ever made. Differentiable by
autograd, on any device, in fp32 and fp64.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from backbones.scan.contract import ScanInputs, ScanResult, state_dtype


def reference_scan(inputs: ScanInputs, reverse: tuple[bool, ...], separate: bool) -> ScanResult:
    """Scan the stacked directions one after the other (equations in `selective_scan`)."""
    dtype = inputs.u.dtype
    wide = inputs.map(lambda tensor: tensor.to(state_dtype(dtype)))
    outputs: list[Tensor] = []
    means: list[Tensor] = []
    for index, backwards in enumerate(reverse):
        y, mean = _one_direction(wide.direction(index), backwards)
        outputs.append(y if wide.z is None else y * functional.silu(wide.z))
        means.append(mean)
    y = torch.stack(outputs) if separate else sum(outputs[1:], start=outputs[0])
    return ScanResult(y.to(dtype), torch.stack(means))


def _one_direction(inputs: ScanInputs, backwards: bool) -> tuple[Tensor, Tensor]:
    """Output before the gate (B, L, E) and channel mean of the timescale (B, L)."""
    u, delta, A, B, C, D, _, delta_bias, carry = inputs
    step = functional.softplus(delta if delta_bias is None else delta + delta_bias)
    # decay handed over by dropped tokens does not scale the input
    decay = step if carry is None else step + carry
    driven = step * u
    length = u.shape[1]
    state = torch.zeros(u.shape[0], *A.shape, dtype=u.dtype, device=u.device)
    rows = [state] * length
    # Backwards by index instead of flipping, so that everything stays in image order.
    order = reversed(range(length)) if backwards else range(length)
    for token in order:
        factor = torch.exp(decay[:, token, :, None] * A)
        drive = driven[:, token, :, None] * B[:, token, None, :]
        state = factor * state + drive
        rows[token] = torch.einsum("ben,bn->be", state, C[:, token])
    y = torch.stack(rows, dim=1)
    if D is not None:
        y = y + D * u
    return y, step.mean(dim=-1)

"""The scan as one registered torch operator, so that counters, tracers and autograd see a single op.

`mamba_suite::selective_scan` takes the kernel's name. The gradient of `cpu` and `triton` is the
operator `mamba_suite::selective_scan_backward`; that of `reference` is autograd through a second
run of it.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from backbones.scan.contract import ScanInputs, state_dtype
from backbones.scan.reference import reference_scan


@torch.library.custom_op("mamba_suite::selective_scan", mutates_args=())
def scan_operator(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    delta_bias: Tensor | None,
    carry: Tensor | None,
    reverse: Sequence[bool],
    separate: bool,
    kernel: str,
) -> tuple[Tensor, Tensor]:
    """`selective_scan` by the named kernel (`reference`, `cpu` or `triton`), as (y, delta_mean)."""
    inputs = ScanInputs(u, delta, A, B, C, D, z, delta_bias, carry)
    if kernel == "cpu":
        from backbones.scan.cpu import cpu_scan

        result = cpu_scan(inputs, tuple(reverse), separate)
        return result.y, result.delta_mean
    if kernel == "triton":
        from backbones.scan.triton_scan import triton_scan

        result = triton_scan(inputs, tuple(reverse), separate)
        return result.y, result.delta_mean
    y, delta_mean = reference_scan(inputs, tuple(reverse), separate)
    return y.contiguous(), delta_mean


@scan_operator.register_fake
def _(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    delta_bias: Tensor | None,
    carry: Tensor | None,
    reverse: Sequence[bool],
    separate: bool,
    kernel: str,
) -> tuple[Tensor, Tensor]:
    y = u.new_empty(u.shape if separate else u.shape[1:])
    return y, u.new_empty(u.shape[:3], dtype=state_dtype(u.dtype))


@torch.library.custom_op("mamba_suite::selective_scan_backward", mutates_args=())
def backward_operator(
    dy: Tensor,
    dmean: Tensor,
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    delta_bias: Tensor | None,
    carry: Tensor | None,
    reverse: Sequence[bool],
    separate: bool,
    kernel: str,
) -> list[Tensor]:
    """Gradients of the nine inputs by the kernel `cpu` or `triton`; an empty tensor for an input that was None."""
    inputs = ScanInputs(u, delta, A, B, C, D, z, delta_bias, carry)
    if kernel == "triton":
        from backbones.scan.triton_scan import triton_scan_backward

        return triton_scan_backward(dy, dmean, inputs, tuple(reverse), separate)
    from backbones.scan.cpu import cpu_scan_backward

    return cpu_scan_backward(dy, dmean, inputs, tuple(reverse), separate)


@backward_operator.register_fake
def _(
    dy: Tensor,
    dmean: Tensor,
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    delta_bias: Tensor | None,
    carry: Tensor | None,
    reverse: Sequence[bool],
    separate: bool,
    kernel: str,
) -> list[Tensor]:
    inputs = ScanInputs(u, delta, A, B, C, D, z, delta_bias, carry)
    return [
        u.new_empty(0) if given is None else torch.empty_like(given).contiguous()
        for given in inputs
    ]


def _remember(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs[:9])
    ctx.reverse, ctx.separate, ctx.kernel = inputs[9:]


def _differentiate(ctx: Any, dy: Tensor, dmean: Tensor) -> tuple[Any, ...]:
    inputs = ScanInputs(*ctx.saved_tensors)
    if ctx.kernel != "reference":
        found = backward_operator(
            dy.contiguous(), dmean.contiguous(), *inputs, ctx.reverse, ctx.separate, ctx.kernel
        )
        gradients = [
            None if given is None else part for given, part in zip(inputs, found, strict=True)
        ]
    else:
        gradients = _reference_gradients(dy, dmean, inputs, tuple(ctx.reverse), ctx.separate)
    return (*gradients, None, None, None)


def _reference_gradients(
    dy: Tensor, dmean: Tensor, inputs: ScanInputs, reverse: tuple[bool, ...], separate: bool
) -> list[Tensor | None]:
    with torch.enable_grad():
        leaves = inputs.map(lambda tensor: tensor.detach().requires_grad_())
        outputs = reference_scan(leaves, reverse, separate)
    wanted = [leaf for leaf in leaves if leaf is not None]
    found = iter(torch.autograd.grad(tuple(outputs), wanted, (dy, dmean), allow_unused=True))
    return [None if leaf is None else next(found) for leaf in leaves]


scan_operator.register_autograd(_differentiate, setup_context=_remember)

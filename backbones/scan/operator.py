"""The scan as one registered torch operator.

Counters, tracers and autograd see a single operator. `mamba_suite::selective_scan` takes the
kernel's name. The gradient of `cpu` and `triton` is the operator
`mamba_suite::selective_scan_backward`; that of `reference` is autograd through a second run of it.

`mamba_suite::ungated_outputs` repeats a scan for a trace that shows its outputs before the gate. It
has a name of its own, since it is no work of the block: the kernels of the fused path write them
beside their result.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from backbones.scan.contract import (
    Scan,
    ScanInputs,
    autograd_gradients,
    packed_gradients,
    state_dtype,
)
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
    result = plain_function(kernel)(inputs, tuple(reverse), separate)
    return result.y.contiguous(), result.delta_mean


def plain_function(kernel: str) -> Scan:
    """The kernel without the operator around it."""
    # Kernels are imported on use: numba and Triton take seconds, and may be missing.
    if kernel == "cpu":
        from backbones.scan.cpu import cpu_scan

        return cpu_scan
    if kernel == "triton":
        from backbones.scan.triton_scan import triton_scan

        return triton_scan
    if kernel == "mamba_ssm":
        from backbones.scan.stock import stock_scan

        return stock_scan
    return reference_scan


@scan_operator.register_fake
def _(u: Tensor, *others: Any) -> tuple[Tensor, Tensor]:
    # only shapes and dtypes, for tracers: `separate` is the last argument but one
    y = u.new_empty(u.shape if others[-2] else u.shape[1:])
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
    """Gradients of the nine inputs by `cpu` or `triton`; an empty tensor for an input of None."""
    inputs = ScanInputs(u, delta, A, B, C, D, z, delta_bias, carry)
    if kernel == "triton":
        from backbones.scan.triton_scan import triton_scan_backward

        return triton_scan_backward(dy, dmean, inputs, tuple(reverse), separate)
    from backbones.scan.cpu import cpu_scan_backward

    return cpu_scan_backward(dy, dmean, inputs, tuple(reverse), separate)


@backward_operator.register_fake
def _(dy: Tensor, dmean: Tensor, *arguments: Any) -> list[Tensor]:
    inputs = ScanInputs(*arguments[:9])
    return packed_gradients(inputs, inputs.map(torch.empty_like))


def _remember(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    # the nine tensors, then the three settings
    ctx.save_for_backward(*inputs[:9])
    ctx.reverse, ctx.separate, ctx.kernel = inputs[9:]


def _differentiate(ctx: Any, dy: Tensor, dmean: Tensor) -> tuple[Any, ...]:
    inputs = ScanInputs(*ctx.saved_tensors)
    gradients = _gradients(inputs, dy, dmean, ctx.reverse, ctx.separate, ctx.kernel)
    # `reverse`, `separate` and `kernel` have no gradient
    return (*gradients, None, None, None)


def _gradients(
    inputs: ScanInputs,
    dy: Tensor,
    dmean: Tensor,
    reverse: Sequence[bool],
    separate: bool,
    kernel: str,
) -> list[Tensor | None]:
    """Gradients of the nine inputs for those of both outputs."""
    if kernel == "reference":
        directions = tuple(reverse)
        return autograd_gradients(
            lambda leaves: reference_scan(leaves, directions, separate), inputs, (dy, dmean)
        )
    # an operator of its own, so that counters see the backward pass as one as well
    packed = backward_operator(
        dy.contiguous(), dmean.contiguous(), *inputs, reverse, separate, kernel
    )
    pairs = zip(inputs, packed, strict=True)
    return [None if tensor is None else gradient for tensor, gradient in pairs]


scan_operator.register_autograd(_differentiate, setup_context=_remember)


@torch.library.custom_op("mamba_suite::ungated_outputs", mutates_args=())
def ungated_operator(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    delta_bias: Tensor | None,
    carry: Tensor | None,
    reverse: Sequence[bool],
    kernel: str,
) -> Tensor:
    """Each direction's output before the gate (K, B, L, E), by the named kernel."""
    inputs = ScanInputs(u, delta, A, B, C, D, None, delta_bias, carry)
    return plain_function(kernel)(inputs, tuple(reverse), True).y.contiguous()


@ungated_operator.register_fake
def _(u: Tensor, *others: Any) -> Tensor:
    return u.new_empty(u.shape)


def _remember_ungated(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:8])
    ctx.reverse, ctx.kernel = inputs[8:]


def _differentiate_ungated(ctx: Any, dy: Tensor) -> tuple[Any, ...]:
    u, delta, A, B, C, D, bias, carry = ctx.saved_tensors
    inputs = ScanInputs(u, delta, A, B, C, D, None, bias, carry)
    dmean = dy.new_zeros(dy.shape[:3], dtype=state_dtype(dy.dtype))
    gradients = _gradients(inputs, dy, dmean, ctx.reverse, True, ctx.kernel)
    # that of the gate is left out
    return (*gradients[:6], *gradients[7:], None, None)


ungated_operator.register_autograd(_differentiate_ungated, setup_context=_remember_ungated)

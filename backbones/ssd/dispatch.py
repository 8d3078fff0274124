"""Which kernel a scan with heads runs on, after checking that it is right.

As in `backbones.scan.dispatch`: a kernel other than `reference` is used only after it agreed with
`reference` in this process, and one that was named and cannot be used is an error.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function

from backbones.common.errors import UserError
from backbones.common.registry import nearest
from backbones.scan.dispatch import Choice, cpu_obstacle, type_name
from backbones.ssd import stock
from backbones.ssd.check import check_forward, check_gradients
from backbones.ssd.chunked import chunked_ssd
from backbones.ssd.contract import HeadInputs
from backbones.ssd.reference import reference_ssd


def _cpu_ssd(inputs: HeadInputs) -> Tensor:
    # imported on use: Numba takes seconds, and may be missing
    from backbones.ssd.cpu import cpu_ssd

    return cpu_ssd(inputs)


FUNCTIONS: dict[str, Callable[[HeadInputs], Tensor]] = {
    "reference": reference_ssd,
    "chunked": chunked_ssd,
    "cpu": _cpu_ssd,
    "mamba_ssm": stock.stock_ssd,
}
KERNELS = ("auto", *FUNCTIONS)
# As in `backbones.scan.dispatch`; a tracer sees through these two.
_PROVEN: dict[tuple[str, str, torch.dtype], str] = {}
TRACEABLE = ("reference", "chunked")


def chosen(kernel: str, device: torch.device | str, dtype: torch.dtype) -> Choice:
    """The kernel that `kernel` means for tensors of `device` and `dtype`, after its self-check.

    UserError if the kernel does not serve Mamba-2 or these tensors, or disagrees with the
    reference.
    """
    kind = torch.device(device).type
    choice = _chosen(kernel, kind, dtype)
    # the products of `cpu`, which its gradients run as well, are those of `chunked`
    traced = "chunked" if choice.kernel == "cpu" else choice.kernel
    if traced in TRACEABLE:
        _PROVEN[kernel, kind, dtype] = traced
    return choice


def check_kernel(kernel: str, device: str, dtype: torch.dtype) -> None:
    """UserError if a kernel does not support `device` and `dtype`; nothing is computed for that."""
    if obstacle := why_not(kernel, device, dtype):
        raise UserError(obstacle)


def ssd(inputs: HeadInputs, kernel: str) -> Tensor:
    """Output (B, L, E) of the equations in `HeadInputs`, by the kernel that `kernel` means.

    Differentiable. A `TorchFunctionMode` sees one call of this function and may replace it:
    counters of FLOPs count it by its formula.
    """
    if has_torch_function(tuple(inputs)):
        result: Tensor = handle_torch_function(ssd, tuple(inputs), inputs, kernel)
        return result
    inputs.check()
    if torch.compiler.is_compiling():
        asked = kernel, inputs.u.device.type, inputs.u.dtype
        return FUNCTIONS[_PROVEN.get(asked, "reference")](inputs)
    name = chosen(kernel, inputs.u.device, inputs.u.dtype).kernel
    needs_gradients = torch.is_grad_enabled() and any(
        part is not None and part.requires_grad for part in inputs
    )
    if needs_gradients and name != "reference":
        prove_gradients(name, inputs.u.device.type, inputs.u.dtype)
    return FUNCTIONS[name](inputs)


@cache
def prove_gradients(kernel: str, device: str, dtype: torch.dtype) -> None:
    """UserError unless the gradients of `kernel` are those of the reference on this machine."""
    check_gradients(kernel, FUNCTIONS[kernel], torch.device(device), dtype)


@cache
def _chosen(kernel: str, device: str, dtype: torch.dtype) -> Choice:
    check_kernel(kernel, device, dtype)
    choice = _automatic(device, dtype) if kernel == "auto" else Choice(kernel, "asked for")
    if choice.kernel == "cpu":
        # it takes the place of `cpu` for gradients and for tracers
        check_forward("chunked", chunked_ssd, torch.device(device), dtype)
    if choice.kernel != "reference":
        check_forward(choice.kernel, FUNCTIONS[choice.kernel], torch.device(device), dtype)
    return choice


def _automatic(device: str, dtype: torch.dtype) -> Choice:
    # Not `mamba_ssm`: on an H200 its gradients disagreed with the reference's in bf16, and it was
    # not shown to be faster.
    if device == "cuda":
        return Choice("chunked", f"right for {type_name(dtype)} on {device}, with gradients")
    if obstacle := why_not("cpu", device, dtype):
        return Choice("chunked", obstacle)
    return Choice("cpu", f"fastest for {type_name(dtype)} on {device}")


def why_not(kernel: str, device: str, dtype: torch.dtype) -> str:
    """Why `kernel` does not support these tensors, in one line with a fix; empty if it does."""
    if kernel not in KERNELS:
        others = f"it has {', '.join(KERNELS)}"
        return f"Mamba-2 has no scan kernel '{kernel}' ({others}): {nearest(kernel, KERNELS)}"
    if kernel == "cpu":
        return cpu_obstacle(device, dtype, module="backbones.ssd.cpu")
    if kernel != "mamba_ssm":
        return ""
    if device != "cuda":
        return f"scan kernel 'mamba_ssm' needs a CUDA device, not {device}: use 'auto'"
    if dtype == torch.float32:
        # seen on an H200: off by 2e-3 of the largest value
        return "scan kernel 'mamba_ssm' rounds products of fp32 to TF32: use 'chunked' or 'auto'"
    if dtype not in (torch.bfloat16, torch.float16):
        return f"scan kernel 'mamba_ssm' cannot compute in {type_name(dtype)}: use 'auto'"
    return stock.obstacle()

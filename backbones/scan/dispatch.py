"""Which kernel a scan runs on, after checking that it is right.

A kernel other than `reference` is used only after it agreed with `reference` on random and extreme
input in this process. A kernel that was named and cannot be used is an error; nothing is replaced
silently.
"""

from __future__ import annotations

import os
import shutil
from functools import cache, partial
from importlib import import_module
from typing import NamedTuple

import torch
from torch import Tensor

from backbones.common.errors import UserError
from backbones.common.registry import nearest
from backbones.scan import check
from backbones.scan.contract import ScanInputs, ScanResult
from backbones.scan.operator import plain_function, scan_operator, ungated_operator

KERNELS = ("auto", "reference", "cpu", "mamba_ssm", "triton")
# The order in which `auto` tries kernels. On an H200 `triton` took a sixth of mamba_ssm's time, a
# third with gradients.
PREFERRED = {"cpu": ("cpu",), "cuda": ("triton", "mamba_ssm")}
# By kernel as it was asked for, device and dtype: the registered operators that passed their
# self-check in this process. A tracer cannot run a check, since its tensors have no values.
_PROVEN: dict[tuple[str, str, torch.dtype], str] = {}
OPERATORS = ("reference", "cpu", "triton")


class Choice(NamedTuple):
    """The kernel that will run, and why."""

    kernel: str
    reason: str


def chosen(kernel: str, device: torch.device | str, dtype: torch.dtype) -> Choice:
    """The kernel that `kernel` means for tensors of `device` and `dtype`, after its self-check.

    UserError if the kernel is unknown, does not support them, or disagrees with the reference.
    """
    kind = torch.device(device).type
    choice = _chosen(kernel, kind, dtype)
    if choice.kernel in OPERATORS:
        _PROVEN[kernel, kind, dtype] = choice.kernel
    return choice


def running(kernel: str, device: torch.device, dtype: torch.dtype) -> str:
    """Name of the kernel that `kernel` means, as `chosen` says.

    While a graph is traced (torch.compile, torch.export) it is one that was proven before, else the
    reference.
    """
    if torch.compiler.is_compiling():
        return _PROVEN.get((kernel, device.type, dtype), "reference")
    return chosen(kernel, device, dtype).kernel


def check_kernel(kernel: str, device: str, dtype: torch.dtype) -> None:
    """UserError if a kernel does not support `device` and `dtype`; nothing is compiled for that."""
    if obstacle := why_not(kernel, device, dtype):
        raise UserError(obstacle)


def run(
    inputs: ScanInputs, reverse: tuple[bool, ...], separate: bool, kernel: str, mean: bool
) -> ScanResult:
    """Scan by the kernel that `kernel` means."""
    return _call(_checked(inputs, kernel), inputs, reverse, separate, mean)


def ungated_outputs(inputs: ScanInputs, reverse: tuple[bool, ...], kernel: str) -> Tensor:
    """Each direction's output before the gate (K, B, L, E): the scan repeated without it."""
    name, bare = _checked(inputs, kernel), inputs._replace(z=None)
    if name == "mamba_ssm":
        return _call(name, bare, reverse, True, mean=False).y
    tensors = [part for field, part in bare._asdict().items() if field != "z"]
    outputs: Tensor = ungated_operator(*tensors, list(reverse), name)
    return outputs


def _checked(inputs: ScanInputs, kernel: str) -> str:
    """The kernel that `kernel` means, its gradients proven where they are needed."""
    name = running(kernel, inputs.u.device, inputs.u.dtype)
    needs_gradients = torch.is_grad_enabled() and any(
        part is not None and part.requires_grad for part in inputs
    )
    # Checked on the first gradient: inference must not wait for compiling the backward pass.
    if needs_gradients and name != "reference" and not torch.compiler.is_compiling():
        prove_gradients(name, inputs.u.device.type, inputs.u.dtype)
    return name


def _call(
    name: str, inputs: ScanInputs, reverse: tuple[bool, ...], separate: bool, mean: bool = True
) -> ScanResult:
    """Scan by the named kernel, differentiably."""
    if name == "mamba_ssm":
        from backbones.scan.stock import stock_scan

        return stock_scan(inputs, reverse, separate, mean)
    return ScanResult(*scan_operator(*inputs, list(reverse), separate, name))


@cache
def _chosen(kernel: str, device: str, dtype: torch.dtype) -> Choice:
    if kernel not in KERNELS:
        raise UserError(f"unknown scan kernel '{kernel}': {nearest(kernel, KERNELS)}")
    choice = _automatic(device, dtype) if kernel == "auto" else Choice(kernel, "asked for")
    check_kernel(choice.kernel, device, dtype)
    if choice.kernel != "reference":
        _check_forward(choice.kernel, device, dtype)
    return choice


def _check_forward(kernel: str, device: str, dtype: torch.dtype) -> None:
    try:
        # The operator's first call imports torch's compiler, which takes over a second.
        scan = plain_function(kernel)
        check.check_forward(kernel, scan, torch.device(device), dtype)
    except UserError:
        raise
    # A compiler on the user's machine or a driver may fail in any way.
    except Exception as error:
        line = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(
            f"scan kernel '{kernel}' cannot run here ({line}): use kernel 'reference'"
        ) from error


@cache
def prove_gradients(kernel: str, device: str, dtype: torch.dtype) -> None:
    """UserError unless the gradients of `kernel` are those of the reference on this machine."""
    check.check_gradients(kernel, partial(_call, kernel), torch.device(device), dtype)


def _automatic(device: str, dtype: torch.dtype) -> Choice:
    obstacles: list[str] = []
    for candidate in PREFERRED.get(device, ("cpu",)):
        obstacle = why_not(candidate, device, dtype)
        if not obstacle:
            reasons = [*obstacles, f"fastest for {type_name(dtype)} on {device}"]
            return Choice(candidate, "; ".join(reasons))
        obstacles.append(obstacle)
    return Choice("reference", "; ".join(obstacles))


def why_not(kernel: str, device: str, dtype: torch.dtype) -> str:
    """Why `kernel` does not support these tensors, in one line with a fix; empty if it does."""
    if kernel == "cpu":
        return cpu_obstacle(device, dtype)
    if kernel in ("mamba_ssm", "triton"):
        return _cuda_obstacle(kernel, device, dtype)
    return ""


def cpu_obstacle(device: str, dtype: torch.dtype, module: str = "backbones.scan.cpu") -> str:
    """Why the kernel `cpu` in `module` cannot run, in one line with a fix; empty if it can."""
    kernel = "scan kernel 'cpu'"
    if device != "cpu":
        return f"{kernel} cannot run on {device}: use 'auto'"
    if dtype != torch.float32:
        return f"{kernel} computes in float32, not {type_name(dtype)}: use 'reference' or 'auto'"
    try:
        import_module(module)
    except ImportError as error:
        return f"{kernel} cannot be imported ({error}): pip install numba, or use 'reference'"
    return ""


def _cuda_obstacle(kernel: str, device: str, dtype: torch.dtype) -> str:
    if device != "cuda":
        return f"scan kernel '{kernel}' needs a CUDA device, not {device}: use 'auto'"
    if dtype not in (torch.float32, torch.bfloat16, torch.float16):
        computed = type_name(dtype)
        return f"scan kernel '{kernel}' cannot compute in {computed}: use 'reference' or 'auto'"
    if kernel == "triton":
        return triton_obstacle()
    from backbones.scan import stock

    return stock.obstacle()


@cache
def triton_obstacle() -> str:
    """Why Triton programs cannot run here, in one line with a fix; empty if they can."""
    kernel = "scan kernel 'triton'"
    if not torch.cuda.is_available():
        return f"{kernel} finds no CUDA device: use 'auto'"
    # Triton compiles its launchers with the system's compiler.
    if not (os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")):
        return f"{kernel} needs a C compiler: install gcc, or use 'reference'"
    try:
        import_module("backbones.scan.triton_scan")
    except ImportError as error:
        return f"{kernel} cannot be imported ({error}): pip install triton, or use 'reference'"
    return ""


def type_name(dtype: torch.dtype) -> str:
    """The name of `dtype` without its package."""
    return str(dtype).removeprefix("torch.")

"""Which kernel a scan runs on, and the proof that it may.

A kernel other than `reference` is used only after it agreed with `reference` on random and
adversarial input in this process. A kernel that was asked for by name and cannot serve is an error;
nothing is swapped silently.
"""

from __future__ import annotations

import os
import shutil
from functools import cache
from importlib import import_module
from typing import NamedTuple

import torch

from backbones.common.errors import UserError
from backbones.common.registry import nearest
from backbones.scan import check
from backbones.scan.contract import ScanInputs, ScanResult
from backbones.scan.operator import scan_operator

KERNELS = ("auto", "reference", "cpu", "mamba_ssm", "triton")
# What `auto` tries in turn. On an H200 `triton` took a sixth of the stock kernel's time, a third
# with gradients.
PREFERRED = {"cpu": ("cpu",), "cuda": ("triton", "mamba_ssm")}


class Choice(NamedTuple):
    """The kernel that will run, and why."""

    kernel: str
    reason: str


def chosen(kernel: str, device: torch.device | str, dtype: torch.dtype) -> Choice:
    """The kernel that `kernel` means for tensors of `device` and `dtype`, once it has passed its self-check.

    UserError if the kernel is unknown, cannot serve them, or disagrees with the reference.
    """
    return _chosen(kernel, torch.device(device).type, dtype)


def check_kernel(kernel: str, device: str, dtype: torch.dtype) -> None:
    """UserError for a kernel that cannot serve tensors of `device` and `dtype`; nothing is compiled for that."""
    if obstacle := why_not(kernel, device, dtype):
        raise UserError(obstacle)


def run(
    inputs: ScanInputs, reverse: tuple[bool, ...], separate: bool, kernel: str, mean: bool
) -> ScanResult:
    """Scan by the kernel that `kernel` means."""
    name = chosen(kernel, inputs.u.device, inputs.u.dtype).kernel
    if (
        name != "reference"
        and torch.is_grad_enabled()
        and any(part is not None and part.requires_grad for part in inputs)
    ):
        prove_gradients(name, inputs.u.device.type, inputs.u.dtype)
    return _call(name, inputs, reverse, separate, mean)


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
        check.check_forward(kernel, _plain_function(kernel), torch.device(device), dtype)
    except UserError:
        raise
    except Exception as error:  # a compiler on the user's machine, a driver: they fail in many ways
        line = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(
            f"scan kernel '{kernel}' cannot run here ({line}): use kernel 'reference'"
        ) from error


def _plain_function(name: str) -> check.Scan:
    """The kernel without the operator around it, whose first call imports torch's compiler (over a second)."""
    if name == "cpu":
        from backbones.scan.cpu import cpu_scan

        return cpu_scan
    if name == "triton":
        from backbones.scan.triton_scan import triton_scan

        return triton_scan
    return lambda *given: _call(name, *given)


@cache
def prove_gradients(kernel: str, device: str, dtype: torch.dtype) -> None:
    """UserError unless the gradients of `kernel` are those of the reference on this machine."""
    check.check_gradients(kernel, lambda *given: _call(kernel, *given), torch.device(device), dtype)


def _automatic(device: str, dtype: torch.dtype) -> Choice:
    obstacles: list[str] = []
    for candidate in PREFERRED.get(device, ("cpu",)):
        obstacle = why_not(candidate, device, dtype)
        if not obstacle:
            return Choice(
                candidate, "; ".join([*obstacles, f"fastest for {_name(dtype)} on {device}"])
            )
        obstacles.append(obstacle)
    return Choice("reference", "; ".join(obstacles))


def why_not(kernel: str, device: str, dtype: torch.dtype) -> str:
    """Why `kernel` cannot serve `device` and `dtype`, in one line that names the mend; empty if it can."""
    if kernel == "cpu":
        return _cpu_obstacle(device, dtype)
    if kernel in ("mamba_ssm", "triton"):
        return _cuda_obstacle(kernel, device, dtype)
    return ""


def _cpu_obstacle(device: str, dtype: torch.dtype) -> str:
    if device != "cpu":
        return f"scan kernel 'cpu' cannot run on {device}: use 'auto'"
    if dtype != torch.float32:
        return (
            f"scan kernel 'cpu' computes in float32, not {_name(dtype)}: use 'reference' or 'auto'"
        )
    try:
        import_module("backbones.scan.cpu")
    except ImportError as error:
        return (
            f"scan kernel 'cpu' cannot be imported ({error}): pip install numba, or use 'reference'"
        )
    return ""


def _cuda_obstacle(kernel: str, device: str, dtype: torch.dtype) -> str:
    if device != "cuda":
        return f"scan kernel '{kernel}' needs a CUDA device, not {device}: use 'auto'"
    if dtype not in (torch.float32, torch.bfloat16, torch.float16):
        return f"scan kernel '{kernel}' cannot compute in {_name(dtype)}: use 'reference' or 'auto'"
    if kernel == "triton":
        return triton_obstacle()
    from backbones.scan import stock

    return stock.obstacle()


@cache
def triton_obstacle() -> str:
    """Why Triton programs cannot run here, in one line that names the mend; empty if they can."""
    if not torch.cuda.is_available():
        return "scan kernel 'triton' finds no CUDA device: use 'auto'"
    if not (os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")):
        return "scan kernel 'triton' needs a C compiler: install gcc, or use 'reference'"
    try:
        import_module("backbones.scan.triton_scan")
    except ImportError as error:
        return f"scan kernel 'triton' cannot be imported ({error}): pip install triton, or use 'reference'"
    return ""


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")

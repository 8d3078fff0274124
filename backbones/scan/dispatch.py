"""Which kernel a scan runs on, and the proof that it may.

A kernel other than `reference` is used only after it agreed with `reference` on random and adversarial input in this
process. A kernel that was asked for by name and cannot serve is an error; nothing is swapped silently.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import NamedTuple

import torch

from backbones.errors import UserError
from backbones.registry import nearest

KERNELS = ("auto", "reference", "cpu", "mamba_ssm", "triton")


class Choice(NamedTuple):
    """The kernel that will run, and why."""

    kernel: str
    reason: str


def chosen(kernel: str, device: torch.device | str, dtype: torch.dtype) -> Choice:
    """The kernel that `kernel` means for tensors of `device` and `dtype`; UserError if it cannot serve them."""
    if kernel not in KERNELS:
        raise UserError(f"unknown scan kernel '{kernel}': {nearest(kernel, KERNELS)}")
    device = torch.device(device)
    if kernel == "auto":
        return _automatic(device, dtype)
    obstacle = _obstacle(kernel, device, dtype)
    if obstacle:
        raise UserError(obstacle)
    return Choice(kernel, "asked for")


def _automatic(device: torch.device, dtype: torch.dtype) -> Choice:
    candidate = "mamba_ssm" if device.type == "cuda" else "cpu"
    obstacle = _obstacle(candidate, device, dtype)
    return (
        Choice("reference", obstacle) if obstacle else Choice(candidate, f"fastest for {_name(dtype)} on {device.type}")
    )


def _obstacle(kernel: str, device: torch.device, dtype: torch.dtype) -> str:
    """Why `kernel` cannot serve `device` and `dtype`, in one line that names the mend; empty if it can."""
    if kernel == "triton":
        return "scan kernel 'triton' is not in this version: use 'mamba_ssm', 'reference' or 'auto'"
    if kernel == "cpu":
        return _cpu_obstacle(device, dtype)
    if kernel == "mamba_ssm":
        return _mamba_ssm_obstacle(device, dtype)
    return ""


def _cpu_obstacle(device: torch.device, dtype: torch.dtype) -> str:
    if device.type != "cpu":
        return f"scan kernel 'cpu' cannot run on {device.type}: use 'auto'"
    if dtype != torch.float32:
        return f"scan kernel 'cpu' computes in float32, not {_name(dtype)}: use 'reference' or 'auto'"
    return _import_failure("backbones.scan.cpu", "pip install numba")


def _mamba_ssm_obstacle(device: torch.device, dtype: torch.dtype) -> str:
    if device.type != "cuda":
        return f"scan kernel 'mamba_ssm' needs a CUDA device, not {device.type}: use 'auto'"
    if dtype not in (torch.float32, torch.bfloat16, torch.float16):
        return f"scan kernel 'mamba_ssm' cannot compute in {_name(dtype)}: use 'reference' or 'auto'"
    return "scan kernel 'mamba_ssm' is not in this version: use 'reference' or 'auto'"


@cache
def _import_failure(module: str, mend: str) -> str:
    try:
        import_module(module)
    except ImportError as error:
        return f"scan kernel '{module.rpartition('.')[2]}' cannot be imported ({error}): {mend}, or use 'reference'"
    return ""


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")

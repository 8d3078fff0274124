"""Selective-scan kernels against the reference, outputs and gradients, on every device."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

import torch

from backbones.common.errors import UserError
from backbones.scan import dispatch as mamba
from backbones.scan.check import TOLERANCE
from backbones.ssd import dispatch as mamba2
from suite.verify.line import Line, judged

# what says which kernels there are, by the beginning of a line's name
SCANS: dict[str, ModuleType] = {"": mamba, "Mamba-2 ": mamba2}
DTYPES = {"cpu": (torch.float32,), "cuda": (torch.float32, torch.bfloat16, torch.float16)}
DEVICES = {"cpu": ("cpu",), "chunked": ("cpu", "cuda")}  # others: cuda


def kernel_lines() -> Iterator[Line]:
    """A line for each kernel, device and precision that a kernel may run on."""
    for family, scans in SCANS.items():
        for kernel in scans.KERNELS:
            if kernel in ("auto", "reference"):
                continue
            for device in DEVICES.get(kernel, ("cuda",)):
                yield from _lines(family, scans, kernel, device)


def _lines(family: str, scans: ModuleType, kernel: str, device: str) -> Iterator[Line]:
    for dtype in DTYPES[device]:
        name = f"{family}{kernel}, {device}, {str(dtype).removeprefix('torch.')}"
        # a reason not to run is the same for all precisions: no device, no package
        if reason := absence(scans, kernel, device, dtype):
            yield Line("kernels", name, "absent", reason)
            return
        agreement = (
            f"outputs within {TOLERANCE[dtype]:g} of the reference's largest value, gradients "
            "within three times that"
        )
        yield judged("kernels", name, problem(scans, kernel, device, dtype), agreement)


def absence(scans: ModuleType, kernel: str, device: str, dtype: torch.dtype) -> str:
    """Why the kernel cannot run here at all; empty if it can."""
    if device == "cuda" and not torch.cuda.is_available():
        return f"scan kernel '{kernel}' finds no CUDA device: use 'auto'"
    reason: str = scans.why_not(kernel, device, dtype)
    return reason


def problem(scans: ModuleType, kernel: str, device: str, dtype: torch.dtype) -> str:
    """What is wrong with the kernel here; empty if it agrees with the reference."""
    try:
        scans.chosen(kernel, device, dtype)
        scans.prove_gradients(kernel, device, dtype)
    except UserError as error:
        return str(error)
    return ""

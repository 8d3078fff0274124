"""Selective-scan kernels against the reference, outputs and gradients, on every device."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from backbones.common.errors import UserError
from backbones.scan import KERNELS, chosen
from backbones.scan.check import TOLERANCE
from backbones.scan.dispatch import prove_gradients, why_not
from suite.verify.line import Line, judged

DTYPES = {"cpu": (torch.float32,), "cuda": (torch.float32, torch.bfloat16, torch.float16)}


def kernel_lines() -> Iterator[Line]:
    """A line for each kernel, device and precision that a kernel may run on."""
    for kernel in KERNELS:
        if kernel in ("auto", "reference"):
            continue
        device = "cpu" if kernel == "cpu" else "cuda"
        for dtype in DTYPES[device]:
            name = f"{kernel}, {device}, {str(dtype).removeprefix('torch.')}"
            # a reason not to run is the same for all precisions: no device, no package
            if reason := why_not(kernel, device, dtype):
                yield Line("kernels", name, "absent", reason)
                break
            agreement = (
                f"outputs within {TOLERANCE[dtype]:g} of the reference's largest value, gradients "
                "within three times that"
            )
            yield judged("kernels", name, problem(kernel, device, dtype), agreement)


def problem(kernel: str, device: str, dtype: torch.dtype) -> str:
    """What is wrong with the kernel here; empty if it agrees with the reference."""
    try:
        chosen(kernel, device, dtype)
        prove_gradients(kernel, device, dtype)
    except UserError as error:
        return str(error)
    return ""

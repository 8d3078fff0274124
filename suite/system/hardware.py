"""Device, threads and precision of a command, checked against the machine."""

from __future__ import annotations

import os

import torch

from backbones.common.errors import UserError

DTYPES = {"fp32": torch.float32, "fp64": torch.float64, "bf16": torch.bfloat16}


def pick_device(device: str) -> str:
    """Resolve `auto` to CUDA if there is a device; UserError for a device that does not exist."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "there is no CUDA device here: use --device cpu, or see python -m suite doctor"
        )
    if device not in ("cpu", "cuda"):
        raise UserError(f"unknown device '{device}': use auto, cpu or cuda")
    return device


def set_threads(threads: int) -> int:
    """Set the number of CPU threads (0: one per core) and return it."""
    cores = os.cpu_count() or 1
    # More threads than cores wait for each other: the run would be slower without a sign why.
    if threads > cores:
        raise UserError(
            f"there are {cores} cores here, not {threads}: use --threads {cores} or fewer, "
            "0 for all"
        )
    count = threads or cores
    torch.set_num_threads(count)
    return count


def check_workers(workers: int) -> None:
    """UserError for more worker processes than cores."""
    cores = os.cpu_count() or 1
    if workers > cores:
        raise UserError(
            f"there are {cores} cores here, not {workers}: use --workers {cores} or fewer"
        )


def check_precision(precision: str, device: str) -> torch.dtype:
    """The dtype of the model's weights; UserError if the device cannot use it."""
    # The compiled kernels for the CPU compute in float32.
    if precision == "bf16" and device == "cpu":
        raise UserError("bf16 is for CUDA devices: use --precision fp32 on CPU")
    return DTYPES[precision]

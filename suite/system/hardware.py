"""Which device a command runs on, and with how many threads."""

from __future__ import annotations

import os

import torch

from backbones.common.errors import UserError

DTYPES = {"fp32": torch.float32, "fp64": torch.float64, "bf16": torch.bfloat16}


def pick_device(device: str) -> str:
    """`auto` is CUDA where there is one; UserError for a device that is not there."""
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
    """Use `threads` CPU threads (0: one a core) for everything; returns how many."""
    cores = os.cpu_count() or 1
    if threads > cores:
        raise UserError(
            f"there are {cores} cores here, not {threads}: use --threads {cores} or fewer, 0 for all"
        )
    count = threads or cores
    torch.set_num_threads(count)
    return count


def check_workers(workers: int) -> None:
    """UserError for more worker processes than there are cores."""
    cores = os.cpu_count() or 1
    if workers > cores:
        raise UserError(
            f"there are {cores} cores here, not {workers}: use --workers {cores} or fewer"
        )


def check_precision(precision: str, device: str) -> torch.dtype:
    """The dtype of the model's weights; UserError where the device has no use for it."""
    if precision == "bf16" and device == "cpu":
        raise UserError("bf16 is for CUDA devices: use --precision fp32 on CPU")
    return DTYPES[precision]

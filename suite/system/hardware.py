"""Device, threads and precision of a command, checked against the machine."""

from __future__ import annotations

import os

import torch

from backbones.common.errors import UserError

# Of tf32 the weights are fp32, and products round them.
DTYPES = {
    "fp32": torch.float32,
    "tf32": torch.float32,
    "fp64": torch.float64,
    "bf16": torch.bfloat16,
}
AMPERE = 8  # compute capability of the first GPUs with TF32


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
    if precision in ("bf16", "tf32") and device == "cpu":
        raise UserError(f"{precision} is for CUDA devices: use --precision fp32 on CPU")
    # Products would not be rounded, and the results bear the name of rounded ones.
    if precision == "tf32" and torch.cuda.get_device_capability()[0] < AMPERE:
        raise UserError(f"{torch.cuda.get_device_name()} has no TF32: use --precision fp32")
    return DTYPES[precision]


def set_products(precision: str) -> None:
    """Let products and convolutions of fp32 on CUDA round to TF32 if that is the `precision`.

    Otherwise they do not, though PyTorch's own default rounds in convolutions.
    """
    rounded = precision == "tf32"
    torch.set_float32_matmul_precision("high" if rounded else "highest")
    torch.backends.cudnn.allow_tf32 = rounded

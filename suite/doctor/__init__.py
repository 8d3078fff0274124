"""What is installed, what is missing, and the command that mends it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from rich.table import Table
from rich.text import Text

from suite.doctor.check import Check, guarded

__all__ = ["Check", "diagnose", "table"]

Looks = dict[str, Callable[[], Check]]
COLOURS = {"ok": "green", "missing": "yellow", "broken": "red"}


def diagnose(folder: Path = Path()) -> list[Check]:
    """Every check, in the order in which one thing rests on another; runs would go below `folder`. Never raises."""
    from suite.doctor import cuda, packages, resources

    essential: Looks = {
        "python": packages.python,
        "installation": packages.installation,
        "torch": packages.torch,
        "torchvision": partial(
            packages.importable, "torchvision", "pip install --force-reinstall torch torchvision"
        ),
        "timm": partial(packages.importable, "timm", "pip install timm"),
        "numba": partial(packages.importable, "numba", "pip install numba"),
        "cpu scan kernel": resources.cpu_scan,
        "bundled weights": resources.weights,
        "bundled images": resources.bundled_images,
        "disk": partial(resources.disk, folder.resolve()),
    }
    optional: Looks = {
        "full fashion-mnist": resources.full_images,
        "nvidia driver": cuda.driver,
        "cuda device": cuda.device,
        "nvcc": cuda.nvcc,
        "triton": partial(packages.importable, "triton", "only for CUDA: pip install triton"),
        "causal_conv1d": partial(cuda.extension, "causal_conv1d"),
        "mamba_ssm": partial(cuda.extension, "mamba_ssm"),
    }
    needed = [guarded(name, look, required=True) for name, look in essential.items()]
    return needed + [guarded(name, look, required=False) for name, look in optional.items()]


def table(checks: list[Check]) -> Table:
    """The checks for a terminal; what is missing or broken has its mend on the next line."""
    grid = Table("", "status", "found", box=None, pad_edge=False)
    for check in checks:
        detail = check.detail if not check.mend else f"{check.detail}\n→ {check.mend}"
        grid.add_row(check.name, Text(check.status, style=COLOURS[check.status]), Text(detail))
    return grid

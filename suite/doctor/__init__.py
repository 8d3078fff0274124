"""Checks of an installation: what is there, what is missing, and the command that fixes it.

`doctor` on the command line prints them. A check never raises, and needs nothing that it checks.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from rich.table import Table
from rich.text import Text

from suite.doctor.check import Check, guarded

__all__ = ["Check", "diagnose", "table"]

Inspections = dict[str, Callable[[], Check]]
COLOURS = {"ok": "green", "missing": "yellow", "broken": "red"}


def diagnose(folder: Path = Path()) -> list[Check]:
    """Run every check, in the order of dependence; runs would go below `folder`. Never raises."""
    # late, so that a broken package breaks its own check only
    from suite.doctor import cuda, packages, resources

    torchvision = "pip install --force-reinstall torch torchvision"
    essential: Inspections = {
        "python": packages.python,
        "installation": packages.installation,
        "torch": packages.torch,
        "torchvision": partial(packages.importable, "torchvision", torchvision),
        "timm": partial(packages.importable, "timm", "pip install timm"),
        "numba": partial(packages.importable, "numba", "pip install numba"),
        "cpu scan kernel": resources.cpu_scan,
        "bundled weights": resources.weights,
        "bundled images": resources.bundled_images,
        "disk": partial(resources.disk, folder.resolve()),
    }
    optional: Inspections = {
        "full fashion-mnist": resources.full_images,
        "nvidia driver": cuda.driver,
        "cuda device": cuda.device,
        "nvcc": cuda.nvcc,
        "triton": partial(packages.importable, "triton", "only for CUDA: pip install triton"),
        "causal_conv1d": partial(cuda.extension, "causal_conv1d"),
        "mamba_ssm": partial(cuda.extension, "mamba_ssm"),
    }
    checks = [guarded(name, inspect, required=True) for name, inspect in essential.items()]
    return checks + [guarded(name, inspect, required=False) for name, inspect in optional.items()]


def table(checks: list[Check]) -> Table:
    """The checks for a terminal, the fix of what is missing or broken on the next line."""
    grid = Table("", "status", "found", box=None, pad_edge=False)
    for check in checks:
        detail = f"{check.detail}\n→ {check.fix}" if check.fix else check.detail
        # Text, since a detail may contain brackets, which rich would read as markup
        grid.add_row(check.name, Text(check.status, style=COLOURS[check.status]), Text(detail))
    return grid

"""The machine, versions and source of a run, and the time and memory it took."""

from __future__ import annotations

import os
import platform
import resource
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from suite.system.installation import ROOT

VARIABLES = (
    "CUDA_VISIBLE_DEVICES",
    "GOMP_SPINCOUNT",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OMP_WAIT_POLICY",
)
PACKAGES = ("torch", "torchvision", "timm", "numba", "numpy", "pandas", "pyarrow", "scipy")
MIB = 1 << 20


def environment() -> dict[str, Any]:
    """Machine, versions and settings on which a number depends; every value is JSON.

    ``gpu`` is None without a CUDA device, ``git`` is None if the suite does not run from a
    checkout. ``cores`` are those this process may use, ``memory_mb`` is that of the machine.
    """
    # Late: `doctor` uses this module where PyTorch may be broken.
    import torch

    on_linux = hasattr(os, "sched_getaffinity")
    return {
        "suite": package_version("mamba-token-suite"),
        "git": commit(ROOT),
        "python": platform.python_version(),
        **{name: package_version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "cpu": cpu_name(),
        # A container or a batch system often grants fewer than the machine has.
        "cores": len(os.sched_getaffinity(0)) if on_linux else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_mb": psutil.virtual_memory().total // MIB,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "cuda": torch.version.cuda,
        "matmul_precision": torch.get_float32_matmul_precision(),
        "variables": {name: os.environ[name] for name in VARIABLES if name in os.environ},
    }


@cache
def package_version(name: str) -> str | None:
    """Version of an installed distribution, without importing it; None if it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def resource_usage(started: datetime) -> dict[str, Any]:
    """Start, end, seconds and peak resident memory of this process since `started` (UTC)."""
    finished = datetime.now(UTC)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "started": started.isoformat(timespec="seconds"),
        "finished": finished.isoformat(timespec="seconds"),
        "seconds": round((finished - started).total_seconds(), 3),
        # Linux counts in KiB, macOS in bytes.
        "peak_memory_mb": peak // (MIB if sys.platform == "darwin" else 1024),
    }


def command_line() -> str:
    """The command that started this process."""
    return shlex.join(["python", "-m", "suite", *sys.argv[1:]])


def commit(root: Path) -> str | None:
    """Commit of the checkout at `root`, ``-dirty`` if files differ; None if it is no checkout."""
    # Git would also find a checkout of another project around an installed package.
    if not (root / ".git").exists():
        return None
    head = _git(root, "rev-parse", "HEAD")
    if not head:
        return None
    dirty = _git(root, "status", "--porcelain", "--untracked-files=no")
    return f"{head}-dirty" if dirty else head


def cpu_name() -> str:
    """The processor's name as its maker writes it, as far as the system knows it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []  # not Linux
    for line in lines:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _git(root: Path, *arguments: str) -> str:
    """The output of a git command; empty if it fails."""
    command = ["git", "-C", str(root), *arguments]
    try:
        # A repository on a network file system may take minutes, and no result depends on it.
        done = subprocess.run(  # noqa: S603 (no shell)
            command, capture_output=True, encoding="utf-8", timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""

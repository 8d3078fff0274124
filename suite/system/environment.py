"""What a run ran on, for ``environment.json``: machine, versions, source, and what the run took."""

from __future__ import annotations

import os
import platform
import resource
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import torch

from suite.system.installation import ROOT
from suite.system.versions import package_version

VARIABLES = (
    "CUDA_VISIBLE_DEVICES", "GOMP_SPINCOUNT", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "OMP_NUM_THREADS",
    "OMP_WAIT_POLICY",
)  # fmt: skip
PACKAGES = ("torch", "torchvision", "timm", "numba", "numpy", "pandas", "pyarrow", "scipy")
MIB = 1 << 20


def environment() -> dict[str, Any]:
    """Machine, versions and settings that a number depends on; every value is JSON.

    ``gpu`` is None without a CUDA device, ``git`` None where the suite does not run from a checkout. ``cores`` are
    those this process may use, ``memory_mb`` is the machine's.
    """
    return {
        "suite": package_version("mamba-token-suite"),
        "git": commit(ROOT),
        "python": platform.python_version(),
        **{name: package_version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "cpu": cpu_name(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_mb": psutil.virtual_memory().total // MIB,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "cuda": torch.version.cuda,
        "matmul_precision": torch.get_float32_matmul_precision(),
        "variables": {name: os.environ[name] for name in VARIABLES if name in os.environ},
    }


def consumption(started: datetime) -> dict[str, Any]:
    """Start, end, wall-clock seconds and the process's peak resident memory of work that began at `started` (UTC)."""
    finished = datetime.now(UTC)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "started": started.isoformat(timespec="seconds"),
        "finished": finished.isoformat(timespec="seconds"),
        "seconds": round((finished - started).total_seconds(), 3),
        "peak_memory_mb": peak // (MIB if sys.platform == "darwin" else 1024),
    }


def command_line() -> str:
    """The command that this process was started with."""
    return shlex.join(["python", "-m", "suite", *sys.argv[1:]])


def commit(root: Path) -> str | None:
    """Commit of the checkout at `root`, ``-dirty`` if files differ from it; None if `root` itself is no checkout.

    A wheel that lies somewhere inside another project's checkout must not be given that project's
    commit.
    """
    if not (root / ".git").exists():
        return None
    found = _git(root, "rev-parse", "HEAD")
    if not found:
        return None
    return (
        f"{found}-dirty" if _git(root, "status", "--porcelain", "--untracked-files=no") else found
    )


def cpu_name() -> str:
    """The processor's name as its maker writes it, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()


def _git(root: Path, *arguments: str) -> str:
    try:
        command = ["git", "-C", str(root), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)  # noqa: S603 (no shell)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""

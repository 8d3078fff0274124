"""The state of the machine while something is timed: a time means nothing without it."""

from __future__ import annotations

import os
from typing import Any

import psutil
import torch

from suite.system.environment import cpu_name

BUSY = 0.5  # of the cores


def state(device: str) -> dict[str, Any]:
    """Name, load, clock and threads now; every value is JSON, None where the system does not tell.

    ``load`` is the mean number of running processes over the last minute, of the whole machine; ``mhz`` the clock of
    the processor, or of the GPU if `device` is one.
    """
    return {
        "machine": name(device),
        "load": round(os.getloadavg()[0], 2),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "mhz": _gpu(torch.cuda.clock_rate) if device == "cuda" else _clock(),
        "celsius": _gpu(torch.cuda.temperature) if device == "cuda" else None,
    }


def name(device: str) -> str:
    """The processor's or the GPU's name."""
    return torch.cuda.get_device_name() if device == "cuda" else cpu_name()


def busy(found: dict[str, Any]) -> str:
    """A warning if others were at work on this machine; empty if not."""
    if found["load"] <= BUSY * (found["cores"] or 1):
        return ""
    return (
        f"The machine was busy when the measurement began (load {found['load']:.1f} on {found['cores']} cores): "
        "differences may be its doing."
    )


def _clock() -> int | None:
    frequency = psutil.cpu_freq()
    return round(frequency.current) if frequency else None


def _gpu(read: Any) -> int | None:
    try:
        return int(read())
    except (ImportError, RuntimeError, OSError):  # needs a library that is not always there
        return None

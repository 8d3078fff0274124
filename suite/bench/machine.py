"""The state of the machine during a measurement, without which a time means nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import psutil
import torch

from suite.system.environment import cpu_name

BUSY = 0.5  # share of the cores


def state(device: str) -> dict[str, Any]:
    """Name, load, clock and threads now, as JSON; None for what the system does not report.

    ``load`` is the mean number of running processes over the last minute, on the whole machine;
    ``mhz`` is the clock of the processor, or of the GPU if `device` is one.
    """
    # None in containers and on some processors
    frequency = psutil.cpu_freq()
    clock = round(frequency.current) if frequency else None
    on_gpu = device == "cuda"
    return {
        "machine": torch.cuda.get_device_name() if on_gpu else cpu_name(),
        "load": round(os.getloadavg()[0], 2),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "mhz": _from_gpu(torch.cuda.clock_rate) if on_gpu else clock,
        "celsius": _from_gpu(torch.cuda.temperature) if on_gpu else None,
    }


def busy(state: dict[str, Any]) -> str:
    """A warning if other programs were at work when the state was taken; empty if not."""
    if state["load"] <= BUSY * (state["cores"] or 1):
        return ""
    return (
        f"The machine was busy when the measurement began (load {state['load']:.1f} on "
        f"{state['cores']} cores): differences may come from that."
    )


def _from_gpu(read: Callable[[], float]) -> int | None:
    try:
        return int(read())
    except (ImportError, RuntimeError, OSError):  # needs NVIDIA's management library
        return None

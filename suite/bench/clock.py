"""Timing that waits for the device, and rounds that take turns so that drift hits all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np
import torch


def now(device: str) -> float:
    """Seconds on a monotonic clock, after everything queued on `device` is done."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter()


def in_turn(runs: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """What each run returns in each of `rounds`, all run once a round in turn, after one round not counted."""
    for run in runs.values():
        run()
    found: dict[str, list[float]] = {key: [] for key in runs}
    for _ in range(rounds):
        for key, run in runs.items():
            found[key].append(run())
    return found


def interleaved(runs: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Median over `rounds` of what each run returns (see `in_turn`)."""
    return {key: float(np.median(values)) for key, values in in_turn(runs, rounds).items()}

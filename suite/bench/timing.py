"""Timers of PyTorch and Triton, and rounds in which everything that is compared takes turns."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TypeVar

import torch

# The timers import torch's tools for C++ extensions, which warn of a CUDA compiler without a GPU.
logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
from torch.utils.benchmark import Timer, timer  # noqa: E402

now = timer  # seconds on a clock, once the GPU has finished its work

LEAST_SECONDS = 0.05  # of one timing: shorter calls are repeated
Run = Callable[[], object]
Key = TypeVar("Key")


def seconds(run: Run, device: str) -> float:
    """Median seconds of a call of `run`, after calls that warm up."""
    if device == "cuda":
        # here, since PyTorch for CPUs comes without Triton
        from triton.testing import do_bench

        milliseconds = do_bench(run, rep=1e3 * LEAST_SECONDS, return_mode="median")
        return float(milliseconds) / 1e3
    return _timer(run).blocked_autorange(min_run_time=LEAST_SECONDS).median


def best_seconds(run: Run, at_least: float) -> float:
    """Seconds of the fastest of repeated calls on the CPU, `at_least` seconds of them together.

    Other work on the machine can only lengthen a call, so that the fastest is the nearest to the
    cost of the call itself.
    """
    # ends early where the calls agree; the limit is for a machine so busy that they never do
    times = _timer(run).adaptive_autorange(min_run_time=at_least, max_run_time=20 * at_least).times
    return min(times)


def in_rounds(
    runs: Mapping[Key, Callable[[], float]],
    rounds: int,
    after: Callable[[int], None] = lambda done: None,
) -> dict[Key, list[float]]:
    """The seconds that each run returns, by round; in a round each runs once, in turn.

    `after` gets how many rounds are done. A machine that gets slower in the meantime slows all
    alike, which is what makes ratios of the times of one round worth more than ratios of medians.
    """
    times: dict[Key, list[float]] = {key: [] for key in runs}
    for done in range(1, rounds + 1):
        for key, run in runs.items():
            times[key].append(run())
        after(done)
    return times


def _timer(run: Run) -> Timer:
    # a Timer measures on one thread by default, whatever PyTorch is set to
    return Timer("run()", globals={"run": run}, num_threads=torch.get_num_threads())

"""Shares of a pass by kind of work: scan, matrix products, elementwise, the method, the rest.

PyTorch's profiler times every operator (on a GPU, every kernel) of a pass; its name tells the kind
of work. The compiled kernels of the CPU are no operators and get a name for the time of the
profile. The reducers are profiled alone, on the tokens that they get in the pass, and their time is
taken out of the kinds that it consists of.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch.autograd.profiler import record_function
from torch.profiler import ProfilerActivity, profile

from backbones.scan import cpu, cpu_conv, cpu_norm
from suite.bench.passes import Pass
from suite.bench.timing import now

# else the profiler complains on stderr where there is no GPU
os.environ.setdefault("KINETO_LOG_LEVEL", "99")
PASSES = 3  # a profile of many passes takes long to evaluate
KINDS = ("scan", "gemm", "elementwise", "reduction", "rest")
COMPILED = ((cpu, "cpu_scan"), (cpu_conv, "convolve"), (cpu_norm, "add_norm"))
# names of operators of PyTorch and of kernels of its libraries; attention is mostly products too
GEMM = re.compile(
    "gemm|linear|mm|matmul|::mv|gemv|dot|attention|flash|fmha|cutlass|nvjet|xmma|splitk|"
    "mkldnn_convolution|conv2d|implicit_convolve"
)


def kind_of(name: str) -> str:
    """Kind of work of an operator or kernel; a depthwise convolution is elementwise."""
    name = name.lower()
    if "scan" in name:
        return "scan"
    return "gemm" if GEMM.search(name) else "elementwise"


def time_breakdown(timed: Pass) -> dict[str, float]:
    """Share of the time of one pass for each of `KINDS`; together they are 1.

    ``rest`` is what no operator accounts for: Python, and on a GPU the waiting between kernels.
    Profile apart from timing, since a profile slows the pass.
    """
    calls = timed.reducer_calls()
    by_name, wall = profiled(timed, timed.device)
    of_reducers, _ = profiled(lambda: [call() for call in calls], timed.device)
    shares = dict.fromkeys(KINDS, 0.0)
    for name, time in by_name.items():
        shares[kind_of(name)] += time
    for name, time in of_reducers.items():
        shares[kind_of(name)] -= time
    for kind in KINDS:
        # the two profiles are of different runs, so that a difference may fall below zero
        shares[kind] = max(0.0, shares[kind])
    shares["reduction"] = sum(of_reducers.values())
    shares["rest"] = max(0.0, wall - sum(shares.values()))
    whole = sum(shares.values())
    return {kind: time / whole for kind, time in shares.items()}


def profiled(run: Callable[[], object], device: str) -> tuple[dict[str, float], float]:
    """Seconds of a call of `run` by operator, on a GPU by kernel, and of the whole call.

    Means of `PASSES` calls, after one that is not counted.
    """
    run()
    on_gpu = device == "cuda"
    activities = [ProfilerActivity.CPU]
    if on_gpu:
        activities.append(ProfilerActivity.CUDA)
    with named_kernels(), profile(activities=activities) as profiler:
        started = now()
        for _ in range(PASSES):
            run()
        wall = now() - started
    times = {}
    for event in profiler.key_averages():
        # on a GPU an operator's own time is that of launching, which the kernels overlap
        if str(event.device_type).endswith("CUDA") == on_gpu:
            microseconds = event.self_device_time_total if on_gpu else event.self_cpu_time_total
            times[event.key] = microseconds / 1e6 / PASSES
    return times, wall / PASSES


@contextmanager
def named_kernels() -> Iterator[None]:
    """Give the compiled kernels names that the profiler sees, inside the block."""
    originals = {target: getattr(*target) for target in COMPILED}
    for (module, name), function in originals.items():
        setattr(module, name, _named(function, f"suite::{name}"))
    try:
        yield
    finally:
        for (module, name), function in originals.items():
            setattr(module, name, function)


def _named(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    def run(*positional: Any, **keywords: Any) -> Any:
        with record_function(name):
            return function(*positional, **keywords)

    return run

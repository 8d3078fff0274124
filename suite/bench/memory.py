"""Peak memory of a forward pass, beyond the weights and the images that were there before."""

from __future__ import annotations

import os
from collections.abc import Callable

import torch
from torch.profiler import ProfilerActivity, profile

# else the profiler complains on stderr where there is no GPU
os.environ.setdefault("KINETO_LOG_LEVEL", "99")
MIB = 1 << 20


def peak_mib(run: Callable[[], object], device: str) -> float:
    """Peak of PyTorch's allocator during `run` over its level before, in MiB.

    On a GPU by the allocator's own count, on a CPU by the allocations and releases that the
    profiler records. Both count tensors only, not what a library allocates for itself.
    """
    run()  # what the first call allocates and keeps is no part of a pass
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        return (torch.cuda.max_memory_allocated() - before) / MIB
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    assert profiler.profiler is not None
    assert profiler.profiler.kineto_results is not None
    # the public averages give sums by operator only; a peak needs every event in its order
    events = profiler.profiler.kineto_results.events()
    level = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        if event.name() == "[memory]":
            level += event.nbytes()
            peak = max(peak, level)
    return peak / MIB

"""What the GPU can do at most: bytes copied, exponentials and multiply-adds a second, measured by kernels of ours."""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import triton
import triton.language as tl

BLOCK, ROUNDS, PROGRAMS = 1024, 2048, 4096
COPIED = 2 << 30  # bytes, many times the cache


@dataclass(frozen=True)
class Ceilings:
    """Highest rates a second: bytes read plus written by a copy, fp32 exponentials, fp32 multiply-adds."""

    bytes: float
    exponentials: float
    multiply_adds: float

    def seconds(
        self, bytes: float, exponentials: float, multiply_adds: float
    ) -> tuple[float, float, float]:
        """The least time each of these amounts takes; the largest is the floor of a kernel that needs them all."""
        return (
            bytes / self.bytes,
            exponentials / self.exponentials,
            multiply_adds / self.multiply_adds,
        )


def measure_ceilings() -> Ceilings:
    """Measure on the present CUDA device."""
    source = torch.empty(COPIED // 4, device="cuda").normal_()
    target = torch.empty_like(source)
    work = BLOCK * ROUNDS * PROGRAMS
    values = torch.rand(PROGRAMS * BLOCK, device="cuda")
    grid = (PROGRAMS,)
    return Ceilings(
        bytes=2 * COPIED / cuda_seconds(lambda: target.copy_(source)),
        exponentials=work
        / cuda_seconds(lambda: many_exponentials[grid](values, ROUNDS, BLOCK=BLOCK)),
        multiply_adds=work
        / cuda_seconds(lambda: many_multiply_adds[grid](values, ROUNDS, BLOCK=BLOCK)),
    )


def cuda_seconds(run: Callable[[], object], repeats: int = 20, warm_ups: int = 3) -> float:
    """Median seconds of `run` on the GPU's own clock, after `warm_ups` runs that are not counted."""
    for _ in range(warm_ups):
        run()
    times = []
    for _ in range(repeats):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        run()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) / 1e3)
    return float(np.median(times))


@triton.jit
def many_exponentials(values, rounds, BLOCK: tl.constexpr):
    """`rounds` times v = 2^-v, which stays between 0 and 1."""
    place = values + tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    v = tl.load(place)
    for _ in range(rounds):
        v = tl.exp2(-v)
    tl.store(place, v)


@triton.jit
def many_multiply_adds(values, rounds, BLOCK: tl.constexpr):
    """`rounds` times v = 0.5 v + 0.25, which stays between 0 and 1."""
    place = values + tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    v = tl.load(place)
    for _ in range(rounds):
        v = v * 0.5 + 0.25
    tl.store(place, v)

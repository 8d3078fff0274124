"""The highest rates of the GPU, measured: bytes copied, exponentials and multiply-adds a second."""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import torch
import triton
import triton.language as tl

from suite.bench.limits import Ceilings
from suite.bench.timing import seconds

BLOCK, ROUNDS, PROGRAMS = 1024, 2048, 4096
COPIED = 2 << 30  # bytes, many times the cache


def measure_ceilings() -> Ceilings:
    """Measure on the present CUDA device."""
    source = torch.empty(COPIED // 4, device="cuda").normal_()
    target = torch.empty_like(source)
    # each program keeps its values in registers, so that the memory is no limit
    values = torch.rand(PROGRAMS * BLOCK, device="cuda")
    grid, work = (PROGRAMS,), BLOCK * ROUNDS * PROGRAMS
    # a copy reads and writes each byte
    copy = seconds(lambda: target.copy_(source), "cuda")
    exponentials = seconds(lambda: many_exponentials[grid](values, ROUNDS, BLOCK=BLOCK), "cuda")
    multiply_adds = seconds(lambda: many_multiply_adds[grid](values, ROUNDS, BLOCK=BLOCK), "cuda")
    return Ceilings(2 * COPIED / copy, work / exponentials, work / multiply_adds)


@triton.jit
def many_exponentials(values, rounds, BLOCK: tl.constexpr):
    """Repeat v = 2^-v, which stays between 0 and 1."""
    pointers = values + tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    v = tl.load(pointers)
    for _ in range(rounds):
        v = tl.exp2(-v)
    tl.store(pointers, v)


@triton.jit
def many_multiply_adds(values, rounds, BLOCK: tl.constexpr):
    """Repeat v = 0.5 v + 0.25, which stays between 0 and 1."""
    pointers = values + tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    v = tl.load(pointers)
    for _ in range(rounds):
        v = v * 0.5 + 0.25
    tl.store(pointers, v)

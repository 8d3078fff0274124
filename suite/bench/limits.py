"""The least time of a scan, from the highest rates of the device.

It is the largest of three times: the bytes that must be moved over the measured copy rate, the
exponentials and the multiply-adds over their measured rates. Every input is read once and every
output written once. A state and token takes one exponential and four multiply-adds; a softplus and
a gate take two and one operations of the special-function unit. With gradients the states are
computed once more, and thirteen multiply-adds join the four.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from suite.bench.timing import seconds

COPIED = 1 << 27  # bytes on a CPU, several times the cache
RESIDENT = 256  # rows of a matrix that stays in the cache


class Ceilings(NamedTuple):
    """Highest rates a second: bytes read plus written, fp32 exponentials, fp32 multiply-adds."""

    bytes: float
    exponentials: float
    multiply_adds: float

    def seconds(
        self, bytes: float, exponentials: float, multiply_adds: float
    ) -> tuple[float, float, float]:
        """The least time for each of these amounts; a kernel that needs all takes the largest."""
        return (
            bytes / self.bytes,
            exponentials / self.exponentials,
            multiply_adds / self.multiply_adds,
        )


class ScanShape(NamedTuple):
    """The scan of one block of a backbone, all directions.

    ``gated``     whether it takes the gate
    ``separate``  whether it writes each direction's output, not their sum
    """

    name: str
    batch: int
    width: int
    states: int
    length: int = 197
    directions: int = 2
    gated: bool = True
    separate: bool = False


def work(shape: ScanShape, size: int, gradients: bool) -> tuple[float, float, float]:
    """Bytes, exponentials and multiply-adds of all directions, for `size` bytes a number."""
    one = shape.batch * shape.length * shape.width
    channels = shape.directions * one
    projections = shape.directions * shape.batch * shape.length * shape.states
    updates = channels * shape.states
    gate = one if shape.gated else 0
    out = channels if shape.separate else one
    # u and delta, z and y; B and C
    moved = 2 * channels + gate + out + 2 * projections
    special = updates + 2 * channels + (channels if shape.gated else 0)
    if not gradients:
        return size * moved, special, 4 * updates
    # u, delta and their gradients; z, dz and dy; B, C and their gradients
    moved_back = 4 * channels + 2 * gate + out + 4 * projections
    return size * (moved + moved_back), 2 * special, (4 + 13) * updates


def measure_cpu_ceilings() -> Ceilings:
    """Measure on this CPU in fp32: a copy, and the multiply-adds of a matrix product.

    A CPU has no unit for exponentials: one takes several multiply-adds, and counts as one.
    """
    source = torch.rand(COPIED // 4)
    target = torch.empty_like(source)
    # a copy reads and writes each byte
    copy = seconds(lambda: target.copy_(source), "cpu")
    square = torch.rand(RESIDENT, RESIDENT)
    rate = RESIDENT**3 / seconds(lambda: square @ square, "cpu")
    return Ceilings(2 * COPIED / copy, rate, rate)

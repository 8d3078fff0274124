"""Every way to cut the `triton` scan's work, timed: what the tiles in `backbones.scan.triton_scan` are chosen by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch
from rich.table import Table
from torch import Tensor

from backbones.scan import ScanInputs
from backbones.scan.triton_scan import Tiles, triton_scan, triton_scan_backward
from suite.bench.ceilings import cuda_seconds
from suite.bench.cuda_graphs import captured
from suite.bench.cuda_kernels import BOTH, DTYPES, SHAPES, ScanShape, cuda_inputs

FORWARD = (32, 64, 128)
BACKWARD = (
    (32, 2, 255),
    (32, 2, 168),
    (32, 3, 255),
    (32, 3, 168),
    (32, 4, 255),
    (32, 4, 168),
    (64, 2, 255),
)


@dataclass(frozen=True)
class SweepRow:
    """One way to cut one shape's work; nan for a pass that was not timed."""

    shape: str
    dtype: str
    tiles: Tiles
    forward_milliseconds: float
    backward_milliseconds: float


def measure_sweep(shapes: tuple[ScanShape, ...] = SHAPES) -> list[SweepRow]:
    """Time both passes of every shape under every cut."""
    return [row for shape in shapes for dtype in DTYPES for row in _rows(shape, dtype)]


def _rows(shape: ScanShape, dtype: str) -> Iterator[SweepRow]:
    inputs = cuda_inputs(shape, DTYPES[dtype])
    none = float("nan")
    with torch.no_grad():
        for block in FORWARD:
            tiles = Tiles(forward=block)
            seconds = cuda_seconds(captured(partial(_forward, tiles), inputs))
            yield SweepRow(shape.name, dtype, tiles, 1e3 * seconds, none)
        dy = torch.randn_like(inputs.u[0])
        for block, chunk, registers in BACKWARD:
            tiles = Tiles(backward=block, chunk=chunk, registers=registers)
            seconds = cuda_seconds(captured(partial(_backward, tiles, dy), inputs))
            yield SweepRow(shape.name, dtype, tiles, none, 1e3 * seconds)


def _forward(tiles: Tiles, inputs: ScanInputs) -> Tensor:
    return triton_scan(inputs, BOTH, False, mean=False, tiles=tiles).y


def _backward(tiles: Tiles, dy: Tensor, inputs: ScanInputs) -> list[Tensor]:
    dmean = torch.zeros(inputs.u.shape[:3], device=dy.device)
    return triton_scan_backward(dy, dmean, inputs, BOTH, False, tiles)


def table(rows: list[SweepRow]) -> Table:
    """The rows for a terminal."""
    shown = Table(
        "shape",
        "dtype",
        "forward block",
        "backward block",
        "chunk",
        "registers",
        "forward ms",
        "backward ms",
        title="Cuts of the scan",
    )
    for row in rows:
        times = [
            f"{time:.3f}" if time == time else ""
            for time in (row.forward_milliseconds, row.backward_milliseconds)
        ]
        shown.add_row(row.shape, row.dtype, *(str(part) for part in row.tiles), *times)
    return shown

"""Times of the `triton` scan for every way to cut its work into tiles.

The tiles in `backbones.scan.triton_scan` are chosen by them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from typing import NamedTuple

import torch
from rich.table import Table
from torch import Tensor

from backbones.scan import ScanInputs
from backbones.scan.triton_scan import Tiles, triton_scan, triton_scan_backward
from suite.bench.cuda_graphs import captured
from suite.bench.cuda_kernels import PRECISIONS, SHAPES, ScanShape, cuda_inputs
from suite.bench.scan_inputs import BOTH
from suite.bench.tables import figures_table
from suite.bench.timing import seconds
from suite.system.hardware import DTYPES

COLUMNS = {
    "shape": "{row.shape}",
    "dtype": "{row.dtype}",
    "forward block": "{row.tiles.forward}",
    "backward block": "{row.tiles.backward}",
    "chunk": "{row.tiles.chunk}",
    "registers": "{row.tiles.registers}",
    "pass": "{row.passes}",
    "ms": "{row.milliseconds:.3f}",
}
FORWARD = (32, 64, 128)
# block, chunk and registers; 168 registers a thread leave room for three programs a scheduler
BACKWARD = (*product((32,), (2, 3, 4), (255, 168)), (64, 2, 255))


class TileRow(NamedTuple):
    """The time of one pass of one shape under one way to cut its work."""

    shape: str
    dtype: str
    tiles: Tiles
    passes: str
    milliseconds: float


def measure_tiles(shapes: tuple[ScanShape, ...] = SHAPES) -> list[TileRow]:
    """Time both passes of every shape under all tiles."""
    rows: list[TileRow] = []
    for shape in shapes:
        for precision in PRECISIONS:
            rows += _rows(shape, precision)
    return rows


def _rows(shape: ScanShape, precision: str) -> Iterator[TileRow]:
    inputs = cuda_inputs(shape, DTYPES[precision])
    dy = torch.randn_like(inputs.u[0])
    runs: list[tuple[Tiles, str, Callable[[ScanInputs], object]]] = []
    for block in FORWARD:
        tiles = Tiles(forward=block)
        runs.append((tiles, "forward", partial(_forward, tiles=tiles)))
    for block, chunk, registers in BACKWARD:
        tiles = Tiles(backward=block, chunk=chunk, registers=registers)
        runs.append((tiles, "backward", partial(_backward, tiles=tiles, dy=dy)))
    with torch.no_grad():
        for tiles, passes, run in runs:
            time = seconds(captured(run, inputs), "cuda")
            yield TileRow(shape.name, precision, tiles, passes, 1e3 * time)


def _forward(inputs: ScanInputs, tiles: Tiles) -> Tensor:
    return triton_scan(inputs, BOTH, False, mean=False, tiles=tiles).y


def _backward(inputs: ScanInputs, tiles: Tiles, dy: Tensor) -> list[Tensor]:
    dmean = torch.zeros(inputs.u.shape[:3], device=dy.device)
    return triton_scan_backward(dy, dmean, inputs, BOTH, False, tiles)


def table(rows: list[TileRow]) -> Table:
    """The rows for a terminal."""
    return figures_table("Tiles of the scan", rows, COLUMNS, names=2)

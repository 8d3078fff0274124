"""Times of the `triton` scan for every way to cut its work into tiles.

The tiles in `backbones.scan.triton_scan` are chosen by them.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import product
from typing import NamedTuple

import torch
from rich.table import Table
from torch import Tensor

from backbones.scan import ScanInputs
from backbones.scan.triton_scan import Tiles, triton_scan, triton_scan_backward
from suite.bench.cuda_graphs import captured
from suite.bench.cuda_kernels import PRECISIONS, SHAPES, cuda_inputs
from suite.bench.limits import ScanShape
from suite.bench.scan_inputs import BOTH
from suite.bench.tables import figures_table
from suite.bench.timing import seconds
from suite.system.hardware import DTYPES

FORWARD = [Tiles(forward=block) for block in (32, 64, 128)]
# 168 registers a thread leave room for three programs a scheduler, 255 for two
BACKWARD = [
    Tiles(backward=block, chunk=chunk, registers=registers)
    for block, chunk, registers in (*product((32,), (2, 3, 4), (255, 168)), (64, 2, 255))
]


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
    # each pass depends on tiles of its own, so that they need not be combined
    backward = partial(_backward, dy=torch.randn_like(inputs.u[0]))
    passes = (("forward", FORWARD, _forward), ("backward", BACKWARD, backward))
    with torch.no_grad():
        for name, every, run in passes:
            for tiles in every:
                time = seconds(captured(partial(run, tiles=tiles), inputs), "cuda")
                yield TileRow(shape.name, precision, tiles, name, 1e3 * time)


def _forward(inputs: ScanInputs, tiles: Tiles) -> Tensor:
    return triton_scan(inputs, BOTH, False, mean=False, tiles=tiles).y


def _backward(inputs: ScanInputs, tiles: Tiles, dy: Tensor) -> list[Tensor]:
    # no gradient comes from the mean of the timescales
    dmean = torch.zeros(inputs.u.shape[:3], device=dy.device)
    return triton_scan_backward(dy, dmean, inputs, BOTH, False, tiles)


def answer(rows: list[TileRow]) -> str:
    """What the best way to cut the first pass gains over the worst, in a line."""
    first = rows[0]
    same = [row.milliseconds for row in rows if row[:2] + row[3:4] == first[:2] + first[3:4]]
    return (
        f"{first.shape}, {first.dtype}, {first.passes}: of {len(same)} ways to cut it the fastest "
        f"takes {min(same):.3f} ms, the slowest {max(same):.3f} ms."
    )


def table(rows: list[TileRow]) -> Table:
    """The rows for a terminal."""
    columns = {
        "shape": "{row.shape}",
        "dtype": "{row.dtype}",
        "forward block": "{row.tiles.forward}",
        "backward block": "{row.tiles.backward}",
        "chunk": "{row.tiles.chunk}",
        "registers": "{row.tiles.registers}",
        "pass": "{row.passes}",
        "ms": "{row.milliseconds:.3f}",
    }
    return figures_table("Tiles of the scan", rows, columns, names=2)

"""The yardsticks of the GPU's kernel benchmark, in Triton's interpreter where there is no GPU."""

import io
import math

import pytest
import torch
from rich.console import Console
from rich.table import Table

from backbones.scan.triton_scan import Tiles
from suite.bench.ceilings import many_exponentials, many_multiply_adds, measure_ceilings
from suite.bench.cuda_kernels import ScanRow, measure_cuda_kernels, table
from suite.bench.limits import Ceilings, ScanShape, work
from suite.bench.tile_sweep import BACKWARD, FORWARD, TileRow, measure_tiles
from suite.bench.tile_sweep import table as tile_table

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def test_the_yardsticks_do_the_work_that_is_counted() -> None:
    values = torch.rand(64, device=DEVICE)
    exact = values.clone()
    for _ in range(5):
        exact = torch.exp2(-exact)
    many_exponentials[(2,)](values, 5, BLOCK=32)
    torch.testing.assert_close(values, exact)
    exact = values.clone()
    for _ in range(5):
        exact = exact * 0.5 + 0.25
    many_multiply_adds[(2,)](values, 5, BLOCK=32)
    torch.testing.assert_close(values, exact)


def test_work_is_what_a_count_by_hand_gives() -> None:
    shape = ScanShape("one token", batch=1, width=3, states=2, length=1)
    # u, delta: 2 directions of 3; B, C: 2 of 2; z and y: 3 each
    assert work(shape, 4, gradients=False) == (
        4 * (6 + 6 + 4 + 4 + 3 + 3),
        12 + 2 * 6 + 2 * 3,
        4 * 12,
    )
    moved, special, fma = work(shape, 2, gradients=True)
    # again u, delta, B, C, z; then dy; then a gradient for each of the five
    assert moved == 2 * (26 + (6 + 6 + 4 + 4 + 3) + 3 + (6 + 6 + 4 + 4 + 3))
    assert special == 2 * (12 + 12 + 6)
    assert fma == 17 * 12
    # four directions of 3 without a gate, each with an output of its own
    walks = shape._replace(directions=4, gated=False, separate=True)
    assert work(walks, 4, gradients=False) == (
        4 * (12 + 12 + 8 + 8 + 12),
        24 + 2 * 12,
        4 * 24,
    )


def printed(shown: Table) -> str:
    page = io.StringIO()
    Console(file=page, width=200).print(shown)
    return page.getvalue()


def test_the_floor_is_the_largest_of_three() -> None:
    ceilings = Ceilings(bytes=100.0, exponentials=10.0, multiply_adds=1000.0)
    least = (1e3 * seconds for seconds in ceilings.seconds(10, 4, 50))
    row = ScanRow("s", "bf16", False, "triton", 800.0, *least, 1e-3)
    assert row.floor == pytest.approx(400)
    assert row.share_of_floor == pytest.approx(0.5)
    page = printed(table([row], ceilings, "a GPU"))
    for text in ("a GPU", "triton", "forward", "800.000", "400.000", "0.50", "1.0e-03"):
        assert text in page


def test_the_tiles_are_printed() -> None:
    page = printed(tile_table([TileRow("Vim-T", "bf16", Tiles(chunk=3), "backward", 1.25)]))
    for text in ("Vim-T", "64", "32", "3", "255", "backward", "1.250"):
        assert text in page


@pytest.mark.gpu
def test_every_kernel_is_measured_and_right() -> None:
    ceilings = measure_ceilings()
    assert min(ceilings) > 1e11
    rows = measure_cuda_kernels(
        ceilings, (ScanShape("small", batch=8, width=64, states=8, length=33),)
    )
    assert {"reference", "triton"} <= {row.kernel for row in rows}
    for row in rows:
        assert row.milliseconds > 0
        bound = 1e-4 if row.dtype == "fp32" else 2e-2
        assert math.isnan(row.error) or row.error < bound, row


@pytest.mark.gpu
def test_every_tile_is_timed() -> None:
    rows = measure_tiles((ScanShape("small", batch=8, width=64, states=8, length=33),))
    assert len(rows) == 2 * (len(FORWARD) + len(BACKWARD))
    assert all(row.milliseconds > 0 for row in rows)

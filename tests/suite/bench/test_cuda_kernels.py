"""The yardsticks of the GPU's kernel benchmark, in Triton's interpreter where there is no GPU."""

import io
import math

import pytest
import torch
from rich.console import Console

from suite.bench.ceilings import Ceilings, many_exponentials, many_multiply_adds
from suite.bench.cuda_kernels import CudaKernels, ScanRow, ScanShape, measure_cuda, table, work
from suite.bench.tile_sweep import BACKWARD, FORWARD, measure_sweep

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def test_the_yardsticks_do_the_work_that_is_counted() -> None:
    values = torch.rand(64, device=DEVICE)
    wanted = values.clone()
    for _ in range(5):
        wanted = torch.exp2(-wanted)
    many_exponentials[(2,)](values, 5, BLOCK=32)
    torch.testing.assert_close(values, wanted)
    wanted = values.clone()
    for _ in range(5):
        wanted = wanted * 0.5 + 0.25
    many_multiply_adds[(2,)](values, 5, BLOCK=32)
    torch.testing.assert_close(values, wanted)


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


def test_the_floor_is_the_largest_of_three() -> None:
    ceilings = Ceilings(bytes=100.0, exponentials=10.0, multiply_adds=1000.0)
    row = ScanRow(
        "s",
        "bf16",
        False,
        "triton",
        800.0,
        *(1e3 * part for part in ceilings.seconds(10, 4, 50)),
        1e-3,
    )
    assert row.floor == pytest.approx(400)
    assert row.share_of_floor == pytest.approx(0.5)
    page = io.StringIO()
    Console(file=page, width=200).print(table(CudaKernels("a GPU", ceilings, [row])))
    assert all(
        text in page.getvalue() for text in ("a GPU", "triton", "800.000", "400.000", "0.50")
    )


@pytest.mark.gpu
def test_every_kernel_is_measured_and_right() -> None:
    found = measure_cuda((ScanShape("small", batch=8, width=64, states=8, length=33),))
    assert {"reference", "triton"} <= {row.kernel for row in found.rows}
    assert (
        min(found.ceilings.bytes, found.ceilings.exponentials, found.ceilings.multiply_adds) > 1e11
    )
    for row in found.rows:
        assert row.milliseconds > 0
        bound = 1e-4 if row.dtype == "fp32" else 2e-2
        assert math.isnan(row.error) or row.error < bound, row


@pytest.mark.gpu
def test_every_cut_is_timed() -> None:
    rows = measure_sweep((ScanShape("small", batch=8, width=64, states=8, length=33),))
    assert len(rows) == 2 * (len(FORWARD) + len(BACKWARD))
    assert all(row.forward_milliseconds > 0 or row.backward_milliseconds > 0 for row in rows)

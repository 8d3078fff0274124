"""The kernel benchmark measures what it says, and on an idle machine the kernels meet their targets."""

import io
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from backbones.scan import selective_scan
from suite.bench.kernels import KernelRow, Sizes, loop_scan, measure_kernels, random_inputs, table

SMALL = Sizes(batch=2, length=9, dim=16, states=4, depth=2, stack_batch=2, matrix=64, repeats=1)


def by_name(rows: list[KernelRow]) -> dict[str, float]:
    return {row.name: row.value for row in rows}


def test_its_loop_agrees_with_the_reference_in_fp64() -> None:
    inputs = random_inputs(2, 2, 7, 5, 3).map(lambda part: part.double())
    given: dict[str, Any] = inputs._asdict()
    wanted = selective_scan(**given, reverse=(False, True), kernel="reference").y
    np.testing.assert_allclose(loop_scan(inputs, (False, True)), wanted, rtol=1e-10, atol=1e-10)


def test_rows_are_consistent_and_printed() -> None:
    rows = measure_kernels(SMALL)
    values = by_name(rows)
    assert all(value >= 0 and np.isfinite(value) for value in values.values())
    assert values["error of cpu"] < 1e-5
    assert values["error of cpu's gradients"] < 1e-4
    assert values["scan, cpu: speed-up"] == pytest.approx(
        values["scan, reference"] / values["scan, cpu"]
    )
    assert values["stack: floor over time"] == pytest.approx(
        values["stack: floor"] / values["stack of blocks"]
    )
    page = io.StringIO()
    Console(file=page, width=160).print(table(rows))
    assert all(row.name in page.getvalue() for row in rows)
    assert f"{torch.get_num_threads()} threads" in page.getvalue()


@pytest.mark.slow
def test_targets_are_met_on_an_idle_machine() -> None:
    values = by_name(measure_kernels())
    assert values["scan, cpu: speed-up"] >= 15
    assert values["scan, cpu: time over torch.exp"] <= 2
    assert values["stack: floor over time"] >= 0.45
    small = by_name(measure_kernels(Sizes(dim=64, states=8, depth=8, stack_batch=32)))
    assert small["stack of blocks"] / 32 <= 2

"""The figures of the CPU's scan kernels are consistent with each other and printed."""

import io

import numpy as np
import pytest
import torch
from rich.console import Console

from backbones.layers.mixer import BidirectionalMixer
from suite.bench.cpu_kernels import (
    KernelRow,
    Sizes,
    _linear_layers,
    measure_cpu_kernels,
    table,
)
from suite.bench.scan_inputs import exact_results, largest_error, random_inputs

SMALL = Sizes(batch=2, length=9, dim=16, states=4, depth=2, stack_batch=2, matrix=64, seconds=0.01)


def by_name(rows: list[KernelRow]) -> dict[str, float]:
    return {row.name: row.value for row in rows}


def test_the_error_is_relative_to_the_largest_value_of_each_tensor() -> None:
    exact = [torch.tensor([2.0, -4.0]), torch.tensor([0.1])]
    assert largest_error([torch.tensor([2.0, -4.4]), exact[1]], exact) == pytest.approx(0.1)
    assert largest_error([exact[0], torch.tensor([0.15])], exact) == pytest.approx(0.5)
    assert np.isnan(largest_error([exact[0], torch.tensor([torch.nan])], exact))


def test_the_exact_scan_is_in_fp64() -> None:
    y, *gradients = exact_results(random_inputs(2, 2, 7, 5, 3), gradients=True)
    assert y.dtype == torch.float64
    assert len(gradients) == 8


def test_rows_are_consistent_and_printed() -> None:
    rows = measure_cpu_kernels(SMALL)
    values = by_name(rows)
    assert all(value >= 0 and np.isfinite(value) for value in values.values())
    assert values["error of cpu"] < 1e-5
    assert values["error of reference"] < 1e-5
    assert values["error of cpu's gradients"] < 1e-4
    speedup = values["scan, reference"] / values["scan, cpu"]
    assert values["scan, cpu: speed-up"] == pytest.approx(speedup)
    floor = values["stack: floor"] / values["stack of blocks"]
    assert values["stack: floor over time"] == pytest.approx(floor)
    page = io.StringIO()
    Console(file=page, width=160).print(table(rows))
    assert all(row.name in page.getvalue() for row in rows)
    assert f"{torch.get_num_threads()} threads" in page.getvalue()


@pytest.mark.parametrize("dim", [64, pytest.param(192, marks=pytest.mark.slow)])
def test_flops_of_the_linear_layers_are_those_of_vim(dim: int) -> None:
    """Width C, E = 2C channels, N states, rank R = C / 16; multiply-accumulates by hand."""
    C, E, N, R = dim, 2 * dim, 8, dim // 16
    macs = C * 2 * E + 2 * (E * (R + 2 * N) + R * E) + E * C
    _, flops = _linear_layers(BidirectionalMixer(C, N), 10, Sizes(seconds=1e-4))
    assert flops == 2 * 10 * macs

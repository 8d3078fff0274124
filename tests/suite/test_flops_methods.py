"""What methods say they cost in matrix products, against both counters on a real model."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from backbones import create_model
from methods import METHODS
from methods.compose import Reducer
from suite.budget import solve
from suite.flops_trace import count_with_fvcore, count_with_torch

MODEL = create_model("vim_nano", kernel="reference", depth=4)
IMAGE = torch.randn(1, 3, 56, 56, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tracing is thousands of tiny operators, which threads only slow down."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", [name for name in METHODS if METHODS[name].compose() is not None])
def test_matrix_products_of_a_reduction_are_equal_three_ways(name: str) -> None:
    composition = METHODS[name].compose()
    assert composition is not None
    plan = solve(MODEL.describe(), composition, 0.4)
    reducers = {site: Reducer(composition, removed, site) for site, removed in plan.counts.items()}

    def cut(images: Tensor) -> Tensor:
        return MODEL.readout(MODEL.run(MODEL.embed(images), plan=reducers))

    for counted in (count_with_torch(lambda: cut(IMAGE)), count_with_fvcore(cut, IMAGE, module=MODEL)):
        assert counted.gemm == plan.flops.gemm + plan.flops.reduction_macs
        assert (counted.conv, counted.scan) == (plan.flops.conv, plan.flops.scan)

"""On an idle machine the CPU's scan and the stack of blocks are as fast as aimed at."""

import pytest

from suite.bench.cpu_kernels import Sizes, measure_cpu_kernels

VIM_TINY = Sizes()
VIM_NANO = Sizes(dim=64, states=8, depth=8, stack_batch=32)


def figures(sizes: Sizes) -> dict[str, float]:
    return {row.name: row.value for row in measure_cpu_kernels(sizes)}


@pytest.mark.slow
def test_the_kernels_reach_their_targets() -> None:
    values = figures(VIM_TINY)
    assert values["scan, cpu: speed-up"] >= 15
    assert values["scan, cpu: time over torch.exp"] <= 2
    assert values["stack: floor over time"] >= 0.45
    assert figures(VIM_NANO)["stack of blocks"] / VIM_NANO.stack_batch <= 2  # ms an image

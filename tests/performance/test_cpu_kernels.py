"""On an idle machine the CPU's scan and the stack of blocks are as fast as aimed at."""

import pytest
import torch

from backbones.scan import selective_scan
from suite.bench.cpu_kernels import Sizes, measure_cpu_kernels
from suite.bench.scan_inputs import random_inputs

VIM_TINY = Sizes()
VIM_NANO = Sizes(dim=64, states=8, depth=8, stack_batch=32)


# VMamba-T's third stage: 14 x 14 tokens of 384 channels, a state each, four directions
VMAMBA_SCAN = (4, 32, 196, 384, 1)
REVERSE = (False, False, True, True)


def figures(sizes: Sizes) -> dict[str, float]:
    return {row.name: row.value for row in measure_cpu_kernels(sizes)}


@pytest.mark.slow
def test_the_kernels_reach_their_targets() -> None:
    values = figures(VIM_TINY)
    assert values["scan, cpu: speed-up"] >= 15
    assert values["scan, cpu: time over torch.exp"] <= 2
    assert values["stack: floor over time"] >= 0.45
    assert figures(VIM_NANO)["stack of blocks"] / VIM_NANO.stack_batch <= 2  # ms an image


@pytest.mark.slow
def test_scans_of_one_state_take_less_than_half_of_sixteen_exponentials_a_channel() -> None:
    # as many floats as the bench above takes for a scan of 16 states of the same tokens
    inputs = random_inputs(*VMAMBA_SCAN)._replace(z=None)
    floats = torch.randn(inputs.u.numel() * VIM_TINY.states)
    out = torch.empty_like(floats)
    with torch.no_grad():
        exponential = VIM_TINY.best(lambda: torch.exp(floats, out=out))
        scan = VIM_TINY.best(
            lambda: selective_scan(**inputs._asdict(), reverse=REVERSE, kernel="cpu", mean=False)
        )
    assert scan <= 0.45 * exponential

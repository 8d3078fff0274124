"""A step of training under a reduction takes less than one of the whole model, and how much less."""

import statistics
import time

import pytest
import torch
import torch.nn.functional as F

from backbones import create_model
from methods.spec import parse
from suite.plan.budget import Problem, solve
from suite.plan.cells import reducers
from suite.plan.schedule import default_sites, find_schedule
from suite.training.lesson import NOTHING, Reduction
from suite.training.loop import Forward

ROUNDS = 5  # after one that warms up


def ratio(name: str, batch: int, device: str, bf16: bool) -> float:
    """Time of forward and backward under mtr at 40 % fewer FLOPs over the whole model's, in turn."""
    model = create_model(name).to(device).train()
    shape, composition = model.describe(), parse("mtr").composition(model.provides)
    assert composition is not None
    schedule, sites = find_schedule("constant-ratio"), default_sites(shape.sites)
    plan = solve(Problem(shape, composition, sites, schedule, "flops"), 0.4)
    reduction = Reduction(reducers(composition, plan, 0))
    whole, reduced = Forward(model, NOTHING, bf16), Forward(model, reduction, bf16)
    size = model.image_size
    images = torch.randn(batch, 3, size, size, device=device)
    labels = torch.arange(batch, device=device)

    def seconds(forward: Forward) -> float:
        model.zero_grad(set_to_none=True)
        if device == "cuda":
            torch.cuda.synchronize()
        started = time.perf_counter()
        torch.autograd.backward(F.cross_entropy(forward(images), labels))
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - started

    ratios = []
    for _ in range(1 + ROUNDS):
        dense = seconds(whole)
        ratios.append(seconds(reduced) / dense)
    return statistics.median(ratios[1:])


@pytest.mark.slow
def test_a_step_on_a_cpu_takes_at_most_four_fifths() -> None:
    assert ratio("vim_tiny", 8, "cpu", bf16=False) <= 0.8


@pytest.mark.gpu
def test_a_step_on_a_gpu_takes_at_most_three_quarters() -> None:
    assert ratio("vim_small", 128, "cuda", bf16=True) <= 0.75

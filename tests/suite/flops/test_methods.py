"""What methods say they cost in matrix products, against both counters on a real model."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from backbones import create_model
from methods import METHODS
from suite.flops.counters import Counted, count_with_fvcore, count_with_torch
from suite.plan.budget import Problem
from suite.plan.cells import reducers
from suite.plan.layout import incompatibility, solved
from suite.plan.schedule import CONSTANT_RATIO, default_sites

# The scan's loop over tokens takes nearly all of the time: few of them.
SIDE = 28
SMALL: dict[str, Any] = {
    "kernel": "reference",
    "image_size": SIDE,
    "dim": 16,
    "depth": 3,
    "states": 4,
    "patch": 4,
    "stride": 4,
}
MODELS = {
    "attention": create_model("deit_nano", dim=24, layers=3),
    "one class token": create_model("vim_nano", kernel="reference", depth=4, image_size=SIDE),
    "registers": create_model("mambareg_base", **SMALL | {"image_size": 48}, registers=5),
    "zig-zag scans": create_model(
        "plainmamba_l1",
        kernel="reference",
        dim=64,
        depth=4,
        states=4,
        patch=4,
        image_size=SIDE,
        convolutions=1,
    ),
    "a scan with heads": create_model(
        "adventurer_nano", kernel="reference", depth=4, image_size=SIDE
    ),
    "a clip": create_model("videomamba_tiny_video", **SMALL, frames=3),
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tracing is thousands of tiny operators, which threads only slow down."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def served(kind: str, name: str) -> bool:
    """Whether the method composes something that fits the backbone."""
    composition = METHODS[name].compose(MODELS[kind].provides)
    return composition is not None and incompatibility(composition, MODELS[kind]) is None


PAIRS = [(k, n) for k in MODELS for n in METHODS if METHODS[n].kind == "sequence" and served(k, n)]
FIRST = {name: kind for kind, name in reversed(PAIRS)}
# Torch counts each method on one model and these on all. fvcore takes half a second to trace a method: one on each of the quickest models, of each kind
# of product. The others' are torch's counts alone.
QUICK = {"tome": "attention", "grid-resize": "attention", "mtr": "one class token"}


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        pytest.param(k, n, marks=() if n in QUICK or FIRST[n] == k else pytest.mark.slow)
        for k, n in PAIRS
    ],
)
def test_matrix_products_of_a_reduction_are_those_that_torch_counts(name: str, kind: str) -> None:
    check(name, kind, lambda cut, image: count_with_torch(lambda: cut(image)))


@pytest.mark.parametrize(
    ("kind", "name"),
    [pytest.param(k, n, marks=() if k == QUICK.get(n) else pytest.mark.slow) for k, n in PAIRS],
)
def test_matrix_products_of_a_reduction_are_those_that_fvcore_counts(name: str, kind: str) -> None:
    check(name, kind, lambda cut, image: count_with_fvcore(cut, image, module=MODELS[kind]))


def check(
    name: str, kind: str, count: Callable[[Callable[[Tensor], Tensor], Tensor], Counted]
) -> None:
    model = MODELS[kind]
    frames = (model.frames,) if model.frames > 1 else ()
    size = (1, 3, *frames, model.image_size, model.image_size)
    image = torch.randn(size, generator=torch.Generator().manual_seed(0))
    composition = METHODS[name].compose(model.provides)
    assert composition is not None
    shape = model.describe()
    plan = solved(
        Problem(shape, composition, default_sites(shape.sites), CONSTANT_RATIO, "flops"), 0.2
    )
    cutters = reducers(composition, plan, 0)

    def cut(images: Tensor) -> Tensor:
        return model.readout(model.run(model.embed(images), plan=cutters))

    counted = count(cut, image)
    assert counted.gemm == plan.flops.gemm + plan.flops.reduction_macs
    assert (counted.conv, counted.scan) == (plan.flops.conv, plan.flops.scan)

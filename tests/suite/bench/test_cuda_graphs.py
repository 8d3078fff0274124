"""Reduced models as CUDA graphs: no step waits for a value, or reads one of the host."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from backbones import create_model
from backbones.base import Backbone
from methods import METHODS
from methods.spec import parse
from suite.bench.cuda_graphs import captured
from suite.plan.budget import Problem
from suite.plan.cells import reducers
from suite.plan.layout import solved
from suite.plan.schedule import CONSTANT_RATIO, default_sites

TEXTS = [
    *(name for name in METHODS if METHODS[name].kind == "sequence"),
    "mtr[weights=pair]",
    "mtr[order=shuffled,shuffle=0.5]",
    "tome[order=appended]",
    "pool[path=grid]",
    "evit[score=hidden-attention]",
]
# Together these have each value of each part of all of them; the others take as long again.
QUICK = {
    *("random", "stride", "pool[path=grid]", "grid-resize", "norm", "tome[order=appended]", "evit"),
    *("hsa", "utr", "pumer", "stm", "storm", "mtr[order=shuffled,shuffle=0.5]"),
}
SMALL: dict[str, Any] = {
    "depth": 4,
    "dim": 8,
    "states": 2,
    "image_size": 28,
    "patch": 4,
    "stride": 4,
}


class OnDevice(TorchDispatchMode):
    """Refuse an operation that reads a tensor of the host, whose copy cannot be in a graph."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        read = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        assert all(leaf.device.type == "cuda" for leaf in read), (
            f"{func} reads a tensor of the host"
        )
        return func(*args, **(kwargs or {}))


@contextmanager
def imagined_gpu() -> Iterator[None]:
    """Tensors of a GPU with shapes and no values; reading one, or a shape that needs one, fails."""
    with FakeTensorMode(), torch.device("cuda"), torch.inference_mode():
        yield


def forward(text: str, model: Backbone) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """A reduced model's pass, and its input."""
    composition = parse(text).composition()
    assert composition is not None
    shape = model.describe()
    applied = reducers(
        composition,
        solved(
            Problem(shape, composition, default_sites(shape.sites), CONSTANT_RATIO, "flops"), 0.2
        ),
        seed=1,
    )
    assert applied
    images = torch.randn(2, 3, model.image_size, model.image_size)
    return lambda given: model.readout(model.run(model.embed(given), plan=applied)), images


def imagined(model: Backbone) -> Backbone:
    """The model with parameters that have no values."""
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                empty = torch.empty(parameter.shape, dtype=parameter.dtype)
                module._parameters[name] = nn.Parameter(empty, requires_grad=False)
    return model


def parts(texts: Iterable[str]) -> set[tuple[str, object]]:
    """Each value of each field of the compositions of `texts`."""
    return {pair for text in texts for pair in vars(parse(text).composition()).items()}


def test_no_part_is_left_to_the_slow_tests() -> None:
    assert QUICK.issubset(TEXTS)
    assert parts(QUICK) == parts(TEXTS)


@pytest.mark.parametrize(
    "text",
    [text if text in QUICK else pytest.param(text, marks=pytest.mark.slow) for text in TEXTS],
)
def test_nothing_waits_for_the_gpu(text: str) -> None:
    model = create_model("vim_nano", kernel="reference", **SMALL)
    with imagined_gpu():
        run, images = forward(text, imagined(model))
        with OnDevice():  # type: ignore[no-untyped-call]
            logits = run(images)
    assert logits.shape == (2, 10)
    assert logits.device.type == "cuda"


@pytest.mark.parametrize(
    "step", [lambda x: x[x > 0], lambda x: x[[0, 1]], lambda x: x + torch.arange(2, device="cpu")]
)
def test_a_step_that_does_is_found(step: Callable[[Tensor], Tensor]) -> None:
    with imagined_gpu():
        tokens = torch.randn(2)
        with (
            pytest.raises(
                Exception, match=r"reads a tensor of the host|nonzero|data-dependent|dynamic"
            ),
            OnDevice(),
        ):  # type: ignore[no-untyped-call]
            step(tokens)


@pytest.mark.gpu
@pytest.mark.parametrize("text", TEXTS)
def test_a_graph_repeats_the_pass(text: str) -> None:
    with torch.device("cuda"), torch.inference_mode():
        torch.manual_seed(0)
        run, images = forward(text, create_model("vim_nano", kernel="reference", **SMALL))
        wanted = run(images).clone()
        replay = captured(run, images)
        for _ in range(2):
            torch.testing.assert_close(replay(), wanted, rtol=1e-4, atol=1e-4)

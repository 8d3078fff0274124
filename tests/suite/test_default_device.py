"""What a caller made torch's default device changes nothing in a model that lives on another."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from backbones import create_model
from backbones.layers import batch_invariant, fused_path
from backbones.scan import dispatch
from methods.fused import dispatch as inference
from methods.spec import parse
from suite.plan.budget import Problem, solve
from suite.plan.cells import reducers
from suite.plan.schedule import CONSTANT_RATIO, default_sites

SMALL: dict[str, Any] = {
    "depth": 4,
    "dim": 8,
    "states": 2,
    "image_size": 40,
    "patch": 4,
    "stride": 4,
}
PROOFS: list[Any] = [
    fused_path.check_forward,
    dispatch._chosen,
    inference._agrees,
    batch_invariant._has_onednn,
]


def passes(text: str, training: bool) -> Callable[[], list[Tensor]]:
    """A reduced model's logits, with gradients of its parameters where `training`, of the same images every time."""
    torch.manual_seed(0)
    model = create_model("vim_nano", **SMALL)
    composition = parse(text).composition()
    assert composition is not None
    shape = model.describe()
    plan = reducers(
        composition,
        solve(
            Problem(shape, composition, default_sites(shape.sites), CONSTANT_RATIO, "flops"), 0.2
        ),
        seed=1,
    )
    images = torch.randn(2, 3, 40, 40)

    def run() -> list[Tensor]:
        with torch.set_grad_enabled(training):
            logits = model.readout(model.run(model.embed(images), plan=plan))
            return (
                [logits, *torch.autograd.grad(logits.sum(), list(model.parameters()))]
                if training
                else [logits]
            )

    return run


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    "text", ["mtr", "random", "mtr[order=shuffled,shuffle=0.5]", "pool[path=grid]"]
)
def test_a_model_is_proved_and_runs_where_it_lives(text: str, training: bool) -> None:
    run = passes(text, training)
    wanted = run()
    for proof in PROOFS:
        proof.cache_clear()
    with torch.device("meta"):  # tensors without values: whatever lands there fails or is lost
        found = run()
    for one, other in zip(found, wanted, strict=True):
        assert torch.equal(one, other)

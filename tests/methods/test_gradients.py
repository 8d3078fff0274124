"""Gradients through a reduction: those of finite differences, the choice of tokens held fixed."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from backbones.models.sizes import MambaConfig
from backbones.models.vim import Vim
from backbones.sequence import TokenSequence
from methods import METHODS, narrow, reduce
from methods.composition import Composition
from methods.fused import dispatch
from methods.parts import grid_pairs
from methods.reducer import Reducer
from methods.spec import parse

Fabricate = Callable[..., TokenSequence]
SCORED: dict[str, Any] = {"matching": "lowest", "score": "delta"}
PAIRS: dict[str, Any] = {"matching": "odd-even", "feature": "branch"}
GRID: dict[str, Any] = {"matching": "grid-pairs", "feature": "branch+residual"}
FUSED: dict[str, Any] = {"matching": "fused", "weights": "attention"}
CASES: dict[str, dict[str, Any]] = {
    "dropped": SCORED,
    "decay handed on": {**SCORED, "aligned": True},
    "mean": {**PAIRS, "weights": "mean"},
    "sizes": {**PAIRS, "weights": "size"},
    "in turn": {"matching": "neighbours", "feature": "c", "weights": "pair"},
    "input gate": {**PAIRS, "weights": "delta-b"},
    "runs": {"matching": "runs", "path": "grid", "weights": "mean"},
    "attention": {**FUSED, "score": "cls-attention"},
    "cosine": {**FUSED, "score": "cls-similarity"},
    "hidden attention": {**FUSED, "score": "hidden-attention"},
    "hidden attention without decay": {**FUSED, "score": "hidden-attention", "decay": False},
    "score as a weight": {**FUSED, "score": "activation", "window": 3},
    "faded": {**FUSED, "score": "b", "sensitivity": 2.0},
    "some pruned": {**PAIRS, "score": "norm", "prune_ratio": 0.5, "weights": "size"},
    "some pruned, the others fused": {**FUSED, "score": "delta-b", "prune_ratio": 0.5},
    "one stream drops": {**PAIRS, "weights": "size", "branch_drop_ratio": 0.5},
    "away from the class token": {**SCORED, "cls_window": 2},
    "shuffled": {**PAIRS, "weights": "size", "order": "shuffled"},
    "misplaced": {**PAIRS, "weights": "size", "cls_placement": "proportional"},
    "grid, sum": {**GRID, "weights": "sum"},
    "grid, sizes": {**GRID, "weights": "size"},
    "grid, dropped": {**GRID, "weights": "drop"},
    "area": {"matching": "grid-resize", "weights": "mean", "resize": "area"},
    "bilinear": {"matching": "grid-resize", "weights": "mean", "resize": "bilinear"},
}
# What is read of a trace by some of them, beside the two streams and the carry.
READ = ("delta_mean", "delta", "A", "B", "C", "ungated", "cls_attention")


@pytest.fixture(autouse=True)
def with_gradients(without_gradients: None) -> Iterator[None]:
    with torch.enable_grad():
        yield


def fixed_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first matching of a test is that of all later ones."""
    first: list[Any] = []

    def once(function: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any) -> Any:
            if not first:
                first.append(function(*arguments))
            return first[0]

        return called

    monkeypatch.setattr(reduce, "matched", once(reduce.matched))
    monkeypatch.setattr(narrow.grid_pairs, "plan", once(grid_pairs.plan))


@pytest.mark.parametrize("case", CASES)
def test_gradients_are_those_of_finite_differences(
    case: str, fabricate: Fabricate, monkeypatch: pytest.MonkeyPatch
) -> None:
    composition = Composition(**CASES[case])
    tokens = fabricate(batch=2, dtype=torch.float64, dim=3, inner=2, states=2)
    fixed_choice(monkeypatch)
    lines, removed = (0, 0), 5
    if composition.keeps_rectangle:
        lines, removed = (1, 1), 7
    reducer = Reducer(composition, removed, 1, 0, lines)
    trace = tokens.trace
    assert trace is not None
    read = [name for name in READ if name in composition.needs]
    leaves = [tokens.branch, tokens.residual, tokens.carry, *(getattr(trace, n) for n in read)]

    def run(branch: Tensor, residual: Tensor, carry: Tensor, *traced: Tensor) -> tuple[Tensor, ...]:
        shown = replace(trace, **dict(zip(read, traced, strict=True)))
        out = reducer(replace(tokens, branch=branch, residual=residual, carry=carry, trace=shown))
        assert out.carry is not None
        return out.branch, out.residual, out.carry

    inputs = [leaf.clone().requires_grad_() for leaf in leaves]
    assert torch.autograd.gradcheck(run, inputs, eps=1e-6, atol=1e-7, fast_mode=True)


def test_weights_that_are_scores_have_a_gradient(fabricate: Fabricate) -> None:
    composition = Composition(**CASES["attention"])
    tokens = fabricate(dtype=torch.float64)
    assert tokens.trace is not None
    attention = tokens.trace.cls_attention
    assert attention is not None
    attention.requires_grad_()
    out = Reducer(composition, 5, 1)(tokens)
    out.branch.square().sum().backward()
    assert attention.grad is not None
    # Of the tokens that go, and of the one they go into; the others are only copied.
    touched = (attention.grad != 0).sum(1)
    assert touched.tolist() == [6, 6]


def test_what_is_pruned_and_fused_at_once_has_finite_gradients(fabricate: Fabricate) -> None:
    # A dropped token is its own target, which no source goes into.
    composition = Composition(**CASES["some pruned, the others fused"])
    tokens = fabricate(dtype=torch.float64)
    assert tokens.trace is not None
    assert tokens.trace.B is not None
    tokens.trace.B.requires_grad_()
    Reducer(composition, 6, 1)(tokens).residual.square().sum().backward()
    assert tokens.trace.B.grad is not None
    assert bool(tokens.trace.B.grad.isfinite().all())


def test_weightless_groups_have_finite_gradients(fabricate: Fabricate) -> None:
    composition = Composition(**CASES["input gate"])
    tokens = fabricate()
    assert tokens.trace is not None
    assert tokens.trace.B is not None
    silent = tokens.trace.B.zero_().requires_grad_()
    Reducer(composition, 6, 1)(tokens).residual.square().sum().backward()
    assert silent.grad is not None
    assert bool(silent.grad.isfinite().all())


def test_compiled_loops_step_aside(fabricate: Fabricate) -> None:
    composition = parse("mtr").composition()
    assert composition is not None
    tokens = fabricate()
    assert not dispatch.serves(composition, tokens)
    with torch.no_grad():
        assert dispatch.serves(composition, tokens)
    tokens.branch.requires_grad_()
    out = Reducer(composition, 5, 1)(tokens)
    assert out.branch.requires_grad
    assert not out.size.requires_grad


def small(dtype: torch.dtype, kernel: str) -> Vim:
    torch.manual_seed(3)
    config = MambaConfig(dim=8, depth=4, states=2, image_size=16, patch=4, stride=4, classes=3)
    model = Vim("vim_small_test", config).to(dtype)
    model.set_kernel(kernel)
    return model


def loss_of(model: Vim, images: Tensor, composition: Composition) -> tuple[Tensor, Tensor]:
    """A loss under two sites, and which positions were left."""
    lines = (1, 0) if composition.keeps_rectangle else (0, 0)
    removed = 4
    sites = {site: Reducer(composition, removed, site, 0, lines) for site in (1, 3)}
    tokens = model.run(model.embed(images), plan=sites)
    target = torch.arange(len(images)) % 3
    loss = torch.nn.functional.cross_entropy(model.readout(tokens).double(), target)
    return loss, tokens.position


REDUCING = [name for name, method in METHODS.usable() if method.kind == "sequence"]


@pytest.mark.parametrize("name", REDUCING)
def test_a_whole_model_has_the_gradient_of_finite_differences(name: str) -> None:
    model = small(torch.float64, "reference")
    composition = parse(name).composition(model.provides)
    assert composition is not None
    if model.missing(composition.needs):
        pytest.skip("for attention")
    images = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    loss, chosen = loss_of(model, images, composition)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    direction = [torch.randn_like(parameter) for parameter in parameters]
    slope = 0.0
    for gradient, step in zip(gradients, direction, strict=True):
        slope += 0.0 if gradient is None else float((gradient * step).sum())
    ends = []
    for sign in (1, -1):
        with torch.no_grad():
            for parameter, step in zip(parameters, direction, strict=True):
                parameter.add_(step, alpha=sign * 1e-6)
            end, same = loss_of(model, images, composition)
            for parameter, step in zip(parameters, direction, strict=True):
                parameter.sub_(step, alpha=sign * 1e-6)
        assert torch.equal(same, chosen)
        ends.append(float(end))
    assert slope == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-5, abs=1e-8)
    # What comes before the first site is reached through every reduction.
    names = [name for name, _ in model.named_parameters()]
    first = gradients[names.index("patch_embed.proj.weight")]
    assert first is not None
    assert float(first.abs().sum()) > 0


@pytest.mark.parametrize("name", ["mtr", "hsa", "stm", "rmeeto"])
def test_the_compiled_scan_has_the_gradients_of_the_reference(name: str) -> None:
    images = torch.randn(2, 3, 16, 16)
    gradients = []
    for kernel in ("cpu", "reference"):
        model = small(torch.float32, kernel)
        composition = parse(name).composition(model.provides)
        assert composition is not None
        loss, _ = loss_of(model, images, composition)
        loss.backward()
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)

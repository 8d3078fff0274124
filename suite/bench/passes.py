"""One forward pass under a plan, and the calls of the reducers in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from torch import Tensor

from backbones.base import Backbone, Reducer
from backbones.sequence import TokenSequence

Plan = Mapping[int, Reducer]
Observer = Callable[[Reducer, TokenSequence], TokenSequence]


def forward(model: Backbone, images: Tensor, plan: Plan) -> Tensor:
    """Logits (B, classes) of `images` (B, 3, S, S) with tokens removed by `plan`."""
    return model.readout(model.run(model.embed(images), plan=plan))


def observed(plan: Plan, observer: Observer) -> dict[int, Reducer]:
    """The plan with every call of a reducer handed to `observer`, which makes the call."""
    return {site: _ObservedReducer(reducer, observer) for site, reducer in plan.items()}


def reducer_calls(model: Backbone, images: Tensor, plan: Plan) -> list[Callable[[], TokenSequence]]:
    """The calls of all reducers in one pass, each on the tokens that it gets there."""
    calls: list[Callable[[], TokenSequence]] = []

    def record(reducer: Reducer, tokens: TokenSequence) -> TokenSequence:
        calls.append(partial(reducer, tokens))
        return reducer(tokens)

    forward(model, images, observed(plan, record))
    return calls


class _ObservedReducer:
    def __init__(self, reducer: Reducer, observer: Observer) -> None:
        self.reducer, self.observer, self.needs = reducer, observer, reducer.needs

    def __call__(self, tokens: TokenSequence) -> TokenSequence:
        return self.observer(self.reducer, tokens)

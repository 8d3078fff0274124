"""One forward pass under a plan: its logits, its time, and the calls of the reducers in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from backbones.base import Backbone, Reducer
from backbones.sequence import TokenSequence
from methods.parts.view import View
from suite.bench.timing import now, seconds
from suite.evaluation.runner import embed, seen

Observer = Callable[[Reducer, TokenSequence], TokenSequence]


@dataclass(frozen=True)
class Pass:
    """A forward pass of `model` on `images` (B, 3, S, S), with tokens removed by `plan`.

    With a `view`, tokens are made of its window of the images alone, at `image_size` pixels.
    """

    model: Backbone
    images: Tensor
    plan: Mapping[int, Reducer]
    view: View | None = None
    image_size: int | None = None

    @property
    def device(self) -> str:
        """Where it runs."""
        return self.images.device.type

    def __call__(self) -> Tensor:
        """Logits (B, classes)."""
        size = self.image_size or self.model.image_size
        sized, tokens = embed(self.model, self.images, None, size, self.view)
        return sized.readout(sized.run(tokens, plan=self.plan))

    def seconds(self) -> float:
        """Median seconds of the pass."""
        return seconds(self, self.device)

    def reducer_calls(self) -> list[Callable[[], TokenSequence]]:
        """The calls of all reducers, each on the tokens that it gets in the pass."""
        calls: list[Callable[[], TokenSequence]] = []

        def record(reducer: Reducer, tokens: TokenSequence) -> TokenSequence:
            calls.append(partial(reducer, tokens))
            # the next one gets the tokens that this one leaves
            return reducer(tokens)

        self._observed(record)()
        return calls

    def reducer_seconds(self) -> float:
        """Seconds inside the reducers of one pass, or in finding and making its view."""
        times = []
        if self.view is not None:
            started = now()
            seen(self.images, None, self.image_size or self.model.image_size, self.view)
            times.append(now() - started)

        # in the pass, where the caches are as full of other data as they really are
        def time(reducer: Reducer, tokens: TokenSequence) -> TokenSequence:
            started = now()
            reduced = reducer(tokens)
            times.append(now() - started)
            return reduced

        self._observed(time)()
        return sum(times)

    def _observed(self, observer: Observer) -> Pass:
        """The same pass with every call of a reducer made by `observer`."""
        plan = {site: _Observed(reducer, observer) for site, reducer in self.plan.items()}
        return replace(self, plan=plan)


class _Observed:
    def __init__(self, reducer: Reducer, observer: Observer) -> None:
        # what a reducer needs of the trace is asked before it is called
        self.reducer, self.observer, self.needs = reducer, observer, reducer.needs

    def __call__(self, tokens: TokenSequence) -> TokenSequence:
        return self.observer(self.reducer, tokens)


def random_images(model: Backbone, batch: int, device: str) -> Tensor:
    """Images, or clips, as the model takes them, always the same."""
    frames = (model.frames,) if model.frames > 1 else ()
    shape = (batch, 3, *frames, model.image_size, model.image_size)
    # drawn on the CPU, whose generator gives the same numbers everywhere
    images = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return images.to(device, next(model.parameters()).dtype)

"""What the reductions themselves cost in time: their share of a reduced model's forward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from rich.table import Table

from backbones import create_model
from backbones.base import Backbone, Reducer
from backbones.common.errors import UserError
from backbones.sequence import TokenSequence
from methods.spec import parse_list
from suite.bench.clock import interleaved, now
from suite.plan import budget as budgets
from suite.plan.budget import BudgetUnreachable, Plan
from suite.plan.cells import reducers
from suite.plan.schedule import CONSTANT_RATIO, named


@dataclass(frozen=True)
class ReductionRow:
    """One method at one budget: milliseconds an image, dense and reduced, and what of it is the reduction."""

    method: str
    budget: float
    dense_ms: float
    reduced_ms: float
    reduction_ms: float
    flops_share: float

    @property
    def share(self) -> float:
        """The reduction's share of the reduced model's time."""
        return self.reduction_ms / self.reduced_ms

    @property
    def speedup(self) -> float:
        """Dense over reduced time."""
        return self.dense_ms / self.reduced_ms


class Stopwatch:
    """A reducer that adds the time its calls take to `spent`."""

    spent = 0.0

    def __init__(self, reducer: Reducer, device: str) -> None:
        self.reducer, self.device = reducer, device
        self.needs = reducer.needs

    def __call__(self, tokens: TokenSequence) -> TokenSequence:
        """Reduce, and count the seconds."""
        started = now(self.device)
        reduced = self.reducer(tokens)
        type(self).spent += now(self.device) - started
        return reduced


def measure(
    backbone: str, methods: str, budget: float, batch: int, rounds: int, device: str
) -> list[ReductionRow]:
    """Time every method at `budget` on random weights and images (time does not depend on their values)."""
    model = create_model(backbone).to(device)
    images = torch.randn(batch, 3, model.image_size, model.image_size, device=device)
    plans = dict(_plans(model, methods, budget))
    runs: dict[str, Callable[[], float]] = {"dense": partial(_seconds, model, images, {}, device)}
    spent: dict[str, list[float]] = {}
    for name, (_, plan) in plans.items():
        runs[name] = partial(_seconds, model, images, plan, device)
        spent[name] = []
        runs[f"{name}: reduction"] = partial(_reduction_seconds, model, images, plan, device)
    with torch.inference_mode():
        medians = interleaved(runs, rounds)
    return [
        ReductionRow(
            method=name,
            budget=budget,
            dense_ms=1e3 * medians["dense"] / batch,
            reduced_ms=1e3 * medians[name] / batch,
            reduction_ms=1e3 * medians[f"{name}: reduction"] / batch,
            flops_share=solved.flops.reduction / solved.total["flops"],
        )
        for name, (solved, _) in plans.items()
    ]


def _plans(
    model: Backbone, methods: str, budget: float
) -> Iterator[tuple[str, tuple[Plan, dict[int, Reducer]]]]:
    for method in parse_list(methods):
        composition = method.composition(model.provides)
        if composition is None:
            raise UserError(f"{method} reduces no tokens: name methods that do")
        try:
            schedule = named(method.schedule) if method.schedule else CONSTANT_RATIO
            plan = budgets.solve(model.describe(), composition, budget, schedule=schedule)
        except BudgetUnreachable as error:
            raise UserError(f"{method}: {error}") from error
        yield method.text, (plan, reducers(composition, plan, seed=0))


def _seconds(model: Backbone, images: torch.Tensor, plan: dict[int, Reducer], device: str) -> float:
    started = now(device)
    model.readout(model.run(model.embed(images), plan=plan))
    return now(device) - started


def _reduction_seconds(
    model: Backbone, images: torch.Tensor, plan: dict[int, Reducer], device: str
) -> float:
    """Seconds inside the reducers of one forward pass."""
    Stopwatch.spent = 0.0
    _seconds(
        model, images, {site: Stopwatch(reducer, device) for site, reducer in plan.items()}, device
    )
    return Stopwatch.spent


def table(rows: list[ReductionRow]) -> Table:
    """The rows for a terminal."""
    heads = (
        "method",
        "FLOPs removed",
        "dense ms/image",
        "reduced ms/image",
        "speed-up",
        "of it the reduction",
        "of FLOPs",
    )
    shown = Table(*heads, title=f"Cost of the reduction, {torch.get_num_threads()} threads")
    for row in rows:
        shown.add_row(
            row.method,
            f"{100 * row.budget:.0f} %",
            f"{row.dense_ms:.2f}",
            f"{row.reduced_ms:.2f}",
            f"{row.speedup:.2f}",
            f"{100 * row.share:.1f} %",
            f"{100 * row.flops_share:.1f} %",
        )
    return shown

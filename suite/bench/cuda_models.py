"""Whole models on a GPU: images a second, dense by every kernel and reduced by the best, and what the time goes to.

Passes are replayed as CUDA graphs, so that the host cannot be what is measured; what a pass takes
when the host launches every kernel stands beside it. A reduction's share is the time of a graph of
the reducers alone, on the tokens that they really meet, over the time of the whole pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from rich.table import Table
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from backbones import create_model
from backbones.base import Backbone, Reducer
from backbones.common.errors import UserError
from backbones.scan import chosen
from backbones.sequence import TokenSequence
from methods.spec import parse_list
from suite.bench.authors_block import stock_blocks
from suite.bench.ceilings import cuda_seconds
from suite.bench.cuda_graphs import captured
from suite.bench.memory import peak_mib
from suite.plan import budget as budgets
from suite.plan.cells import reducers
from suite.system.hardware import DTYPES

AUTHORS = "mamba_ssm, as Vim's authors run it"
KERNELS = ("reference", "mamba_ssm", AUTHORS, "triton")
REDUCED_BY = "triton"
PRECISIONS = ("bf16", "fp32")
DEVICE = "cuda"
KERNELS_SHOWN = 12


@dataclass(frozen=True)
class ModelRow:
    """One model in one precision by one kernel, dense or reduced."""

    backbone: str
    precision: str
    kernel: str
    method: str
    budget: float
    removed: float
    images_per_second: float
    eager_images_per_second: float
    speedup: float
    reduction_share: float
    peak_mib: float
    kernel_milliseconds: dict[str, float] = field(default_factory=dict)


def measure_models(
    backbones: tuple[str, ...],
    methods: str,
    fractions: tuple[float, ...],
    batch: int,
    tell: Callable[[str], None],
) -> Iterator[ModelRow]:
    """Every backbone dense by every kernel that serves here, and reduced by each method at each budget.

    Random weights and images: time does not depend on their values. What is left out, `tell` is
    told with the reason. UserError if a kernel is wrong.
    """
    torch.set_float32_matmul_precision("highest")
    for name in backbones:
        for precision in PRECISIONS:
            yield from _rows(name, precision, methods, fractions, batch, tell)


def _rows(
    name: str,
    precision: str,
    methods: str,
    fractions: tuple[float, ...],
    batch: int,
    tell: Callable[[str], None],
) -> Iterator[ModelRow]:
    dense: dict[str, ModelRow] = {}
    for kernel in KERNELS:
        model = _model(name, precision, kernel, tell)
        if model is not None:
            dense[kernel] = _row(model, precision, kernel, "none", 0.0, 0.0, {}, batch, None)
            yield dense[kernel]
    if REDUCED_BY not in dense:
        return
    model = _model(name, precision, REDUCED_BY, tell)
    assert model is not None
    for method in parse_list(methods):
        composition = method.composition()
        if composition is None:
            raise UserError(f"{method} reduces no tokens: name methods that do")
        for fraction in fractions:
            try:
                plan = budgets.solve(model.describe(), composition, fraction)
            except budgets.BudgetUnreachable as error:
                tell(f"{name} {precision} {method.text} at {fraction}: left out, {error}")
                continue
            cut = plan.removed["flops"]
            applied = reducers(composition, plan, seed=0)
            yield _row(
                model, precision, REDUCED_BY, method.text, fraction, cut, applied, batch, dense[REDUCED_BY]
            )  # fmt: skip


def _model(name: str, precision: str, kernel: str, tell: Callable[[str], None]) -> Backbone | None:
    """The model with that kernel; None, and the reason told, where the kernel cannot serve."""
    own = "mamba_ssm" if kernel == AUTHORS else kernel
    try:
        chosen(own, DEVICE, DTYPES[precision])
    except UserError as error:
        if "wrong" in str(error):
            raise
        tell(f"{name} {precision} {kernel}: left out, {error}")
        return None
    model = create_model(name, kernel=own).to(DEVICE).eval().cast(DTYPES[precision])
    if kernel == AUTHORS:
        model.layers = stock_blocks(model.blocks)
    return model


def _row(
    model: Backbone,
    precision: str,
    kernel: str,
    method: str,
    budget: float,
    cut: float,
    plan: dict[int, Reducer],
    batch: int,
    dense: ModelRow | None,
) -> ModelRow:
    images = torch.randn(batch, 3, model.image_size, model.image_size, device=DEVICE)

    def forward(given: Tensor) -> Tensor:
        return model.readout(model.run(model.embed(given), plan=plan))

    slow = kernel == "reference"
    with torch.inference_mode():
        torch.cuda.empty_cache()
        peak = peak_mib(lambda: forward(images), DEVICE)
        eager = cuda_seconds(lambda: forward(images), 2 if slow else 10, warm_ups=1)
        seconds = eager if slow else cuda_seconds(captured(forward, images), 20)
        reduction = _reducers_seconds(model, images, plan) if plan else 0.0
        kernels = {} if slow else _kernel_milliseconds(lambda: forward(images))
    rate = batch / seconds
    return ModelRow(
        backbone=model.name,
        precision=precision,
        kernel=kernel,
        method=method,
        budget=budget,
        removed=cut,
        images_per_second=rate,
        eager_images_per_second=batch / eager,
        speedup=rate / dense.images_per_second if dense else 1.0,
        reduction_share=reduction / seconds,
        peak_mib=peak,
        kernel_milliseconds=kernels,
    )


def _reducers_seconds(model: Backbone, images: Tensor, plan: dict[int, Reducer]) -> float:
    """Seconds of all reducers of a pass, on the tokens that they meet in it."""
    met: list[tuple[Reducer, TokenSequence]] = []

    class Witness:
        def __init__(self, reducer: Reducer) -> None:
            self.reducer, self.needs = reducer, reducer.needs

        def __call__(self, tokens: TokenSequence) -> TokenSequence:
            met.append((self.reducer, tokens))
            return self.reducer(tokens)

    model.run(model.embed(images), plan={site: Witness(reducer) for site, reducer in plan.items()})
    return cuda_seconds(
        captured(lambda pairs: [reducer(tokens) for reducer, tokens in pairs], met), 20
    )


def _kernel_milliseconds(run: Callable[[], object]) -> dict[str, float]:
    """Milliseconds of each CUDA kernel in one pass, the longest first."""
    run()
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as seen:
        run()
        torch.cuda.synchronize()
    spent = {event.key: event.self_device_time_total / 1e3 for event in seen.key_averages()}
    return dict(
        sorted(((key, time) for key, time in spent.items() if time > 0), key=lambda item: -item[1])
    )


def line(row: ModelRow) -> str:
    """One row as it is measured."""
    what = row.kernel if row.method == "none" else f"{row.method} at {row.budget}"
    return f"{row.backbone} {row.precision} {what}: {row.images_per_second:.0f} images/s"


def table(rows: list[ModelRow]) -> Table:
    """The rows for a terminal."""
    shown = Table(title="Whole models on a GPU: images a second")
    for head in ("backbone", "precision", "kernel", "method"):
        shown.add_column(head)
    for head in (
        "FLOPs cut",
        "images/s",
        "launched one by one",
        "speed-up",
        "reduction",
        "activations MiB",
    ):
        shown.add_column(head, justify="right")
    for row in rows:
        shown.add_row(
            row.backbone,
            row.precision,
            row.kernel,
            row.method,
            f"{100 * row.removed:.1f} %",
            f"{row.images_per_second:.0f}",
            f"{row.eager_images_per_second:.0f}",
            f"{row.speedup:.2f}",
            f"{100 * row.reduction_share:.1f} %",
            f"{row.peak_mib:.0f}",
        )
    return shown


def profile_table(rows: list[ModelRow]) -> Table:
    """Milliseconds by CUDA kernel, of the dense passes and of those under the first method."""
    reduced = [row.method for row in rows if row.method != "none"]
    methods = ("none", *reduced[:1])
    heads = ("backbone", "precision", "kernel", "method", "CUDA kernel", "ms", "share")
    shown = Table(*heads, title="Kernels of a pass")
    for row in (row for row in rows if row.method in methods):
        whole = sum(row.kernel_milliseconds.values())
        what = row.method if row.method == "none" else f"{row.method} at {row.budget}"
        for name, time in list(row.kernel_milliseconds.items())[:KERNELS_SHOWN]:
            share = f"{100 * time / whole:.1f} %"
            shown.add_row(
                row.backbone, row.precision, row.kernel, what, name[:60], f"{time:.2f}", share
            )
    return shown

"""Images a second of whole models: dense by every kernel, and reduced by the fastest.

On a GPU passes are replayed as CUDA graphs, so that the host does not limit them; the rate of a
pass whose kernels the host launches one by one is beside it. A reduction's share is the time of the
reducers alone, on the tokens that they get in the pass, over the time of the whole pass. A dense
pass by the fastest kernel has its floor beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import torch
from rich.table import Table

from backbones import create_model, without_weights
from backbones.base import Backbone
from methods.spec import parse_all
from suite.bench.cells import Notify, cells_with_plan
from suite.bench.cuda_graphs import captured
from suite.bench.cuda_kernels import obstacle
from suite.bench.floor import Term, floor_of, terms
from suite.bench.memory import peak_mib
from suite.bench.passes import Pass, random_images
from suite.bench.spec import BenchSpec
from suite.bench.tables import figures_table
from suite.bench.time_breakdown import profiled
from suite.bench.timing import seconds
from suite.plan.cells import Cell
from suite.plan.layout import layout
from suite.plan.settings import choose_settings
from suite.stats.correctness import sample_name
from suite.system.hardware import check_precision, set_products

AUTHORS = "mamba_ssm, as Vim's authors run it"
# by device
KERNELS = {"cuda": ("reference", "mamba_ssm", AUTHORS, "triton"), "cpu": ("cpu",)}
HEADED_KERNELS = {"cuda": ("reference", "mamba_ssm", "chunked"), "cpu": ("chunked",)}  # of Mamba-2
REDUCED_BY = ("triton", "chunked", "cpu")
KERNELS_SHOWN = 12  # of each pass, the longest
COLUMNS = {
    "backbone": "{row.backbone}",
    "precision": "{row.precision}",
    "kernel": "{row.kernel}",
    "method": "{row.method}",
    "FLOPs removed": "{row.removed:.1%}",
    "{samples}s/s": "{row.images_per_second:.0f}",
    "launched one by one": "{row.eager_images_per_second:.0f}",
    "speed-up": "{row.speedup:.2f}",
    "reduction": "{row.reduction_share:.1%}",
    "activations MiB": "{row.peak_mib:.0f}",
}
FLOOR_COLUMNS = {
    "backbone": "{row.model.backbone}",
    "precision": "{row.model.precision}",
    "term": "{row.term.name}",
    "floor ms": "{row.term.floor_ms:.3f}",
    "measured ms": "{row.term.ms:.3f}",
    "floor over measured": "{row.term.share:.2f}",
}
KERNEL_COLUMNS = {
    "backbone": "{row.model.backbone}",
    "precision": "{row.model.precision}",
    "kernel": "{row.model.kernel}",
    "method": "{row.model.what}",
    "kernel or operator": "{row.name}",
    "ms": "{row.milliseconds:.2f}",
    "share": "{row.share:.1%}",
}


class ModelRow(NamedTuple):
    """One model in one precision by one kernel, dense or reduced."""

    backbone: str
    kind: str
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
    kernel_milliseconds: dict[str, float]
    floor: list[Term]

    @property
    def what(self) -> str:
        """The method and its budget."""
        return self.method if self.method == "none" else f"{self.method} at {self.budget}"


class FloorRow(NamedTuple):
    """One term of a dense pass of `model`."""

    model: ModelRow
    term: Term


class KernelTime(NamedTuple):
    """The milliseconds of one kernel in a pass of `model`, and its share of all kernels."""

    model: ModelRow
    name: str
    milliseconds: float
    share: float


def measure_models(spec: BenchSpec, device: str, notify: Notify) -> Iterator[ModelRow]:
    """Measure every backbone dense by every kernel, and reduced by each method at each budget.

    Weights and images are random: time does not depend on their values. `notify` gets what is left
    out, with the reason. UserError if a kernel is wrong.
    """
    methods = parse_all(spec.methods)
    batch = spec.batches[-1]
    for name, precision, kernel in _combinations(spec, device):
        dtype = check_precision(precision, device)
        set_products(precision)
        written = spec.named[name]
        # the authors' block calls mamba_ssm's scan from a sequence of operations of its own
        own = "mamba_ssm" if kernel == AUTHORS else kernel
        if reason := obstacle(own, dtype, _is_headed(written), device):
            notify(f"{name} {precision} {kernel}: left out, {reason}")
            continue
        model = create_model(written, kernel=own).to(device).eval().cast(dtype)
        if kernel == AUTHORS:
            # imports Triton, which PyTorch for CPUs comes without
            from suite.bench.authors_block import authors_blocks

            model.layers = authors_blocks(model.blocks)
        # budgets are solved for the one kernel under which reduced cells are timed
        reducing = methods if kernel in REDUCED_BY else []
        common = spec.run_spec()
        whole, *cells = layout(name, model, choose_settings(reducing, common), common, "")
        dense = _row(model, precision, kernel, whole, batch, device)
        if kernel in REDUCED_BY:
            least = floor_of(written, batch, precision, device, notify)
            dense = dense._replace(floor=_beside(least, dense, batch) if least else [])
        yield dense
        # with the fastest kernel, where the reduction has the largest share
        if kernel in REDUCED_BY:
            for cell in cells_with_plan(cells, notify):
                row = _row(model, precision, kernel, cell, batch, device)
                yield row._replace(speedup=row.images_per_second / dense.images_per_second)


def _combinations(spec: BenchSpec, device: str) -> Iterator[tuple[str, str, str]]:
    """Backbone, precision and kernel of each dense row."""
    for name, written in spec.named.items():
        kernels = HEADED_KERNELS if _is_headed(written) else KERNELS
        yield from product([name], spec.precisions, kernels[device])


def _is_headed(name: str) -> bool:
    """Whether the backbone's scan is Mamba-2's."""
    return without_weights(name).describe().scan_heads > 0


def _replayed(run: Callable[[Any], object], inputs: Any, device: str) -> Callable[[], object]:
    """On a GPU a graph of `run(inputs)`."""
    return captured(run, inputs) if device == "cuda" else partial(run, inputs)


def _row(
    model: Backbone, precision: str, kernel: str, cell: Cell, batch: int, device: str
) -> ModelRow:
    assert cell.plan is not None
    images = random_images(model, batch, device)
    timed = Pass(model, images, cell.reducers())
    # no graph of the reference: it would hold thousands of launches twice in memory
    slow = kernel == "reference"
    with torch.inference_mode():
        torch.cuda.empty_cache()  # the graphs of the row before
        peak = peak_mib(timed, device)
        eager = timed.seconds()
        whole = eager
        if not slow and device == "cuda":
            whole = seconds(_replayed(Pass.__call__, timed, device), device)
        # a graph, as the pass is: launched one by one, short kernels would wait for the host
        calls = timed.reducer_calls()
        reduction = 0.0
        if calls:
            every = _replayed(lambda calls: [call() for call in calls], calls, device)
            reduction = seconds(every, device)
        kernels = {} if slow else profiled(timed, device)[0]
    longest = sorted(kernels.items(), key=lambda kernel: -kernel[1])
    return ModelRow(
        backbone=model.name,
        kind="videos" if model.frames > 1 else "images",
        precision=precision,
        kernel=kernel,
        method=cell.method.text,
        budget=cell.budget or 0.0,
        removed=cell.plan.removed["flops"],
        images_per_second=batch / whole,
        eager_images_per_second=batch / eager,
        speedup=1.0,
        reduction_share=reduction / whole,
        peak_mib=peak,
        kernel_milliseconds={name: 1e3 * time for name, time in longest},
        floor=[],
    )


def _beside(least: Mapping[str, float], row: ModelRow, batch: int) -> list[Term]:
    """The floor of a pass, `least` seconds by term, beside the time that each takes in `row`."""
    by_name = {name: time / 1e3 for name, time in row.kernel_milliseconds.items()}
    return terms(least, by_name, batch / row.images_per_second)


def line(row: ModelRow) -> str:
    """One row, as progress."""
    what = row.kernel if row.method == "none" else row.what
    rate = f"{row.images_per_second:.0f} {sample_name(row.kind)}s/s"
    return f"{row.backbone} {row.precision} {what}: {rate}"


def answer(rows: list[ModelRow]) -> str:
    """The largest gain of a reduced model over the dense one, in a line."""
    reduced = [row for row in rows if row.method != "none"]
    best = max(reduced or rows, key=lambda row: row.speedup if reduced else row.images_per_second)
    where = f"{best.backbone}, {best.precision}, kernel {best.kernel}"
    if not reduced:
        return f"The fastest: {best.images_per_second:,.0f} images a second ({where})."
    return (
        f"The largest gain: {best.what} runs {best.speedup:.2f} times as fast as dense ({where})."
    )


def table(rows: list[ModelRow]) -> Table:
    """The rows for a terminal."""
    kinds = [row.kind for row in rows]
    return figures_table("Whole models: throughput", rows, COLUMNS, 4, kinds)


def floor_table(rows: list[ModelRow]) -> Table:
    """The floor of each dense pass that has one, term by term, and their sum."""
    shown = []
    for row in rows:
        if row.floor:
            floor, ms = (sum(column) for column in list(zip(*row.floor, strict=True))[1:])
            shown += [FloorRow(row, term) for term in (*row.floor, Term("the pass", floor, ms))]
    return figures_table("Floor of a dense pass", shown, FLOOR_COLUMNS, names=3)


def above_one(rows: list[ModelRow]) -> str:
    """A warning where a pass took less time than a term's floor; empty where none did."""
    found = []
    for row in rows:
        for term in row.floor:
            if term.share > 1:
                found.append(
                    f"{term.name} of {row.backbone}, {row.precision} ({term.share:.2f} times)"
                )
    if not found:
        return ""
    return (
        f"Floors above what was measured: {', '.join(found)}. Floor and pass are timed one after "
        "the other, and the machine was slower, or busier, during the first: measure again on an "
        "idle machine."
    )


def profile_table(rows: list[ModelRow]) -> Table:
    """Milliseconds by kernel or operator, of the dense passes and those under the first method."""
    # all methods and budgets would be hundreds of lines
    reduced = [row.method for row in rows if row.method != "none"]
    times: list[KernelTime] = []
    for row in rows:
        if row.method in ("none", *reduced[:1]):
            whole = sum(row.kernel_milliseconds.values())
            for name, time in list(row.kernel_milliseconds.items())[:KERNELS_SHOWN]:
                times.append(KernelTime(row, name[:60], time, time / whole))
    return figures_table("Kernels of a pass", times, KERNEL_COLUMNS, names=5)

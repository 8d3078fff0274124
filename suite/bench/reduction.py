"""The time of the reductions themselves: their share of a reduced model's forward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import NamedTuple

import numpy as np
import torch
from rich.table import Table

from methods.spec import parse_all
from suite.bench.cells import Notify, cells_with_plan, random_model
from suite.bench.passes import Pass, random_images
from suite.bench.spec import BenchSpec
from suite.bench.tables import figures_table
from suite.bench.timing import in_rounds
from suite.plan.cells import blind_on
from suite.plan.layout import layout
from suite.plan.settings import choose_settings


class ReductionRow(NamedTuple):
    """One method at one budget: milliseconds a sample, dense, reduced, and for the reduction.

    ``kind``       whether samples are images or clips of videos
    ``precision``  of weights and activations
    """

    backbone: str
    method: str
    budget: float
    dense_ms: float
    reduced_ms: float
    reduction_ms: float
    flops_share: float
    kind: str = "images"
    precision: str = "fp32"

    @property
    def share(self) -> float:
        """The reduction's share of the reduced model's time."""
        return self.reduction_ms / self.reduced_ms

    @property
    def speedup(self) -> float:
        """Dense over reduced time."""
        return self.dense_ms / self.reduced_ms


def measure_reduction(spec: BenchSpec, device: str, notify: Notify) -> Iterator[ReductionRow]:
    """Time every method at every budget, at the last batch size, on random weights and images."""
    methods = parse_all(spec.methods)
    batch = spec.batches[-1]
    for (name, text), precision in product(spec.named.items(), spec.precisions):
        model = random_model(text, spec, precision, device)
        images = random_images(model, batch, device)
        # the dense cell is the first
        common = spec.run_spec()
        chosen = choose_settings(methods, common, blind=blind_on(model))
        cells = cells_with_plan(layout(name, model, chosen, common, ""), notify)
        runs: dict[str, Callable[[], float]] = {}
        for cell in cells:
            # the whole pass and its reducers take turns too, or drift would change the share
            timed = Pass(model, images, cell.reducers(), cell.view, cell.image_size)
            runs[cell.key] = timed.seconds
            runs[f"{cell.key} alone"] = timed.reducer_seconds
        with torch.inference_mode():
            times = in_rounds(runs, spec.rounds)
        # an image: batches of different sizes stay comparable
        ms = {key: 1e3 * float(np.median(values)) / batch for key, values in times.items()}
        for cell in cells[1:]:
            assert cell.plan is not None
            yield ReductionRow(
                backbone=name,
                method=cell.label,
                budget=cell.budget or 0.0,
                dense_ms=ms[cells[0].key],
                reduced_ms=ms[cell.key],
                reduction_ms=ms[f"{cell.key} alone"],
                flops_share=cell.plan.flops.reduction / cell.plan.total["flops"],
                kind="videos" if model.frames > 1 else "images",
                precision=precision,
            )


def table(rows: list[ReductionRow]) -> Table:
    """The rows for a terminal."""
    title = f"Cost of the reduction, {torch.get_num_threads()} threads"
    columns = {
        "backbone": "{row.backbone}",
        "method": "{row.method}",
        "precision": "{row.precision}",
        "FLOPs removed": "{row.budget:.0%}",
        "dense ms/{samples}": "{row.dense_ms:.2f}",
        "reduced ms/{samples}": "{row.reduced_ms:.2f}",
        "speed-up": "{row.speedup:.2f}",
        "of it the reduction": "{row.share:.1%}",
        "of FLOPs": "{row.flops_share:.1%}",
    }
    return figures_table(title, rows, columns, 2, [row.kind for row in rows])

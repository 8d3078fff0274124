"""What evaluating cells together saves: the measured share of the time against the share of the work."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from rich.table import Table

from backbones import create_model
from backbones.shape import Shape
from methods.spec import parse
from suite.bench.clock import interleaved, now
from suite.config.run_spec import RunSpec
from suite.data import open_dataset
from suite.evaluation.tree import Job, evaluate
from suite.flops.closed_form import block_flops, stem_flops, total
from suite.plan.cells import Cell
from suite.plan.prepare import layout, merge_equal


@dataclass(frozen=True)
class SharingRow:
    """Seconds for one batch, and time and work of all cells together over one by one."""

    cells: int
    together_seconds: float
    apart_seconds: float
    work_share: float

    @property
    def time_share(self) -> float:
        """Time of the cells together over their time one by one."""
        return self.together_seconds / self.apart_seconds

    @property
    def overhead(self) -> float:
        """Measured over closed-form share: 1 is a tree that costs nothing itself."""
        return self.time_share / self.work_share


def measure(spec: RunSpec, rounds: int, device: str) -> list[SharingRow]:
    """Time one batch of `spec`'s first backbone through all its cells, together and one by one."""
    name = spec.backbones[0]
    model = create_model(name).to(device)
    laid_out = merge_equal(
        layout(name, model, [parse(text) for text in spec.methods], spec, context="")
    )
    cells = [cell for cell in laid_out if cell.plan and cell.image_size == model.image_size]
    dataset = open_dataset(spec.data, spec.split)
    samples = dataset.samples(np.arange(spec.batch), model.image_size)
    images = torch.from_numpy(samples).to(device)
    jobs = [Job(cell.key, cell.reducers()) for cell in cells]

    def seconds(groups: list[list[Job]]) -> float:
        started = now(device)
        for group in groups:
            for _ in evaluate(model, model.embed(images), group, lambda *_: None):
                pass
        return now(device) - started

    runs: dict[str, Callable[[], float]] = {
        "together": lambda: seconds([jobs]),
        "apart": lambda: seconds([[job] for job in jobs]),
    }
    with torch.inference_mode():
        medians = interleaved(runs, rounds)
    return [
        SharingRow(
            len(cells), medians["together"], medians["apart"], work_share(cells, model.describe())
        )
    ]


def work_share(cells: Sequence[Cell], shape: Shape) -> float:
    """Work of the cells as a tree over their work one by one: what agrees up to a block is counted once."""
    counted: dict[Hashable, int] = {}
    apart = 0
    for cell in cells:
        steps = list(_steps(cell, shape))
        apart += sum(work for _, work in steps)
        counted |= dict(steps)
    return sum(counted.values()) / apart


def _steps(cell: Cell, shape: Shape) -> Iterator[tuple[Hashable, int]]:
    """Every step of a cell's forward pass, named so that equal steps have equal names, with its FLOPs."""
    assert cell.plan is not None
    stem = stem_flops(shape)
    yield "embedding", total(replace(stem, gemm=0))
    yield ("head", cell.key), total(replace(stem, conv=0))
    past: tuple[Hashable, ...] = ()
    before = shape.length
    applied = cell.reducers()
    for block, length in enumerate(cell.plan.lengths):
        if block in applied:
            past = (*past, id(applied[block]))
            assert cell.composition is not None
            cost = cell.composition.cost(before - shape.specials, before - length, shape)
            yield ("reduction", past), 2 * cost.matmul_macs + cost.arithmetic
        yield ("block", block, past), total(block_flops(shape, block, length))
        before = length


def table(rows: list[SharingRow]) -> Table:
    """The rows for a terminal."""
    heads = (
        "cells",
        "together s",
        "one by one s",
        "share of time",
        "share of work",
        "measured over closed form",
    )
    shown = Table(
        *heads, title=f"Cells evaluated together, one batch, {torch.get_num_threads()} threads"
    )
    for row in rows:
        shown.add_row(
            str(row.cells),
            f"{row.together_seconds:.3f}",
            f"{row.apart_seconds:.3f}",
            f"{row.time_share:.3f}",
            f"{row.work_share:.3f}",
            f"{row.overhead:.3f} (wanted: 1.10 or less)",
        )
    return shown

"""What evaluating cells as a tree saves: measured share of the time, closed-form share of the work.

    python tests/performance/prefix_sharing.py

Cells whose reducers agree up to a site share every block before it. One batch of the default data
goes through all cells of the default backbone, together and one by one, in interleaved rounds.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from rich.table import Table

from backbones import create_model
from backbones.shape import Shape
from methods.spec import parse
from suite.bench.timing import in_rounds, seconds
from suite.config.run_spec import RunSpec
from suite.config.spec_file import build_spec
from suite.data import open_dataset
from suite.evaluation.tree import Job, evaluate
from suite.flops.closed_form import block_flops, stem_flops, total
from suite.plan.cells import Cell
from suite.plan.layout import layout
from suite.plan.settings import choose_settings
from suite.system.hardware import pick_device
from suite.terminal.tables import print_table

ROUNDS = 7


@dataclass(frozen=True)
class SharingRow:
    """Seconds for one batch through all cells, and their share of the work as a tree."""

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
        """Measured over closed-form share; a tree without any cost of its own has 1."""
        return self.time_share / self.work_share


def measure_sharing(spec: RunSpec, rounds: int, device: str) -> SharingRow:
    """Time one batch of `spec`'s first backbone through all its cells, together and one by one."""
    name = spec.backbones[0]
    model = create_model(name).to(device)
    methods = [parse(text) for text in spec.methods]
    cells = [
        cell
        for cell in layout(name, model, choose_settings(methods, spec), spec, context="")
        if cell.plan and cell.image_size == model.image_size
    ]
    samples = open_dataset(spec.data, spec.split).samples(
        np.arange(spec.batch_size), model.image_size
    )
    images = torch.from_numpy(samples).to(device)
    jobs = [Job(cell.key, cell.reducers()) for cell in cells]

    def evaluated(groups: list[list[Job]]) -> None:
        for group in groups:
            for _ in evaluate(model, model.embed(images), group, lambda *_: None):
                pass

    runs = {
        "together": partial(seconds, partial(evaluated, [jobs]), device),
        "apart": partial(seconds, partial(evaluated, [[job] for job in jobs]), device),
    }
    with torch.inference_mode():
        times = in_rounds(runs, rounds)
    together, apart = (float(np.median(times[name])) for name in runs)
    share = work_share(cells, model.describe())
    return SharingRow(len(cells), together, apart, share)


def work_share(cells: Sequence[Cell], shape: Shape) -> float:
    """FLOPs of the cells as a tree over their FLOPs one by one."""
    work_of_step: dict[Hashable, int] = {}
    apart = 0
    for cell in cells:
        for step, work in steps(cell, shape):
            apart += work
            work_of_step[step] = work
    return sum(work_of_step.values()) / apart


def steps(cell: Cell, shape: Shape) -> Iterator[tuple[Hashable, int]]:
    """Every step of a cell's forward pass with its FLOPs; equal steps have equal names."""
    assert cell.plan is not None
    stem = stem_flops(shape)
    yield "embedding", total(replace(stem, gemm=0))
    yield ("head", cell.key), total(replace(stem, conv=0))
    # a block is the same step for two cells if the same reducers ran before it
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


def table(row: SharingRow) -> Table:
    """The row for a terminal."""
    shown = Table(title=f"Cells evaluated together, one batch, {torch.get_num_threads()} threads")
    figures = {
        "cells": str(row.cells),
        "together s": f"{row.together_seconds:.3f}",
        "one by one s": f"{row.apart_seconds:.3f}",
        "share of time": f"{row.time_share:.3f}",
        "share of work": f"{row.work_share:.3f}",
        "measured over closed form": f"{row.overhead:.3f}",
    }
    for head in figures:
        shown.add_column(head)
    shown.add_row(*figures.values())
    return shown


if __name__ == "__main__":
    print_table(table(measure_sharing(build_spec(), ROUNDS, pick_device("auto"))))

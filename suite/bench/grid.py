"""What `bench` times: the cells of a finished run, or every combination that is asked for on random weights.

Time does not depend on what weights and images hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import isqrt
from pathlib import Path
from typing import Any

from backbones import create_model
from backbones.base import Backbone
from backbones.common.errors import UserError
from backbones.scan import chosen
from methods.spec import parse
from suite.bench.spec import BenchSpec
from suite.bench.speed import Record, Subject, measure
from suite.config.run_spec import RunSpec
from suite.config.spec_file import read_spec
from suite.plan.cells import Cell
from suite.plan.prepare import layout, merge_equal, prepare
from suite.store.find_run import run_spec
from suite.system.hardware import DTYPES, check_precision

Tell = Callable[[str], None]


def time_grid(asked: BenchSpec, device: str, tell: Tell) -> Iterator[Record]:
    """Every backbone in every precision: all methods and budgets by batch, the middle budget by length.

    Each setting is timed once: one image of the backbone's own length is among the batches, if they
    have a batch of 1.
    """
    methods = [parse(text) for text in asked.methods]
    whole, middle = asked.run_spec(), asked.run_spec(sorted(asked.budgets)[len(asked.budgets) // 2])
    for name in asked.backbones:
        for precision in asked.precisions:
            native = _model(name, asked, precision, device)
            settings = [(native, whole, batch) for batch in dict.fromkeys(asked.batches)]
            for length in dict.fromkeys(asked.lengths):
                size = size_of(native, length)
                if size != native.image_size or 1 not in asked.batches:
                    settings.append(
                        (_model(name, asked, precision, device, image_size=size), middle, 1)
                    )
            for model, part, batch in settings:
                context = f"bench of {name}, {model.image_size} pixels, {precision} on {device}"
                cells = merge_equal(layout(name, model, methods, part, context))
                yield from _measured(model, precision, cells, batch, asked.rounds, device, tell)


def _model(name: str, asked: BenchSpec, precision: str, device: str, **settings: Any) -> Backbone:
    model = create_model(name, kernel=asked.kernel, **settings)
    return model.to(device).cast(check_precision(precision, device))


def size_of(model: Backbone, length: int) -> int:
    """Side of the square image of `length` patch tokens; UserError where there is none."""
    grid = isqrt(length)
    if grid**2 != length or model.frames > 1:
        raise UserError(
            f"--lengths are square numbers of patches on backbones for images, not {length} on {model.name}: "
            f"write such as {grid**2 or 1}"
        )
    return model.image_size_for(grid)


def time_run(folder: Path, asked: BenchSpec, device: str, tell: Tell) -> Iterator[Record]:
    """The cells of the run in `folder`, on its weights and in its precision; the first seed of each."""
    spec = read_spec(run_spec(folder), RunSpec)
    if spec.device not in ("auto", device):
        raise UserError(f"the run in {folder} was on {spec.device}: use --device {spec.device}")
    prepared = prepare(spec.model_copy(update={"device": device}))
    for name, model in prepared.models.items():
        cells = [cell for cell in prepared.cells if cell.backbone == name]
        for batch in asked.batches:
            yield from _measured(model, spec.precision, cells, batch, asked.rounds, device, tell)


def _measured(
    model: Backbone,
    precision: str,
    cells: Sequence[Cell],
    batch: int,
    rounds: int,
    device: str,
    tell: Tell,
) -> Iterator[Record]:
    """The cells that have a plan, the dense one first; the others are told of."""
    subjects = []
    for cell in cells:
        if cell.plan is None:
            tell(
                f"left out: {cell.label} at {100 * (cell.budget or 0):.4g} % on {cell.backbone}: {cell.reason}"
            )
        elif (
            cell.seed == 0 and cell.kind != "oracle"
        ):  # the oracle's time is that of asking the labels
            subjects.append(_subject(model, cell))
    tell(
        f"{cells[0].backbone}, {precision}, {model.describe().patches} tokens, batch {batch}: {len(subjects)} passes"
    )
    mixers = model.mixers()
    kernel = chosen(mixers[0].kernel, device, DTYPES[precision]).kernel if mixers else "none"
    for record in measure(subjects, batch, rounds, device):
        yield {**record, "precision": precision, "kernel": kernel}


def _subject(model: Backbone, cell: Cell) -> Subject:
    assert cell.plan is not None
    return Subject(
        model=model,
        backbone=cell.backbone,
        label=cell.label,
        budget=cell.budget,
        plan=cell.reducers(),
        flops=cell.plan.total["flops"],
        removed=cell.plan.removed["flops"],
        reduction_flops=cell.plan.flops.reduction / cell.plan.total["flops"],
        image_size=cell.image_size,
        key=cell.key,
    )

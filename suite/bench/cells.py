"""The cells that are timed: those of a finished run, or every combination on random weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from math import isqrt
from pathlib import Path
from time import perf_counter
from typing import Any

from backbones import create_model
from backbones.base import Backbone
from backbones.common.errors import UserError
from methods.spec import parse_all
from suite.bench.spec import BenchSpec
from suite.bench.speed import Record, measure_speed
from suite.config.run_spec import RunSpec
from suite.config.spec_file import read_spec
from suite.plan.cells import Cell, blind_on
from suite.plan.layout import layout
from suite.plan.loading import check_runs
from suite.plan.prepare import prepare
from suite.plan.settings import choose_settings
from suite.stats.correctness import counted
from suite.store.find_run import run_spec
from suite.system.hardware import DTYPES, check_precision, set_products
from suite.terminal.progress import line

PAUSE = 10.0  # seconds between two lines about the time left
Notify = Callable[[str], None]


def time_grid(spec: BenchSpec, device: str, notify: Notify) -> Iterator[Record]:
    """Time every backbone in every precision: methods and budgets by batch, one budget by length.

    Each setting is timed once: one image of the backbone's own length is among the batches, if they
    have a batch of 1.
    """
    methods = parse_all(spec.methods)
    every_budget = spec.run_spec()
    # one budget shows how the cost grows with the length; all of them would take hours
    middle_budget = spec.run_spec(sorted(spec.budgets)[len(spec.budgets) // 2])
    for name, text in spec.named.items():
        for precision in spec.precisions:
            native = random_model(text, spec, precision, device)
            # by batch, at the backbone's own length
            settings = [(native, every_budget, batch) for batch in dict.fromkeys(spec.batches)]
            # by length, at one image
            for length in dict.fromkeys(spec.lengths):
                size = image_size_of(native, length)
                if size != native.image_size or 1 not in spec.batches:
                    resized = random_model(text, spec, precision, device, image_size=size)
                    settings.append((resized, middle_budget, 1))
            for number, (model, of_budgets, batch) in enumerate(settings, 1):
                # times of other sizes and precisions must not share a key
                context = f"bench of {name}, {model.image_size} pixels, {precision} on {device}"
                chosen = choose_settings(methods, of_budgets, blind=blind_on(model))
                cells = layout(name, model, chosen, of_budgets, context)
                part = f"part {number} of {len(settings)}"
                yield from _timed(model, precision, cells, batch, spec.rounds, device, part, notify)


def random_model(
    name: str, spec: BenchSpec, precision: str, device: str, **settings: Any
) -> Backbone:
    """The backbone on random weights, and products at its precision from now on.

    No time depends on the values of weights.
    """
    model = create_model(name, kernel=spec.kernel, **settings)
    model = model.to(device).cast(check_precision(precision, device))
    set_products(precision)
    if model.code is not None:
        check_runs(model, device)
    return model


def image_size_of(model: Backbone, length: int) -> int:
    """Side of the square image of `length` patch tokens; UserError if there is none."""
    grid = isqrt(length)
    if grid**2 != length or model.frames > 1:
        raise UserError(
            "--lengths are square numbers of patches on backbones for images, not "
            f"{length} on {model.name}: write a square, such as {grid**2 or 1}"
        )
    return model.image_size_for(grid)


def time_run(folder: Path, spec: BenchSpec, device: str, notify: Notify) -> Iterator[Record]:
    """Time the cells of the run in `folder`, on its weights and in its precision."""
    of_run = read_spec(run_spec(folder), RunSpec)
    # times of another device must not be shown beside the accuracy of this run
    if of_run.device not in ("auto", device):
        raise UserError(f"the run in {folder} was on {of_run.device}: use --device {of_run.device}")
    on_device = of_run.model_copy(update={"device": device})
    prepared = prepare(on_device, further=False, folder=folder)
    for name, model in prepared.backbones.items():
        cells = [cell for cell in prepared.main if cell.backbone == name]
        precision, count = of_run.precision, len(spec.batches)
        for number, batch in enumerate(spec.batches, 1):
            part = f"part {number} of {count}"
            yield from _timed(model, precision, cells, batch, spec.rounds, device, part, notify)


def cells_with_plan(cells: Iterable[Cell], notify: Notify) -> list[Cell]:
    """The cells to time, the dense one first; `notify` gets the reason why another is left out."""
    timed = []
    for cell in cells:
        if cell.plan is None:
            budget = f"{100 * (cell.budget or 0):.4g} %"
            notify(f"left out: {cell.label} at {budget} on {cell.backbone}: {cell.reason}")
        elif cell.adaptive:
            notify(f"left out: {cell.label} on {cell.backbone}: no two images take the same time")
        # another seed takes the same time, and the oracle's is that of running the model
        elif cell.seed == 0 and cell.kind != "oracle":
            timed.append(cell)
    return timed


def _timed(
    model: Backbone,
    precision: str,
    cells: list[Cell],
    batch: int,
    rounds: int,
    device: str,
    part: str,
    notify: Notify,
) -> Iterator[Record]:
    timed = cells_with_plan(cells, notify)
    patches = model.describe().patches
    where = f"{cells[0].backbone}, {precision}, {patches} tokens, batch {batch}"
    notify(f"{where}: timing {len(timed)} passes in {counted(rounds, 'rounds')}, {part}")
    # the kernel that `auto` means here; a transformer has no scan
    mixers = model.mixers()
    kernel = mixers[0].chosen(device, DTYPES[precision]).kernel if mixers else "none"
    for record in measure_speed(model, timed, batch, rounds, device, time_left(rounds, notify)):
        yield {**record, "precision": precision, "kernel": kernel}


def time_left(total: int, notify: Notify, unit: str = "rounds") -> Callable[[int], None]:
    """What says, at most every `PAUSE` seconds, how many rounds are done and the time left.

    It is called when one of `total` is done; `unit` names what is counted. No bar of progress,
    which would be drawn while a pass is timed.
    """
    started = perf_counter()
    said = started

    def say(done: int) -> None:
        nonlocal said
        now = perf_counter()
        if done < total and now - said >= PAUSE:
            said = now
            notify(line(total, unit, (0.0, 0), (now - started, done)))

    return say

"""The engine's rate beside that of its models: many cells in a run, and the same models alone.

A run decodes, evaluates every cell, counts tokens, compares answers and writes shards. Alone, the
same reduced models are called on batches that are on the device already. First each cell is
evaluated by itself on both sides; then the run shares what cells have in common, as it always does.
Images are noise in memory, which costs nothing to decode; embeddings are made once a batch.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from rich.table import Table
from torch import Tensor

from backbones import without_weights
from backbones.base import Backbone
from backbones.common.errors import UserError
from backbones.sequence import TokenSequence
from methods.parts.view import View
from suite.bench.cells import Notify, time_left
from suite.bench.spec import BenchSpec
from suite.bench.tables import figures_table
from suite.bench.timing import in_rounds, now
from suite.data.base import Dataset, Manifest, Samples
from suite.evaluation import runner
from suite.evaluation.tree import Failure, Job, Observer
from suite.execution.local import execute
from suite.plan.loading import Opened
from suite.plan.prepare import Prepared, prepare
from suite.stats.correctness import counted
from suite.store.run_folder import Store
from suite.system.stopwatch import STOPWATCH

DRAWN = 512  # images, which repeat
SHARD = 2000  # a file for each cell is written after so many images: on a GPU, within half a minute
PARTS = ("data wait", "model", "tokens", "outcomes", "writing")
COLUMNS = {
    "backbone": "{row.backbone}",
    "precision": "{row.precision}",
    "cells": "{row.cells}",
    "images": "{row.images}",
    "alone /s": "{row.alone:.0f}",
    "run, nothing shared /s": "{row.apart:.0f}",
    "over alone": "{row.share:.2f}",
    "run /s": "{row.together:.0f}",
    "over alone ": "{row.gain:.2f}",
}


class Noise(Dataset):
    """`length` images of noise, all in memory."""

    name, split = "noise", "test"
    mean = std = (0.5, 0.5, 0.5)

    def __init__(self, length: int, classes: int, image_size: int) -> None:
        self.classes = tuple(map(str, range(classes)))
        self.labels = np.arange(length, dtype=np.int64) % classes
        shape = (min(length, DRAWN), 3, image_size, image_size)
        self._drawn = np.random.default_rng(0).standard_normal(shape).astype(np.float32)

    def image(self, index: int) -> NDArray[np.uint8]:
        """The pixels as colours."""
        return self.pixels(self.sample(index, 0).transpose(1, 2, 0))

    def sample(self, index: int, image_size: int) -> Samples:
        """One image."""
        return self.samples(np.array([index]), image_size)[0]

    def samples(self, indices: NDArray[np.int64], image_size: int) -> Samples:
        """Several images at once."""
        return self._drawn[indices % len(self._drawn)]

    def identity(self) -> Manifest:
        """The images are always the same."""
        return {"drawn": list(self._drawn.shape)}


class EngineRow(NamedTuple):
    """Images a second under all cells, one image under one cell each: medians of rounds.

    ``alone``     the models called on batches on the device
    ``apart``     a run that evaluates each cell by itself
    ``together``  a run as it is
    ``share``     median of apart over alone, round by round
    ``gain``      the same of together
    ``seconds``   of the last run as it is, by part (`suite.system.stopwatch`)
    """

    backbone: str
    precision: str
    device: str
    cells: int
    images: int
    batch: int
    rounds: int
    alone: float
    apart: float
    together: float
    share: float
    gain: float
    seconds: dict[str, float]


def measure_engine(
    spec: BenchSpec, device: str, images: int, notify: Notify
) -> Iterator[EngineRow]:
    """Measure every backbone in every precision, on `images` and random weights."""
    for name, text in spec.named.items():
        for precision in spec.precisions:
            notify(f"{name}, {precision}: planning the cells")
            prepared = prepared_on_noise(spec, text, precision, device, images)
            with torch.inference_mode():
                runs = _runs(prepared, name)
                total = len(runs) * spec.rounds
                notify(
                    f"{name}, {precision}: {len(prepared.runnable[name])} cells on {images:,} "
                    f"images, {total} runs in {counted(spec.rounds, 'rounds')}"
                )
                # a round may take minutes
                said = _counting(runs, time_left(total, notify, "runs"))
                times = in_rounds(said, spec.rounds)
            yield _row(prepared, name, times)


def _counting(
    runs: Mapping[str, Callable[[], float]], say: Callable[[int], None]
) -> dict[str, Callable[[], float]]:
    """The same runs, after each of which `say` gets how many are done."""
    done = count(1)

    def counting(run: Callable[[], float]) -> float:
        seconds = run()
        say(next(done))
        return seconds

    return {name: partial(counting, run) for name, run in runs.items()}


def _runs(prepared: Prepared, name: str) -> dict[str, Callable[[], float]]:
    """What is timed, by the names of the rates in `EngineRow`: each gives its seconds."""
    images = len(prepared.indices)
    batch, device = prepared.spec.batch_size, prepared.device
    samples = prepared.dataset.samples(prepared.indices, prepared.models[name].image_size)
    on_device = [part.to(device) for part in torch.from_numpy(samples).split(batch)]
    numbers = list(torch.arange(images).split(batch))

    def timed(run: Callable[[], object]) -> float:
        started = now()
        run()
        return now() - started

    def alone() -> None:
        for part, number in zip(on_device, numbers, strict=True):
            called_alone(prepared, name, part, number)

    # kernels are compiled and checked where they are first used
    called_alone(prepared, name, on_device[0], numbers[0])
    return {
        "alone": partial(timed, alone),
        "apart": partial(timed, partial(evaluated, prepared, False)),
        "together": partial(timed, partial(evaluated, prepared, True)),
    }


def _row(prepared: Prepared, name: str, times: Mapping[str, Sequence[float]]) -> EngineRow:
    """The row of one backbone, from the seconds of each run, round by round."""
    spec, images, cells = prepared.spec, len(prepared.indices), len(prepared.runnable[name])
    rates = {
        kind: [images * cells / seconds for seconds in values] for kind, values in times.items()
    }

    def over_alone(kind: str) -> float:
        # of one round, in which the machine was in the same state
        return median(a / b for a, b in zip(rates[kind], rates["alone"], strict=True))

    return EngineRow(
        backbone=name,
        precision=spec.precision,
        device=prepared.device,
        cells=cells,
        images=images,
        batch=spec.batch_size,
        rounds=len(times["alone"]),
        **{kind: median(values) for kind, values in rates.items()},
        share=over_alone("apart"),
        gain=over_alone("together"),
        seconds={part: STOPWATCH.rounded().get(part, 0.0) for part in PARTS},
    )


def prepared_on_noise(
    spec: BenchSpec, text: str, precision: str, device: str, images: int
) -> Prepared:
    """The cells of `spec` for the backbone `text` on that many images of noise.

    UserError for a backbone that takes clips or names pixels.
    """
    model = without_weights(text)
    if model.frames > 1 or model.task != "classification":
        raise UserError(f"{text} does not classify images: name a backbone that does")
    # one seed: a run has three of every stochastic method, which take the same time
    settings = spec.run_spec().model_copy(
        update={
            "backbones": (text,),
            "data": "noise",
            "images": "all",
            "precision": precision,
            "device": device,
            "batch_size": spec.batches[-1],
            "shard_size": max(SHARD, spec.batches[-1]),
            "schedule": "constant-ratio",
            "seeds": 1,
            "gallery": min(8, images),
            "smaller": ("none",),
        }
    )
    opened = Opened()
    opened.keep(settings, Noise(images, model.describe().classes, model.image_size))
    return prepare(settings, opened, further=False)


def called_alone(prepared: Prepared, name: str, images: Tensor, index: Tensor) -> dict[str, Tensor]:
    """Logits (B, classes) of every cell on one batch, each model called by itself."""
    model = prepared.models[name]
    embedded: dict[tuple[int, View | None], tuple[Backbone, TokenSequence]] = {}
    logits = {}
    for cell in prepared.runnable[name]:
        kind = (cell.image_size, cell.view)
        if kind not in embedded:
            embedded[kind] = runner.embed(model, images, index, *kind)
        sized, tokens = embedded[kind]
        logits[cell.key] = sized.readout(sized.run(tokens, plan=cell.reducers()))
    return logits


def evaluated(prepared: Prepared, sharing: bool, folder: Path | None = None) -> None:
    """Evaluate all cells into a new run, in `folder` or one that is removed.

    UserError if a cell fails. Without `sharing` each is evaluated by itself.
    """
    with tempfile.TemporaryDirectory(prefix="bench-engine-") as temporary:
        store = Store.open(folder or Path(temporary) / "run", prepared.spec)
        STOPWATCH.reset()
        with nullcontext() if sharing else one_by_one():
            failures = execute(prepared, store, lambda outcomes: None)
    if failures:
        reason = next(iter(failures.values()))
        raise UserError(f"a cell failed ({reason}): name other methods, or a smaller --batch-size")


@contextmanager
def one_by_one() -> Iterator[None]:
    """Inside the block a run evaluates each cell by itself."""
    together = runner.evaluate

    def apart(
        model: Backbone, tokens: TokenSequence, jobs: Sequence[Job], observe: Observer
    ) -> Iterator[tuple[Job, Tensor | Failure]]:
        for job in jobs:
            yield from together(model, tokens, [job], observe)

    runner.evaluate = apart
    try:
        yield
    finally:
        runner.evaluate = together


def answer(rows: Sequence[EngineRow]) -> str:
    """How near a run comes to its models, in a line for each."""
    lines = []
    for row in rows:
        lines.append(
            f"{row.backbone}, {row.precision}: a run takes {row.cells} cells at "
            f"{100 * row.share:.0f} % of the rate of the models alone where nothing is shared, at "
            f"{row.gain:.2f} times their rate as it is."
        )
    return " ".join(lines)


def table(rows: Sequence[EngineRow]) -> Table:
    """The rows for a terminal."""
    first = rows[0]
    title = (
        f"Images a second under all cells, {first.device}, batch {first.batch}, "
        f"{counted(first.rounds, 'rounds')}"
    )
    return figures_table(title, rows, COLUMNS, 2)

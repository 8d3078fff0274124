"""What the engine of a run costs: a run of a model that does nothing, less that model's calls.

    python tests/performance/engine.py [IMAGES ...]    one run for each number of images

A run is the real one: data set, prefetching, the tree of cells, outcomes, token counts, shards
flushed to disk, records, statistics and analyses. The engine's cost excludes the calls of the model
(blocks, embedding, head, and the resampling for `downsample`) and of the methods' reductions, which
are what a run is for. Those calls are recorded on one batch and repeated by themselves in the same
process after the run.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from rich.table import Table
from stub import create_stub, open_stub
from torch import Tensor, nn

import reports
from backbones import BACKBONES
from backbones.base import Backbone, Reducer
from backbones.sequence import TokenSequence
from suite.comparison import run_comparison
from suite.config.run_spec import RunSpec
from suite.config.spec_file import build_spec
from suite.data import DATASETS
from suite.data.loading.loader import batches
from suite.evaluation.runner import shrink
from suite.evaluation.tree import Job, evaluate, jobs_for
from suite.plan.prepare import Prepared, prepare
from suite.system.stopwatch import STOPWATCH
from suite.terminal.tables import print_table

# With random's seeds and the other baselines at five budgets, and the dense model, 40 cells, and
# two by equal counts of tokens; `permute` makes the order of the tokens something to measure.
METHODS = ("mtr", "tome", "permute[order=reversed]")
IMAGES = (5_000, 50_000)
ROUNDS = 5
PARTS = ("waiting", "forward", "tokens", "outcomes", "writing", "records", "statistics", "analyses")
PART_OF_RUN = {"waiting": "data wait", "forward": "model"}  # the others have the same name there
ONE_RUN = "--one-run"  # FOLDER IMAGES: what each process does
Call = Callable[[], object]


@dataclass(frozen=True)
class EngineRow:
    """The figures of one run: seconds of the whole, of the model's calls and of parts; peaks in MB.

    ``own`` and ``own_processor`` are model and reductions alone, by the clock and by processor
    time. ``waiting`` is the time in which the model waited for data, ``forward`` that of model,
    reductions and the tree around them, which includes ``tokens``, the counting of tokens.
    ``report`` is not part of ``wall``.
    """

    images: int
    cells: int
    wall: float
    processor: float
    own: float
    own_processor: float
    model: float
    waiting: float
    forward: float
    tokens: float
    outcomes: float
    writing: float
    records: float
    statistics: float
    analyses: float
    report: float
    peak: int
    peak_report: int

    def each(self, seconds: float) -> float:
        """Microseconds an image and cell."""
        return 1e6 * seconds / (self.images * self.cells)

    @property
    def overhead(self) -> float:
        """Microseconds of wall clock an image and cell that are the engine's."""
        return self.each(self.wall - self.own)

    @property
    def overhead_processor(self) -> float:
        """The same by processor time, which other programs on the machine do not lengthen."""
        return self.each(self.processor - self.own_processor)


def settings(images: int) -> RunSpec:
    """The defaults of `compare` but for more budgets and one schedule, on the stub."""
    return build_spec(
        backbones=("stub",),
        checkpoint="random",
        data=f"stub:{images}",
        images="all",
        methods=METHODS,
        budgets=(0.2, 0.3, 0.4, 0.5, 0.6),
        schedule="constant-ratio",
        across_schedules=False,
        device="cpu",
        threads=1,
    )


def one_run(folder: Path, images: int) -> EngineRow:
    """Run in `folder`, draw the report, then time the model's calls alone."""
    register()
    spec = settings(images)
    clock, processor = time.perf_counter(), time.process_time()
    result = run_comparison(spec, folder, quiet=True)
    wall, processor = time.perf_counter() - clock, time.process_time() - processor
    # before anything else is done in this process, so that they are the run's
    peak, seconds_by_part = peak_memory(), dict(STOPWATCH.seconds)
    clock = time.perf_counter()
    reports.build(folder)
    report = time.perf_counter() - clock
    assert not result.failures, result.failures
    calls, model_calls = recorded(prepare(spec))
    batches = images / spec.batch_size
    own, own_processor = repeated(calls)
    model, _ = repeated(model_calls)
    parts = {name: seconds_by_part.get(PART_OF_RUN.get(name, name), 0.0) for name in PARTS}
    return EngineRow(
        images=images,
        cells=sum(record.status == "ok" for record in result.records),
        wall=wall,
        processor=processor,
        own=own * batches,
        own_processor=own_processor * batches,
        model=model * batches,
        **parts,
        report=report,
        peak=peak,
        peak_report=peak_memory(),
    )


def register() -> None:
    """Make the stubs known as `stub` in this process."""
    if "stub" not in BACKBONES:
        BACKBONES.add("stub", create_stub)
        DATASETS.add("stub", open_stub)


def peak_memory() -> int:
    """Peak resident memory of this process and of those it started, in MB."""
    kilobyte = 1 << 10 if sys.platform == "darwin" else 1  # ru_maxrss is in bytes on macOS
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return (own + children) // kilobyte >> 10


def recorded(prepared: Prepared) -> tuple[list[Call], list[Call]]:
    """All calls of model and methods on one batch of the run, and those of the model alone."""
    (model,) = prepared.models.values()
    first = prepared.indices[: prepared.spec.batch_size]
    batch = next(batches(prepared.dataset, first, len(first), model.image_size))
    cells = prepared.runnable[model.name]
    calls: list[Call] = []
    model_calls: list[Call] = []

    def record(call: Call, of_model: bool) -> None:
        calls.append(call)
        if of_model:
            model_calls.append(call)

    with torch.inference_mode():
        for size in sorted({cell.image_size for cell in cells}, reverse=True):
            sized, images = model, batch.images
            if size != model.image_size:
                sized, images = model.resized(size), shrink(batch.images, size)
                record(partial(model.resized, size), True)
                record(partial(shrink, batch.images, size), True)
            record(partial(sized.embed, images, batch.indices), True)
            of_size = [cell for cell in cells if cell.image_size == size]
            jobs = []
            # one recorder a reducer: jobs that share a reducer must go on sharing it
            recorders: dict[int, Reducer] = {}
            for job in jobs_for(of_size, sized, batch.indices, batch.labels):
                plan = {}
                for site, reducer in job.reducers.items():
                    recorder = RecordedReducer(reducer, record)
                    plan[site] = recorders.setdefault(id(reducer), recorder)
                jobs.append(Job(job.key, plan))
            embedded = sized.embed(images, batch.indices)
            for _ in evaluate(RecordedModel(sized, record), embedded, jobs, lambda *_: None):
                pass
    return calls, model_calls


class RecordedReducer:
    """A reducer that records its calls."""

    def __init__(self, inner: Reducer, record: Callable[[Call, bool], None]) -> None:
        self.inner, self.record, self.needs = inner, record, inner.needs

    def __call__(self, tokens: TokenSequence) -> TokenSequence:
        self.record(partial(self.inner, tokens), False)
        return self.inner(tokens)


class RecordedModel(Backbone):
    """A model that records the calls of its blocks and of its head."""

    def __init__(self, inner: Backbone, record: Callable[[Call, bool], None]) -> None:
        super().__init__()
        self._inner, self._record = inner, record
        self.name, self.provides = inner.name, inner.provides
        self._recorded = tuple(RecordedBlock(block, record) for block in inner.blocks)

    @property
    def blocks(self) -> Sequence[nn.Module]:
        return self._recorded

    def readout(self, tokens: TokenSequence) -> Tensor:
        self._record(partial(self._inner.readout, tokens), True)
        return self._inner.readout(tokens)


class RecordedBlock(nn.Module):
    """A block that records its calls."""

    def __init__(self, inner: nn.Module, record: Callable[[Call, bool], None]) -> None:
        super().__init__()
        # in a tuple, so that it is no submodule: its parameters are those of the model
        self._inner, self._record = (inner,), record

    def forward(self, tokens: TokenSequence, needs: frozenset[str]) -> TokenSequence:
        self._record(partial(self._inner[0], tokens, needs), True)
        after: TokenSequence = self._inner[0](tokens, needs)
        return after


def repeated(calls: Sequence[Call]) -> tuple[float, float]:
    """Seconds by the clock and by processor time for all `calls` in turn: medians of rounds."""
    rounds = []
    with torch.inference_mode():
        for _ in range(ROUNDS):
            clock, processor = time.perf_counter(), time.process_time()
            for call in calls:
                call()
            rounds.append((time.perf_counter() - clock, time.process_time() - processor))
    by_clock, by_processor = np.median(rounds, axis=0)
    return float(by_clock), float(by_processor)


def measure_engine(images: Sequence[int]) -> list[EngineRow]:
    """A run for each number of images, each in a process and a temporary folder of its own."""
    rows = []
    for count in images:
        # a process each, since the peak of memory is that of a process
        with tempfile.TemporaryDirectory(prefix="engine-") as folder:
            command = [sys.executable, __file__, ONE_RUN, str(Path(folder) / "run"), str(count)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"the run of {count} images failed: {done.stderr}"
        rows.append(EngineRow(**json.loads(done.stdout.splitlines()[-1])))
    return rows


def table(rows: Sequence[EngineRow]) -> Table:
    """Microseconds an image and cell, a column for each run."""
    heads = [f"{row.images:,} x {row.cells}" for row in rows]
    shown = Table("microseconds an image and cell", *heads)

    def line(name: str, value: Callable[[EngineRow], float], form: str = ".1f") -> None:
        shown.add_row(name, *(format(value(row), form) for row in rows))

    line("whole run", lambda row: row.each(row.wall))
    line("model and reductions alone", lambda row: row.each(row.own))
    line("  of which the model", lambda row: row.each(row.model))
    line("engine", lambda row: row.overhead)
    line("engine, processor time", lambda row: row.overhead_processor)
    line("  waiting for data", lambda row: row.each(row.waiting))
    line("  tree around the calls", lambda row: row.each(row.forward - row.tokens - row.own))
    for name in PARTS[2:]:
        line(f"  {name}", lambda row, name=name: row.each(getattr(row, name)))
    line("report (once, s)", lambda row: row.report)
    line("peak memory (MB)", lambda row: row.peak, "d")
    line("  with the report", lambda row: row.peak_report, "d")
    return shown


def main(arguments: Sequence[str]) -> None:
    """Print the table, or do one run and print its figures as JSON."""
    if arguments[:1] == [ONE_RUN]:
        _, folder, images = arguments
        print(json.dumps(asdict(one_run(Path(folder), int(images)))))
    else:
        print_table(table(measure_engine([int(count) for count in arguments] or IMAGES)))


if __name__ == "__main__":
    main(sys.argv[1:])

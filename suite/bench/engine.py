"""What the engine itself costs: a whole run with a model that does nothing, less the time of that model's calls.

``python -m suite.bench.engine FOLDER IMAGES`` does one run and prints what was measured as JSON; `measure` starts it
in a process of its own for each number of images, so that the peaks of memory are each one's own.

A run is the real one: data set, prefetching, the tree of cells, outcomes, counts of tokens, shards
flushed to disk, records, statistics and analyses. Not the engine's are the calls of the model (its
blocks, its embedding and head, and the resampling for `downsample`) and of the methods' reductions,
which are what a run is to measure. Those are recorded on one batch and repeated by themselves, in
the same process after the run.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from rich.table import Table
from torch import Tensor, nn

from backbones import BACKBONES
from backbones.base import Backbone, Reducer
from backbones.common.errors import UserError
from backbones.sequence import TokenSequence
from suite.bench.stub import create_stub, open_stub
from suite.comparison import run_comparison
from suite.config.run_spec import RunSpec, build_spec
from suite.data import DATASETS
from suite.data.loading.loader import load
from suite.evaluation.runner import shrink
from suite.evaluation.tree import Job, evaluate, jobs_for
from suite.plan.prepare import Prepared, prepare
from suite.system.stopwatch import STOPWATCH

# With random's seeds and the other baselines at five budgets, and the dense model, 40 cells;
# `permute` makes the order of the tokens something to measure.
METHODS = ("mtr", "tome", "permute[order=reversed]")
MICROSECONDS, MEGABYTES = 60, 200  # what is wanted of an image and cell, and of the growth
ROUNDS = 5
PARTS = ("waiting", "forward", "tokens", "outcomes", "writing", "records", "statistics", "analyses")
Call = Callable[[], object]


@dataclass(frozen=True)
class EngineRow:
    """One run: seconds of all of it, of the calls that are not the engine's, and of parts; memory in MB.

    ``own`` and ``own_processor`` are model and reductions alone, by the clock and by processor time. ``waiting``
    is the time in which the model waited for data, ``forward`` that of model, reductions and the tree around them, of
    which ``tokens`` is counting tokens. ``report`` is not in ``wall``.
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
    """The run that is measured: the defaults of `compare`, on the stub."""
    return build_spec(
        backbones=("stub",), checkpoint="random", data=f"stub:{images}", images="all", methods=METHODS, device="cpu",
        threads=1,
    )  # fmt: skip


def one_run(folder: Path, images: int) -> EngineRow:
    """Do the run in `folder`, draw its report, then time the model's calls alone."""
    import reports

    with registered():
        spec = settings(images)
        clock, processor = time.perf_counter(), time.process_time()
        result = run_comparison(spec, folder, quiet=True)
        clock, processor = time.perf_counter() - clock, time.process_time() - processor
        peak, parts = peak_memory(), dict(STOPWATCH.seconds)
        drawing = time.perf_counter()
        reports.build(folder)
        drawing = time.perf_counter() - drawing
        calls, by_model = recorded(prepare(spec))
    if result.failures:
        raise UserError(f"the stub failed: {next(iter(result.failures.values()))}")
    batches = images / spec.batch
    own, own_processor = repeated(calls)
    model, _ = repeated(by_model)
    named = {"waiting": "data wait", "forward": "model"}
    found = {name: parts.get(named.get(name, name), 0.0) for name in PARTS}
    done = sum(record["status"] == "ok" for record in result.records)
    return EngineRow(
        images=images, cells=done, wall=clock, processor=processor, own=own * batches,
        own_processor=own_processor * batches, model=model * batches, **found, report=drawing, peak=peak,
        peak_report=peak_memory(),
    )  # fmt: skip


@contextmanager
def registered() -> Iterator[None]:
    """The stubs under the name `stub` in this process; a name of somebody else is left alone."""
    if "stub" not in BACKBONES:
        BACKBONES.add("stub", create_stub)
        DATASETS.add("stub", open_stub)
    yield


def peak_memory() -> int:
    """The most resident memory this process and those it started had, in MB."""
    peaks = (
        resource.getrusage(who).ru_maxrss
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return sum(peaks) // (1 << 20 if sys.platform == "darwin" else 1 << 10)


def recorded(prepared: Prepared) -> tuple[list[Call], list[Call]]:
    """All calls of the model and of the methods on one batch of the run, and those of the model alone."""
    (model,) = prepared.models.values()
    batch = load(prepared.dataset, prepared.indices[: prepared.spec.batch], model.image_size)
    cells = prepared.runnable(model.name)
    calls: list[Call] = []
    by_model: list[Call] = []

    def keep(call: Call, of_model: bool) -> None:
        calls.append(call)
        if of_model:
            by_model.append(call)

    with torch.inference_mode():
        for size in sorted({cell.image_size for cell in cells}, reverse=True):
            sized = model if size == model.image_size else model.resized(size)
            if sized is not model:
                keep(partial(model.resized, size), True)
                keep(partial(shrink, batch.images, size), True)
            images = batch.images if sized is model else shrink(batch.images, size)
            keep(partial(sized.embed, images, batch.indices), True)
            spy = _Spy(sized, keep)
            spied: dict[int, Reducer] = {}
            members = [cell for cell in cells if cell.image_size == size]
            jobs = [
                Job(
                    job.key,
                    {
                        site: spied.setdefault(id(one), _SpiedReducer(one, keep))
                        for site, one in job.plan.items()
                    },
                )
                for job in jobs_for(members, sized, batch.indices, batch.labels)
            ]
            for _ in evaluate(
                spy, sized.embed(images, batch.indices), jobs, lambda keys, site, tokens: None
            ):
                pass
    return calls, by_model


class _SpiedReducer:
    """A reducer that keeps its calls."""

    def __init__(self, inner: Reducer, keep: Callable[[Call, bool], None]) -> None:
        self.inner, self.keep, self.needs = inner, keep, inner.needs

    def __call__(self, tokens: TokenSequence) -> TokenSequence:
        self.keep(partial(self.inner, tokens), False)
        return self.inner(tokens)


class _Spy(Backbone):
    """A model that keeps the calls of its blocks and of its head."""

    def __init__(self, inner: Backbone, keep: Callable[[Call, bool], None]) -> None:
        super().__init__()
        self._inner, self._keep = inner, keep
        self._halves = tuple(_SpiedBlock(block, keep) for block in inner.blocks)

    @property
    def blocks(self) -> Sequence[nn.Module]:
        return self._halves

    def readout(self, tokens: TokenSequence) -> Tensor:
        self._keep(partial(self._inner.readout, tokens), True)
        return self._inner.readout(tokens)


class _SpiedBlock(nn.Module):
    def __init__(self, inner: nn.Module, keep: Callable[[Call, bool], None]) -> None:
        super().__init__()
        self._held, self._keep = (inner,), keep

    def forward(self, tokens: TokenSequence, needs: frozenset[str]) -> TokenSequence:
        self._keep(partial(self._held[0], tokens, needs), True)
        found: TokenSequence = self._held[0](tokens, needs)
        return found


def repeated(calls: Sequence[Call]) -> tuple[float, float]:
    """Seconds, and seconds of processor time, in which `calls` are made one after the other: medians of rounds."""
    found = []
    with torch.inference_mode():
        for _ in range(ROUNDS):
            clock, processor = time.perf_counter(), time.process_time()
            for call in calls:
                call()
            found.append((time.perf_counter() - clock, time.process_time() - processor))
    own, own_processor = np.median(found, axis=0)
    return float(own), float(own_processor)


def measure(images: Sequence[int]) -> list[EngineRow]:
    """A run for each number of images, each in a process and a temporary folder of its own."""
    rows = []
    for count in images:
        with tempfile.TemporaryDirectory(prefix="engine-") as folder:
            command = [
                sys.executable,
                "-m",
                "suite.bench.engine",
                str(Path(folder) / "run"),
                str(count),
            ]
            done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 (no shell)
        if done.returncode:
            raise UserError(
                f"the run of {count} images failed: {(done.stderr.strip() or 'no message').splitlines()[-1]}"
            )
        rows.append(EngineRow(**json.loads(done.stdout.splitlines()[-1])))
    return rows


def table(rows: Sequence[EngineRow]) -> Table:
    """The rows for a terminal: microseconds an image and cell."""
    shown = Table(
        "microseconds an image and cell", *(f"{row.images:,} x {row.cells}" for row in rows)
    )

    def line(name: str, value: Callable[[EngineRow], float], form: str = ".1f") -> None:
        shown.add_row(name, *(format(value(row), form) for row in rows))

    line("whole run", lambda row: row.each(row.wall))
    line("model and reductions alone", lambda row: row.each(row.own))
    line("  of which the model", lambda row: row.each(row.model))
    line(f"engine (wanted: {MICROSECONDS} or less)", lambda row: row.overhead)
    line("engine, processor time", lambda row: row.overhead_processor)
    line("  waiting for data", lambda row: row.each(row.waiting))
    line("  tree around the calls", lambda row: row.each(row.forward - row.tokens - row.own))
    for name in PARTS[2:]:
        line(f"  {name}", partial(_part, name))
    line("report (once, s)", lambda row: row.report)
    line("peak memory (MB)", lambda row: row.peak, "d")
    line("  with the report", lambda row: row.peak_report, "d")
    return shown


def _part(name: str, row: EngineRow) -> float:
    return row.each(getattr(row, name))


def verdict(rows: Sequence[EngineRow]) -> str:
    """Whether the last row's overhead and the growth of memory from the first to the last are as wanted."""
    first, last = rows[0], rows[-1]
    text = f"engine: {last.overhead:.1f} us an image and cell (wanted: at most {MICROSECONDS})"
    if len(rows) < 2:
        return text
    grown = last.peak_report - first.peak_report
    return f"{text}; memory grows by {grown} MB from {first.images:,} to {last.images:,} images (at most {MEGABYTES})"


def main(arguments: Sequence[str]) -> None:
    """Do one run and print its row."""
    folder, images = arguments
    print(json.dumps(asdict(one_run(Path(folder), int(images)))))


if __name__ == "__main__":
    main(sys.argv[1:])

"""What reductions gain in time and memory here: latency, throughput, peak memory, and what the time goes to.

Everything that is compared runs in turn, round after round, so that a machine that slows down slows
all alike; a speed-up is the median of the ratios of the dense to the reduced pass of the same
round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from rich.table import Table
from torch import Tensor

from backbones.base import Backbone, Reducer
from suite.bench.clock import in_turn, now
from suite.bench.machine import state
from suite.bench.memory import peak_mib
from suite.bench.time_breakdown import KINDS, shares
from suite.stats import median_interval

LEAST_SECONDS = 0.05  # of one timing: shorter passes are repeated
Record = dict[str, Any]


@dataclass(frozen=True)
class Subject:
    """A model with its reductions: what one timing runs.

    `backbone` is the name it was asked by, `flops` an image's, `removed` the share of the dense
    model's FLOPs that goes, `reduction_flops` the method's own share of those left, `key` that of
    its cell.
    """

    model: Backbone
    backbone: str
    label: str
    budget: float | None
    plan: Mapping[int, Reducer]
    flops: int
    removed: float
    reduction_flops: float
    image_size: int
    key: str

    @property
    def sized(self) -> Backbone:
        """The model for the images it is given."""
        return (
            self.model
            if self.image_size == self.model.image_size
            else self.model.resized(self.image_size)
        )


COLUMNS = (
    "key", "backbone", "label", "budget", "batch", "image_size", "tokens", "precision", "device", "kernel", "removed",
    "gflops", "ms", "ms_low", "ms_high", "images_per_second", "speedup", "speedup_low", "speedup_high", "verdict",
    "interval", "rounds", "peak_mib", *(f"share_{kind}" for kind in KINDS), "reduction_flops", "machine", "load",
    "cores", "threads", "mhz", "celsius",
)  # fmt: skip


def measure(subjects: Sequence[Subject], batch: int, rounds: int, device: str) -> Iterator[Record]:
    """Time `subjects`, the first of which is the dense one, on batches of random images.

    A record has `COLUMNS` but precision and kernel: times in ms a batch, `removed` and shares as
    fractions.
    """
    with torch.inference_mode():
        images = {subject.image_size: _images(subject, batch, device) for subject in subjects}
        found = state(device)
        runs: dict[str, Callable[[], float]] = {
            str(place): _timing(subject, images[subject.image_size], device)
            for place, subject in enumerate(subjects)
        }
        seconds = list(in_turn(runs, rounds).values())
        for subject, times in zip(subjects, seconds, strict=True):
            given, model = images[subject.image_size], subject.sized
            peak = peak_mib(partial(forward, model, given, subject.plan), device)
            spent = {
                f"share_{kind}": share for kind, share in shares(model, given, subject.plan).items()
            }
            yield {
                **_figures(subject, times, seconds[0], batch),
                "device": device,
                "peak_mib": peak,
                **spent,
                **found,
            }


def forward(model: Backbone, images: Tensor, plan: Mapping[int, Reducer]) -> Tensor:
    """The logits of one pass."""
    return model.readout(model.run(model.embed(images), plan=plan))


def _images(subject: Subject, batch: int, device: str) -> Tensor:
    size, frames = subject.image_size, subject.model.frames
    shape = (batch, 3, frames, size, size) if frames > 1 else (batch, 3, size, size)
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return drawn.to(device, next(subject.model.parameters()).dtype)


def _timing(subject: Subject, images: Tensor, device: str) -> Callable[[], float]:
    """Seconds of one pass; short passes are repeated for long enough, after one that warms up."""
    model = subject.sized
    run = partial(forward, model, images, subject.plan)
    run()
    started = now(device)
    run()
    times = max(1, round(LEAST_SECONDS / max(now(device) - started, 1e-9)))

    def seconds() -> float:
        started = now(device)
        for _ in range(times):
            run()
        return (now(device) - started) / times

    return seconds


def _figures(
    subject: Subject, times: Sequence[float], dense: Sequence[float], batch: int
) -> Record:
    """What a subject is, and what follows from its times and those of the dense one in the same rounds."""
    median, spread = median_interval(times)
    ratio, gain = median_interval([whole / part for whole, part in zip(dense, times, strict=True)])
    verdict = "faster" if gain.low > 1 else "slower" if gain.high < 1 else "no gain shown"
    return {
        "key": subject.key,
        "backbone": subject.backbone,
        "label": subject.label,
        "budget": subject.budget,
        "batch": batch,
        "image_size": subject.image_size,
        "tokens": subject.sized.describe().patches,
        "removed": subject.removed,
        "gflops": subject.flops / 1e9,
        "ms": 1e3 * median,
        "ms_low": 1e3 * spread.low,
        "ms_high": 1e3 * spread.high,
        "images_per_second": batch / median,
        "speedup": ratio,
        "speedup_low": gain.low,
        "speedup_high": gain.high,
        "verdict": "dense" if times is dense else verdict,
        "interval": spread.kind,
        "rounds": len(times),
        "reduction_flops": subject.reduction_flops,
    }


def without_gain(row: Record) -> bool:
    """Whether FLOPs fall and time was not shown to."""
    return row["removed"] > 0 and row["verdict"] != "faster"


def legend(rows: Sequence[Record]) -> str:
    """What the marks and the memory of `table` mean, in a line."""
    mark = (
        "!: FLOPs fall and time was not shown to. "
        if any(without_gain(row) for row in rows)
        else ""
    )
    return f"{mark}peak MiB: what a pass holds at most beyond weights and images."


def table(rows: Sequence[Record]) -> Table:
    """The rows for a terminal, without the shares that the report has; a mark where FLOPs fall and time did not."""
    first = rows[0]
    heads = (
        "backbone",
        "method",
        "tokens",
        "batch",
        "FLOPs",
        "ms a batch",
        "images/s",
        "speed-up",
        "peak MiB",
    )
    shown = Table(title=f"{first['machine']}, {first['threads']} threads, {first['rounds']} rounds")
    for head in heads:
        shown.add_column(head, no_wrap=True)
    several = len({row["precision"] for row in rows}) > 1
    for row in rows:
        mark = " !" if without_gain(row) else ""
        speedup = (
            f"{row['speedup']:.2f} [{row['speedup_low']:.2f}, {row['speedup_high']:.2f}]{mark}"
        )
        dense = row["verdict"] == "dense"
        shown.add_row(
            f"{row['backbone']} {row['precision']}" if several else row["backbone"],
            row["label"], str(row["tokens"]), str(row["batch"]),
            "" if dense else f"-{100 * row['removed']:.1f} %", f"{row['ms']:.2f}", f"{row['images_per_second']:.1f}",
            "" if dense else speedup, f"{row['peak_mib']:.1f}",
        )  # fmt: skip
    return shown

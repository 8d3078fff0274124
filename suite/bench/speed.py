"""Speed of methods: latency, throughput, peak memory, and what the time of a pass goes to.

Everything that is compared runs in turn, round after round; a speed-up is the median of the ratios
of the dense to the reduced pass of the same round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from rich.table import Table

from backbones.base import Backbone
from suite.bench.machine import state
from suite.bench.memory import peak_mib
from suite.bench.passes import Pass, random_images
from suite.bench.tables import figures_table
from suite.bench.time_breakdown import time_breakdown
from suite.bench.timing import in_rounds
from suite.plan.cells import Cell
from suite.stats.correctness import counted
from suite.stats.single import median_interval
from suite.stats.speed_words import ONE_ROUND

Record = dict[str, Any]
TABLE = {
    "backbone": "{row[name]}",
    "method": "{row[label]}",
    "tokens": "{row[tokens]}",
    "batch": "{row[batch]}",
    "FLOPs": "{row[removed]}",
    "ms a batch": "{row[ms]:.2f}",
    "{samples}s/s": "{row[images_per_second]:.1f}",
    "speed-up": "{row[gain]}",
    "peak MiB": "{row[peak_mib]:.1f}",
}


def measure_speed(
    model: Backbone,
    cells: Sequence[Cell],
    batch: int,
    rounds: int,
    device: str,
    after: Callable[[int], None] = lambda done: None,
) -> Iterator[Record]:
    """Time `cells` of one backbone, the dense one first, on batches of random images or clips.

    `after` gets how many rounds are done.
    A record is a row of the analysis ``bench``, but for precision and kernel: times in ms a batch,
    ``removed`` and shares as fractions.
    """
    machine = state(device)  # before the timing, which is a load itself
    passes = passes_of(model, cells, batch, device)
    with torch.inference_mode():
        runs = {key: timed.seconds for key, timed in passes.items()}
        times = in_rounds(runs, rounds, after)
        dense = times[cells[0].key]
        for cell in cells:
            timed = passes[cell.key]
            record = figures(cell, times[cell.key], dense, batch)
            record["tokens"] = timed.model.describe().patches
            record["kind"] = "videos" if model.frames > 1 else "images"
            record["device"] = device
            record["peak_mib"] = peak_mib(timed, device)
            for kind, share in time_breakdown(timed).items():
                record[f"share_{kind}"] = share
            yield {**record, **machine}


def passes_of(model: Backbone, cells: Sequence[Cell], batch: int, device: str) -> dict[str, Pass]:
    """The pass of each cell, by key, on a batch of random images or clips."""
    native = random_images(model, batch, device)
    passes = {}
    for cell in cells:
        sized, images = model, native
        if cell.view is None and cell.image_size != model.image_size:
            # a smaller image is a method too, and has a model of its own
            sized = model.resized(cell.image_size)
            images = random_images(sized, batch, device)
        passes[cell.key] = Pass(sized, images, cell.reducers(), cell.view, cell.image_size)
    return passes


def figures(cell: Cell, times: Sequence[float], dense: Sequence[float], batch: int) -> Record:
    """The settings of a cell and its figures, from its times and the dense ones, by round.

    One round has no interval, whose ends are None, and no verdict.
    """
    assert cell.plan is not None
    median, spread = median_interval(times)
    # of the passes of one round, which met the machine in the same state
    ratios = [whole / part for whole, part in zip(dense, times, strict=True)]
    speedup, gain = median_interval(ratios)
    # a verdict needs the whole interval on one side of 1
    verdict = "no gain shown"
    if gain.low > 1:
        verdict = "faster"
    elif gain.high < 1:
        verdict = "slower"
    once = len(times) == 1
    if once:
        verdict = ONE_ROUND
    flops = cell.plan.total["flops"]
    return {
        "key": cell.key,
        "backbone": cell.backbone,
        "label": cell.label,
        "budget": cell.budget,
        "batch": batch,
        "image_size": cell.image_size,
        "removed": cell.plan.removed["flops"],
        "gflops": flops / 1e9,
        "ms": 1e3 * median,
        "ms_low": None if once else 1e3 * spread.low,
        "ms_high": None if once else 1e3 * spread.high,
        "images_per_second": batch / median,
        "speedup": speedup,
        "speedup_low": None if once else gain.low,
        "speedup_high": None if once else gain.high,
        "verdict": "dense" if times is dense else verdict,
        "interval": "none" if once else spread.kind,
        "rounds": len(times),
        "reduction_flops": cell.plan.flops.reduction / flops,
    }


def without_gain(row: Record) -> bool:
    """Whether FLOPs fall and the time, of several rounds, was not shown to fall."""
    return row["removed"] > 0 and row["verdict"] not in ("faster", ONE_ROUND)


def gain_words(row: Record) -> str:
    """The speed-up with its interval, if it has one."""
    words = f"{row['speedup']:.2f}"
    if row["rounds"] == 1:
        return words
    return f"{words} [{row['speedup_low']:.2f}, {row['speedup_high']:.2f}]"


def legend(rows: Sequence[Record]) -> str:
    """The meaning of the marks and of the memory in `table`, in a line."""
    memory = "peak MiB: the most that a pass allocates beyond weights and input."
    marked = any(without_gain(row) for row in rows)
    return f"!: FLOPs fall and time was not shown to. {memory}" if marked else memory


def table(rows: Sequence[Record]) -> Table:
    """The rows for a terminal, without the shares of time, which the report shows."""
    first = rows[0]
    # a column of its own would be the same in most tables
    several = len({row["precision"] for row in rows}) > 1
    shown = []
    for row in rows:
        texts = {"name": f"{row['backbone']} {row['precision']}" if several else row["backbone"]}
        # nothing is removed from the dense pass, and it is compared with itself
        if row["verdict"] != "dense":
            texts["removed"] = f"-{row['removed']:.1%}"
            mark = " !" if without_gain(row) else ""
            texts["gain"] = gain_words(row) + mark
        shown.append({**row, "removed": "", "gain": "", **texts})
    title = f"{first['machine']}, {first['threads']} threads, {counted(first['rounds'], 'rounds')}"
    return figures_table(title, shown, TABLE, 2, [row["kind"] for row in rows])

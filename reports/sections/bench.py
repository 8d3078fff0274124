"""Measured speed and memory."""

from __future__ import annotations

from functools import partial

import pandas as pd

from reports.aggregate import metric_of
from reports.figures.speed import (
    by_length,
    length_figure,
    native,
    shares_figure,
    speedup_figure,
    time_figure,
)
from reports.report_data import ReportData
from reports.section import Drawing, Frames, Section, Table, scaled_table, stored
from suite.stats.correctness import sample_name
from suite.stats.speed_words import speed_answer

NEEDS = stored("bench", "bench_words")
RATE = "A second"
# Columns of the table and their heads; an interval follows its value.
HEADS = {
    "label": "Method",
    "backbone": "Backbone",
    "precision": "Precision",
    "tokens": "Tokens",
    "batch": "Batch",
    "removed": "FLOPs removed, %",
    "ms": "ms a batch",
    "images_per_second": RATE,
    "speedup": "Speed-up",
    "speedup_low": "from",
    "speedup_high": "to",
    "verdict": "Verdict",
    "peak_mib": "Peak MiB",
    "share_reduction": "Method's own time, %",
}
DIGITS = {
    "FLOPs removed, %": 1,
    "ms a batch": 2,
    RATE: 1,
    "Speed-up": 2,
    "from": 2,
    "to": 2,
    "Peak MiB": 1,
    "Method's own time, %": 1,
}
SPEEDUP = (
    "How much faster a reduced pass really is, against the share of FLOPs removed: medians over "
    "interleaved rounds with their 95 % intervals, each round's dense pass over its reduced one. "
    "The dashed curve is where time would follow FLOPs. A ring marks the cells whose FLOPs are "
    "fewer but whose time was not shown to be shorter."
)
SHARES = (
    "What the time of a pass is spent on, by a profile apart from the timing: each bar is as long "
    "as the measured time. The percentage is the method's own work, which its FLOPs understate "
    "where it sorts and gathers."
)
# Both the figure of lengths and the table show it.
MEMORY = "Peak memory is the most that a pass uses beyond weights and input."
LENGTH = (
    "Time and peak memory of one image by its number of tokens: dense, and reduced at one budget. "
    f"{MEMORY}"
)
TIME = (
    "Accuracy against time measured on this machine instead of FLOPs: up and to the left is "
    "better. The horizontal lines are 95 % intervals of the time."
)
# A cell of the comparison and of the measurement alike.
CELL = ["backbone", "label", "budget"]
# Load per core above which other programs will have disturbed the measurement.
BUSY = 0.5


def section(report: ReportData, frames: Frames) -> Section | None:
    """Build the figures of speed-up, accuracy by time, time shares and sequence lengths."""
    rows, words = frames["bench"], frames["bench_words"]
    # The first sentence is the finding; the others qualify it.
    first, *notes = words["sentence"]
    busy = rows.loc[rows["load"] > BUSY * rows["cores"], "load"]
    if len(busy):
        notes.append(
            f"The machine was busy during part of the measurement (load up to {busy.max():.1f})."
        )
    return Section(
        key="bench",
        part="cost",
        title="Measured speed and memory",
        sentence=first,
        brief=speed_answer(rows.to_dict("records")),
        figures=tuple(_drawings(report, rows)),
        tables=(_table(rows),),
        notes=tuple(note for note in notes if note),
    )


def _drawings(report: ReportData, rows: pd.DataFrame) -> list[Drawing]:
    """Return the figures that `rows` have the data for."""
    looks = report.looks
    drawings = []
    # Of the dense model alone there is nothing to compare.
    if (native(rows)["removed"] > 0).any():
        alt = "Measured speed-up of every method against the share of FLOPs it removes."
        draw = partial(speedup_figure, rows, looks)
        drawings.append(Drawing("bench-speedup", draw, SPEEDUP, alt))
    # Accuracy is known where the folder also has the cells of a comparison.
    timed = measured(report.frame, rows)
    if len(timed):
        alt = f"{report.run.metric.title} of every method against its measured time."
        draw = partial(time_figure, timed, looks)
        drawings.append(Drawing("bench-accuracy", draw, TIME, alt))
    # Unlike the others, this figure needs neither a reduced cell nor accuracy.
    alt = (
        "Share of scan, matrix products, elementwise work and the method itself in the time of "
        "every pass."
    )
    drawings.append(Drawing("bench-shares", partial(shares_figure, rows, looks), SHARES, alt))
    # Only some measurements include longer sequences.
    if len(by_length(rows)):
        alt = "Time and peak memory of one image against the number of its tokens."
        draw = partial(length_figure, rows, looks)
        drawings.append(Drawing("bench-length", draw, LENGTH, alt))
    return drawings


def measured(frame: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Join accuracy and milliseconds a sample, at the largest batch, of cells that have both."""
    # Accuracy does not depend on the batch; the largest is what one would run for speed.
    largest = rows.sort_values("batch").drop_duplicates(CELL, keep="last")
    times = largest[[*CELL, "kind"]].copy()
    for name in ("ms", "ms_low", "ms_high"):
        times[name] = largest[name] / largest["batch"]
    accuracy = frame[[*CELL, "top1"]].dropna(subset=["top1"])
    return accuracy.merge(times, on=CELL).assign(metric=metric_of(frame))


def _table(rows: pd.DataFrame) -> Table:
    # The data call the dense model's method `none`.
    named = rows.assign(label=rows["label"].replace("none", "dense"))
    # One measurement is made on one machine, with as many threads and rounds for all cells.
    first = rows.iloc[0]
    samples = " or ".join(dict.fromkeys(f"{sample_name(kind)}s" for kind in rows["kind"]))
    rounds, interval = "one round", ""
    if first["rounds"] > 1:
        rounds = f"medians of {first['rounds']} interleaved rounds"
        interval = f" with its 95 % {first['interval']}"
    return Table(
        "bench",
        f"Speed and memory on {first['machine']}, {first['threads']} threads: {rounds}, "
        f"{samples} a second; speed-up against the dense pass of the same round{interval}. "
        f"{MEMORY}",
        scaled_table(named, HEADS, {"removed", "share_reduction"}),
        DIGITS,
    )

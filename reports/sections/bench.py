"""Measured speed and memory on the page."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import pandas as pd

from reports.figures.speed import (
    by_length,
    length_figure,
    native,
    shares_figure,
    speedup_figure,
    time_figure,
)
from reports.report_data import Sheet
from reports.section import Drawing, Section, Table

ORDER = 60
NEEDS = {
    "bench": (
        "backbone", "label", "budget", "batch", "tokens", "precision", "removed", "ms", "ms_low", "ms_high",
        "images_per_second", "speedup", "speedup_low", "speedup_high", "verdict", "interval", "rounds", "peak_mib",
        "share_scan", "share_gemm", "share_elementwise", "share_reduction", "share_rest", "machine", "cores", "threads",
        "load",
    ),
    "bench_words": ("backbone", "sentence"),
}  # fmt: skip
SPEEDUP = (
    "How much faster a reduced pass really is, against the share of FLOPs that goes: medians over interleaved rounds "
    "with their 95 % intervals, each round's dense pass over its reduced one. The dashed curve is where time would "
    "follow FLOPs. A ring marks the cells where FLOPs fall and time was not shown to."
)
SHARES = (
    "What the time of a pass goes to, by a profile apart from the timing: each bar is as long as the measured time. "
    "The percentage is the method's own work, which its FLOPs understate where it sorts and gathers."
)
MEMORY = "Peak memory is what a pass holds at most beyond weights and images."
LENGTH = f"Time and peak memory of one image as its tokens grow: dense, and reduced at one budget. {MEMORY}"
TIME = (
    "Accuracy against time measured here, where FLOPs are no longer the question: up and to the left is better. The "
    "horizontal lines are 95 % intervals of the time."
)


def section(sheet: Sheet, frames: Mapping[str, pd.DataFrame]) -> Section | None:
    """Gain, shares, lengths and accuracy by time, as far as they were measured."""
    rows, words = frames["bench"], frames["bench_words"]
    first, *others = words["sentence"]
    looks = sheet.looks
    figures = []
    if (native(rows)["removed"] > 0).any():
        alt = "Measured speed-up of every method against the share of FLOPs it removes."
        figures.append(Drawing("bench-speedup", partial(speedup_figure, rows, looks), SPEEDUP, alt))
    timed = measured(sheet.frame, rows)
    if len(timed):
        alt = "Top-1 accuracy of every method against its measured time an image."
        figures.append(Drawing("bench-accuracy", partial(time_figure, timed, looks), TIME, alt))
    alt = "Share of scan, matrix products, elementwise work and the method itself in the time of every pass."
    figures.append(Drawing("bench-shares", partial(shares_figure, rows), SHARES, alt))
    if len(by_length(rows)):
        alt = "Time and peak memory of one image against the number of its tokens."
        figures.append(Drawing("bench-length", partial(length_figure, rows, looks), LENGTH, alt))
    busy = rows.loc[rows["load"] > 0.5 * rows["cores"], "load"]
    note = (
        f"The machine was busy while some of it was measured (load up to {busy.max():.1f})."
        if len(busy)
        else ""
    )
    return Section(
        key="bench",
        part="cost",
        title="What is really gained",
        sentence=first,
        figures=tuple(figures),
        tables=(_table(rows),),
        notes=tuple(text for text in (*others, note) if text),
    )


def measured(frame: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Accuracy and milliseconds an image of the cells that have both, at their largest batch."""
    largest = rows.sort_values("batch").drop_duplicates(
        ["backbone", "label", "budget"], keep="last"
    )
    times = largest[["backbone", "label", "budget"]].copy()
    for name in ("ms", "ms_low", "ms_high"):
        times[name] = largest[name] / largest["batch"]
    known = frame[["backbone", "label", "budget", "top1"]].dropna(subset=["top1"])
    return known.merge(times, on=["backbone", "label", "budget"])


def _table(rows: pd.DataFrame) -> Table:
    shown = pd.DataFrame(
        {
            "Method": rows["label"].replace("none", "dense"),
            "Backbone": rows["backbone"],
            "Precision": rows["precision"],
            "Tokens": rows["tokens"],
            "Batch": rows["batch"],
            "FLOPs removed, %": 100 * rows["removed"],
            "ms a batch": rows["ms"],
            "Images/s": rows["images_per_second"],
            "Speed-up": rows["speedup"],
            "from": rows["speedup_low"],
            "to": rows["speedup_high"],
            "Verdict": rows["verdict"],
            "Peak MiB": rows["peak_mib"],
            "Method's own time, %": 100 * rows["share_reduction"],
        }
    )
    digits = {"FLOPs removed, %": 1, "ms a batch": 2, "Images/s": 1, "Speed-up": 2, "from": 2, "to": 2, "Peak MiB": 1,
              "Method's own time, %": 1}  # fmt: skip
    first = rows.iloc[0]
    caption = (
        f"Speed and memory on {first['machine']}, {first['threads']} threads: medians of {first['rounds']} interleaved "
        f"rounds; speed-up against the dense pass of the same round with its 95 % {first['interval']}. {MEMORY}"
    )
    return Table("bench", caption, shown.reset_index(drop=True), digits)

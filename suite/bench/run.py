"""A measurement of speed on disk: a file for each cell, and one table of all, in a run's folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from suite.bench.grid import Tell, time_grid, time_run
from suite.bench.spec import BenchSpec
from suite.bench.speed import COLUMNS, Record, without_gain
from suite.store.run_folder import Store, write_frame
from suite.system.atomic_files import write_json
from suite.system.environment import command_line, environment
from suite.system.hardware import pick_device, set_threads


def measure_into(
    folder: Path, asked: BenchSpec, finished: bool, tell: Tell
) -> tuple[list[Record], list[str]]:
    """Time what is asked into `folder`, or the cells of the `finished` run that is there; the rows and the sentences.

    UserError before anything is timed for whatever cannot be had.
    """
    set_threads(asked.threads)
    device = pick_device(asked.device)
    if not finished:
        Store.check(folder, asked)
    rows = list(
        time_run(folder, asked, device, tell) if finished else time_grid(asked, device, tell)
    )
    if not finished:
        about = {"command": command_line(), "device": device}
        Store.open(folder, asked).write_environment(environment() | about)
    return rows, write_timing(folder, rows)


def write_timing(folder: Path, rows: Sequence[Record]) -> list[str]:
    """Write ``timing/KEY.json`` for each cell, ``bench.parquet`` and ``bench_words.parquet``; returns the sentences.

    A cell's file has the throughput at its largest batch on top, all its rows below, and when it
    was measured. What an earlier measurement of the folder found is replaced.
    """
    measured = datetime.now(UTC).isoformat(timespec="seconds")
    by_key: dict[str, list[Record]] = {}
    for row in rows:
        by_key.setdefault(row["key"], []).append(row)
    for key, found in by_key.items():
        best = max(found, key=lambda row: row["batch"])
        top = {
            "seconds": best["ms"] / 1e3 / best["batch"],
            "images_per_second": best["images_per_second"],
            "reduction_share": best["share_reduction"],
            "measured": measured,
        }
        write_json(folder / "timing" / f"{key}.json", {"key": key, **top, "rows": found})
    words = [{"backbone": name, "sentence": text} for name, text in sentences(rows)]
    write_frame(folder / "analyses" / "bench.parquet", pd.DataFrame(rows, columns=list(COLUMNS)))
    write_frame(folder / "analyses" / "bench_words.parquet", pd.DataFrame(words))
    return [row["sentence"] for row in words]


def sentences(rows: Sequence[Record]) -> Iterator[tuple[str, str]]:
    """For each backbone, the fastest at each budget at the largest batch, and where FLOPs fall but time does not.

    A smaller image, whose sizes leave it beside the budget, is told of apart, by the share that it
    removes.
    """
    for name in dict.fromkeys(row["backbone"] for row in rows):
        mine = [row for row in rows if row["backbone"] == name]
        batch = max(row["batch"] for row in mine)
        whole = [row for row in mine if row["batch"] == batch]
        dense = next(row for row in whole if row["verdict"] == "dense")
        parts = [
            f"{name} on {dense['machine']} ({dense['precision']}, {dense['threads']} threads, batch {batch}, medians "
            f"of {dense['rounds']} rounds): dense {dense['images_per_second']:.1f} images a second."
        ]
        first: dict[
            tuple[str, float], Record
        ] = {}  # the backbone's own length comes before the others
        for row in whole:
            if row["removed"] > 0 and row["precision"] == dense["precision"]:
                first.setdefault((row["label"], row["budget"]), row)
        small = [row for row in first.values() if row["tokens"] < dense["tokens"]]
        reduced = [row for row in first.values() if row["tokens"] == dense["tokens"]]
        for budget in sorted({row["budget"] for row in reduced}):
            best = max(
                (row for row in reduced if row["budget"] == budget), key=lambda row: row["speedup"]
            )
            parts.append(_gain(best, f"the fastest method, {best['label']},"))
        parts += [_gain(row, f"the smaller image ({row['label']})") for row in small]
        cut = [row for row in mine if row["removed"] > 0]
        lost = [f"{row['label']} at {100 * row['budget']:.4g} % (batch {row['batch']}, {row['tokens']} tokens)"
                for row in cut if without_gain(row)]  # fmt: skip
        which = f": {', '.join(lost)}" if lost else ""
        parts.append(
            f"FLOPs fall and time was not shown to in {len(lost)} of {len(cut)} timings{which}."
        )
        yield name, " ".join(parts)


def _gain(row: Record, who: str) -> str:
    """How much faster a pass is than the dense one, at the share of FLOPs that it really removes."""
    return (
        f"With {100 * row['removed']:.1f} % of FLOPs removed {who} is {row['speedup']:.2f} times as fast (95 % "
        f"{row['interval']} {row['speedup_low']:.2f} to {row['speedup_high']:.2f}; {1 / (1 - row['removed']):.2f} if "
        "time followed FLOPs)."
    )

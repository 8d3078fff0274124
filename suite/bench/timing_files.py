"""A measurement of speed in a run's folder: a file for each cell, one table of all, sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from suite.bench.cells import Notify, time_grid
from suite.bench.spec import BenchSpec
from suite.bench.speed import Record, without_gain
from suite.stats.correctness import sample_name
from suite.stats.speed_words import REPEAT
from suite.store.run_folder import Store, write_frame
from suite.system.atomic_files import write_json
from suite.system.environment import command_line, environment

ENDS = ("ms_low", "ms_high", "speedup_low", "speedup_high")


def measure_grid(
    folder: Path, spec: BenchSpec, device: str, notify: Notify
) -> tuple[list[Record], list[str]]:
    """Time every combination into `folder`; the rows, and a sentence for each backbone.

    UserError, before anything is timed, for what cannot be measured or written.
    """
    Store.check(folder, spec)  # before the measurement, which takes minutes
    rows = list(time_grid(spec, device, notify))
    details = environment() | {"command": command_line(), "device": device}
    Store.open(folder, spec).write_environment(details)
    return rows, write_timing(folder, rows)


def write_timing(folder: Path, rows: Sequence[Record]) -> list[str]:
    """Write ``timing/KEY.json``, ``bench.parquet``, ``bench_words.parquet``; return the sentences.

    A cell's file has the throughput at its largest batch at the top level, all its rows below, and
    when it was measured. Earlier measurements in the folder are replaced.
    """
    measured = datetime.now(UTC).isoformat(timespec="seconds")
    by_key: dict[str, list[Record]] = {}
    for row in rows:
        by_key.setdefault(row["key"], []).append(row)
    for key, cell_rows in by_key.items():
        # the largest batch is what a user would choose for throughput
        best = max(cell_rows, key=lambda row: row["batch"])
        content = {
            "key": key,
            "seconds": best["ms"] / 1e3 / best["batch"],
            "images_per_second": best["images_per_second"],
            "reduction_share": best["share_reduction"],
            "measured": measured,
            "rows": cell_rows,
        }
        write_json(folder / "timing" / f"{key}.json", content)
    # of one round a column of ends would hold None alone, and have no type
    table = pd.DataFrame(rows).astype(dict.fromkeys(ENDS, "float64"))
    words = bench_words(table)
    write_frame(folder / "analyses" / "bench.parquet", table)
    write_frame(folder / "analyses" / "bench_words.parquet", words)
    return words["sentence"].tolist()


def bench_words(table: pd.DataFrame) -> pd.DataFrame:
    """The table ``bench_words`` of a table ``bench``."""
    rows = table.to_dict("records")
    words = [{"backbone": name, "sentence": text} for name, text in sentences(rows)]
    return pd.DataFrame(words, columns=["backbone", "sentence"])


def sentences(rows: Sequence[Record]) -> Iterator[tuple[str, str]]:
    """For each backbone: the fastest at each budget, and where FLOPs fall but time does not.

    At the largest batch. A smaller image, whose size seldom meets the budget exactly, has a
    sentence of its own with the share that it removes.
    """
    for name in dict.fromkeys(row["backbone"] for row in rows):
        of_backbone = [row for row in rows if row["backbone"] == name]
        yield name, " ".join(_sentences(name, of_backbone))


def _sentences(name: str, rows: Sequence[Record]) -> Iterator[str]:
    batch = max(row["batch"] for row in rows)
    at_batch = [row for row in rows if row["batch"] == batch]
    dense = next(row for row in at_batch if row["verdict"] == "dense")
    rounds = f"medians of {dense['rounds']} rounds" if dense["rounds"] > 1 else "one round"
    yield (
        f"{name} on {dense['machine']} ({dense['precision']}, {dense['threads']} threads, batch "
        f"{batch}, {rounds}): dense {dense['images_per_second']:.1f} "
        f"{sample_name(dense['kind'])}s a second."
    )
    # the backbone's own length comes before the others, of which there is no sentence
    first: dict[tuple[str, float], Record] = {}
    for row in at_batch:
        if row["removed"] > 0 and row["precision"] == dense["precision"]:
            first.setdefault((row["label"], row["budget"]), row)
    smaller = [row for row in first.values() if row["tokens"] < dense["tokens"]]
    reduced = [row for row in first.values() if row["tokens"] == dense["tokens"]]
    for budget in sorted({row["budget"] for row in reduced}):
        at_budget = [row for row in reduced if row["budget"] == budget]
        best = max(at_budget, key=lambda row: row["speedup"])
        yield _gain(best, f"the fastest method, {best['label']},")
    for row in smaller:
        yield _gain(row, f"the smaller image ({row['label']})")
    # at every batch and length: a gain at one batch may be a loss at another
    timings = [row for row in rows if row["removed"] > 0]
    if dense["rounds"] == 1:
        yield REPEAT
        return
    lost = []
    for row in timings:
        if without_gain(row):
            # a method may lose at one length and gain at another
            where = f"(batch {row['batch']}, {row['tokens']} tokens)"
            lost.append(f"{row['label']} at {100 * row['budget']:.4g} % {where}")
    which = ""
    if lost:
        which = f": {', '.join(lost)}"
    yield (f"FLOPs fall and time was not shown to in {len(lost)} of {len(timings)} timings{which}.")


def _gain(row: Record, subject: str) -> str:
    """How much faster than dense a pass is, at the share of FLOPs that it really removes."""
    spread = "one round"
    if row["rounds"] > 1:
        ends = f"{row['speedup_low']:.2f} to {row['speedup_high']:.2f}"
        spread = f"95 % {row['interval']} {ends}"
    return (
        f"With {100 * row['removed']:.1f} % of FLOPs removed {subject} is {row['speedup']:.2f} "
        f"times as fast ({spread}; {1 / (1 - row['removed']):.2f} if time followed FLOPs)."
    )

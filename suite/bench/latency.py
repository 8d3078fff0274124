"""Latency of small batches, dense and reduced, in the same rounds: on a GPU each pass as one graph.

A small batch keeps a GPU busy for less time than the host takes to launch its kernels, so that a
pass launched one by one says nothing of the GPU; it is beside the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from rich.table import Table

from methods.spec import parse_all
from suite.bench.cells import Notify, cells_with_plan, random_model
from suite.bench.cuda_graphs import captured
from suite.bench.machine import state
from suite.bench.passes import Pass
from suite.bench.spec import BenchSpec
from suite.bench.speed import Record, figures, gain_words, passes_of
from suite.bench.tables import figures_table
from suite.bench.timing import in_rounds, seconds
from suite.plan.cells import blind_on
from suite.plan.layout import layout
from suite.plan.settings import choose_settings
from suite.stats.correctness import counted, sample_name
from suite.stats.speed_words import ONE_ROUND, REPEAT

GRAPH, LAUNCHED = "one graph", "launched one by one"
COLUMNS = {
    "backbone": "{row[backbone]}",
    "precision": "{row[precision]}",
    "method": "{row[label]}",
    "FLOPs removed": "{row[removed]:.1%}",
    "batch": "{row[batch]}",
    "run": "{row[run]}",
    "ms a batch": "{row[ms]:.3f}",
    "speed-up": "{row[gain]}",
    "verdict": "{row[verdict]}",
}


def measure_latency(spec: BenchSpec, device: str, notify: Notify) -> Iterator[Record]:
    """Time every backbone in every precision, dense and reduced, at every batch size.

    A record has the figures of `suite.bench.speed.figures`, and ``run``: `GRAPH` or `LAUNCHED`. A
    speed-up is over the dense pass that is run alike.
    """
    methods = parse_all(spec.methods)
    common = spec.run_spec()
    machine = state(device)  # before the timing, which is a load itself
    for name, text in spec.named.items():
        for precision in spec.precisions:
            model = random_model(text, spec, precision, device).eval()
            chosen = choose_settings(methods, common, blind=blind_on(model))
            cells = cells_with_plan(layout(name, model, chosen, common, ""), notify)
            for batch in spec.batches:
                where = f"{name}, {precision}, batch {batch}"
                notify(f"{where}: timing {len(cells)} passes in {counted(spec.rounds, 'rounds')}")
                with torch.inference_mode():
                    runs: dict[tuple[str, str], Callable[[], float]] = {}
                    for key, timed in passes_of(model, cells, batch, device).items():
                        runs[key, LAUNCHED] = timed.seconds
                        if device == "cuda":
                            replay = captured(Pass.__call__, timed)
                            runs[key, GRAPH] = partial(seconds, replay, device)
                    times = in_rounds(runs, spec.rounds)
                for run in dict.fromkeys(run for _, run in runs):
                    dense = times[cells[0].key, run]
                    for cell in cells:
                        record = figures(cell, times[cell.key, run], dense, batch)
                        record |= {"precision": precision, "run": run, "device": device}
                        kind = "videos" if model.frames > 1 else "images"
                        yield {**record, "kind": kind, **machine}


def answer(rows: Sequence[Record]) -> str:
    """The dense latency at the smallest batch, and how many reduced passes are not shown faster."""
    batch = min(row["batch"] for row in rows)
    run = GRAPH if any(row["run"] == GRAPH for row in rows) else LAUNCHED
    shown = [row for row in rows if (row["batch"], row["run"]) == (batch, run)]
    dense = next(row for row in shown if row["verdict"] == "dense")
    reduced = [row for row in shown if row["verdict"] != "dense"]
    slow = sum(row["verdict"] != "faster" for row in reduced)
    takes = (
        f"{dense['backbone']} ({dense['precision']}, {run}) takes {dense['ms']:.3f} ms for "
        f"{counted(batch, sample_name(dense['kind']) + 's')}, dense"
    )
    if any(row["verdict"] == ONE_ROUND for row in reduced):
        return f"{takes}. {REPEAT}"
    passes = "pass was" if len(reduced) == 1 else "passes were"
    return f"{takes}; {slow} of {len(reduced)} reduced {passes} not shown to be faster."


def table(rows: Sequence[Record]) -> Table:
    """The rows for a terminal."""
    first = rows[0]
    title = f"Latency, {first['machine']}, {counted(first['rounds'], 'rounds')}"
    shown = [{**row, "gain": gain_words(row)} for row in rows]
    return figures_table(title, shown, COLUMNS, 3)

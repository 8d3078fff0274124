"""Measure every table of docs/gpu.md in one go, and write the tables from what was measured.

    python docs/gpu_tables.py measure FOLDER [--minutes 9]
    python docs/gpu_tables.py write FOLDER

`measure` runs the benches one after the other and stops before one that would not end in time; the
same command goes on with the next. A file for each bench keeps the figures, the command and how
long it took; `gpu.json` is the machine. `write` puts the tables into ``tables.md`` and in place of
those of docs/gpu.md that have the same columns.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from suite.bench.cuda_kernels import OWN_LAYOUT
from suite.bench.latency import GRAPH
from suite.bench.whole_models import AUTHORS
from suite.system.atomic_files import write_json, write_text
from suite.system.environment import environment

DOCS = Path(__file__).parent
PAGE = DOCS / "gpu.md"
METHODS = ("mtr", "tome", "rmeeto", "hsa")
BUDGETS = (0.2, 0.3, 0.4, 0.5, 0.6)
MIDDLE = 0.4
ABSENT = "–"
Row = Mapping[str, Any]


class Job(NamedTuple):
    """One bench: its file, the rest of its name there, its arguments, and minutes it may take."""

    file: str
    part: str
    arguments: str
    minutes: float

    @property
    def command(self) -> str:
        """As a user types it."""
        return f"python -m suite bench {self.arguments}"


def jobs() -> Iterator[Job]:
    """All benches, in the order in which they are measured."""
    yield Job("kernels", "all", "kernels --device cuda", 2.5)
    yield from _models("bf16", BUDGETS, 2)
    yield Job(
        "latency",
        "vim_tiny",
        f"latency --device cuda --backbone vim_tiny --precision bf16,fp32 --methods "
        f"{','.join(METHODS)} --budget {MIDDLE} --batch-size 1",
        1.5,
    )
    yield Job(
        "engine",
        "vim_tiny_64",
        "engine --device cuda --backbone vim_tiny_64 --precision bf16,fp32 --images 1000 "
        "--batch-size 500",
        4,
    )
    yield from _models("fp32", BUDGETS, 2.5)
    # what tf32 changes is the dense pass
    yield from _models("tf32", (MIDDLE,), 1.5)


def _models(precision: str, budgets: Sequence[float], minutes: float) -> Iterator[Job]:
    for backbone in ("vim_tiny", "vim_small", "vim_base"):
        yield Job(
            "models",
            f"{backbone}-{precision}",
            f"models --device cuda --backbone {backbone} --precision {precision} --methods "
            f"{','.join(METHODS)} --budget {','.join(map(str, budgets))} --batch-size 128",
            minutes,
        )


def bench(job: Job, seconds: float) -> Any:
    """What a bench saves, which may take so long; RuntimeError with its last words if it fails."""
    with tempfile.TemporaryDirectory(prefix="gpu-tables-") as folder:
        file = Path(folder) / "rows.json"
        command = [sys.executable, "-m", "suite", "bench", *shlex.split(job.arguments)]
        try:
            done = subprocess.run(  # noqa: S603 (our own benches)
                [*command, "--save", str(file)],
                cwd=DOCS.parent,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"it did not end within {seconds:.0f} s") from None
        if done.returncode:
            raise RuntimeError(done.stderr[-2000:])
        return json.loads(file.read_text(encoding="utf-8"))


def measure(
    folder: Path,
    todo: Iterable[Job],
    minutes: float,
    run: Callable[[Job, float], Any] = bench,
    now: Callable[[], float] = time.monotonic,
) -> list[str]:
    """Measure what `folder` lacks and `minutes` have room for; what is still missing, in words."""
    started = now()
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "gpu.json", environment())
    missing = []
    full = False
    for job in todo:
        file = folder / f"{job.file}.json"
        found = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        if job.part in found:
            continue
        left = 60 * minutes - (now() - started)
        # benches keep their order, so that one call goes on where another stopped
        full = full or left < 60 * job.minutes
        if full:
            missing.append(f"{job.file} {job.part}: not begun")
            continue
        begun = now()
        try:
            rows = run(job, left)
        except RuntimeError as error:
            missing.append(f"{job.file} {job.part}: {error}")
            continue
        took = round(now() - begun, 1)
        found[job.part] = {"command": job.command, "seconds": took, "rows": rows}
        write_json(file, found)
        print(f"{job.file} {job.part}: {took:.0f} s", flush=True)
    return missing


def measured(folder: Path, file: str) -> list[Row]:
    """The rows of all benches of one file, in the order of the benches."""
    path = folder / f"{file}.json"
    if not path.exists():
        return []
    parts = json.loads(path.read_text(encoding="utf-8"))
    order = {job.part: number for number, job in enumerate(jobs())}
    ordered = sorted(parts, key=lambda part: order.get(part, len(order)))
    return [row for part in ordered for row in parts[part]["rows"]]


def scan_table(rows: Sequence[Row]) -> Iterator[list[str]]:
    """The scan alone."""
    yield [
        *("shape", "precision", "pass", "`reference` ms", "`mamba_ssm` ms", "in its own layout"),
        *("`triton` ms", "`mamba_ssm` over `triton`", "floor ms", "floor over `triton`", "error"),
    ]
    times: dict[tuple[Any, ...], dict[str, Row]] = {}
    for row in rows:
        if "kernel" in row:  # the first are the rates of the device
            place = row["shape"], row["dtype"], row["gradients"]
            times.setdefault(place, {})[row["kernel"]] = row
    for (shape, precision, gradients), by_kernel in times.items():
        triton = by_kernel["triton"]
        kinds = ("bytes", "exponentials", "multiply_adds")
        floor = max(triton[f"{kind}_milliseconds"] for kind in kinds)
        own = triton["milliseconds"]
        stock = by_kernel.get("mamba_ssm")
        yield [
            shape,
            precision,
            "forward, backward" if gradients else "forward",
            figure(by_kernel.get("reference"), "milliseconds", ".1f"),
            figure(stock, "milliseconds", ".2f"),
            figure(by_kernel.get(OWN_LAYOUT), "milliseconds", ".2f"),
            f"{own:.2f}",
            f"{stock['milliseconds'] / own:.1f}" if stock else ABSENT,
            f"{floor:.2f}",
            f"{floor / own:.2f}",
            f"{triton['error']:.0e}",
        ]


def by_model(rows: Sequence[Row]) -> dict[tuple[str, str], list[Row]]:
    """The rows of whole models by backbone and precision."""
    backbones = dict.fromkeys(row["backbone"] for row in rows)
    precisions = dict.fromkeys(row["precision"] for row in rows)
    places = product(backbones, precisions)
    models: dict[tuple[str, str], list[Row]] = {place: [] for place in places}
    for row in rows:
        models[row["backbone"], row["precision"]].append(row)
    return {place: of_model for place, of_model in models.items() if of_model}


def dense_table(rows: Sequence[Row]) -> Iterator[list[str]]:
    """Throughput of dense models."""
    yield [
        *("backbone", "precision", "`reference`", "`mamba_ssm`", "authors' block", "`triton`"),
        *("`triton` over authors'", "`triton`, kernels launched one by one"),
    ]
    for (backbone, precision), of_model in by_model(rows).items():
        dense = {row["kernel"]: row for row in of_model if row["method"] == "none"}
        triton, authors = dense["triton"], dense.get(AUTHORS)
        rates = [figure(dense.get(kernel), "images_per_second", ",.0f") for kernel in
                 ("reference", "mamba_ssm", AUTHORS, "triton")]  # fmt: skip
        own = triton["images_per_second"]
        over = f"{own / authors['images_per_second']:.2f}" if authors else ABSENT
        eager = figure(triton, "eager_images_per_second", ",.0f")
        yield [f"`{backbone}`", precision, *rates, over, eager]


def floor_table(rows: Sequence[Row]) -> Iterator[list[str]]:
    """The floor of dense passes."""
    yield ["backbone", "precision", "term", "floor ms", "measured ms", "floor over measured"]
    for (backbone, precision), of_model in by_model(rows).items():
        for row in of_model:
            terms = [tuple(term) for term in row["floor"]]
            if terms:
                sums = [sum(column) for column in list(zip(*terms, strict=True))[1:]]
                for name, floor, ms in (*terms, ("the pass", *sums)):
                    share = f"{floor / ms:.2f}" if ms else ABSENT
                    yield [f"`{backbone}`", precision, name, f"{floor:.3f}", f"{ms:.3f}", share]


def reduced_table(rows: Sequence[Row]) -> Iterator[list[str]]:
    """Speed-ups of reduced models."""
    heads = [f"{100 * budget:.0f} %" for budget in BUDGETS]
    yield ["backbone", "precision", "method", *heads, f"reduction at {100 * MIDDLE:.0f} %"]
    for (backbone, precision), of_model in by_model(rows).items():
        for method in METHODS:
            own = {row["budget"]: row for row in of_model if row["method"] == method}
            if own:
                gains = [figure(own.get(budget), "speedup", ".2f") for budget in BUDGETS]
                share = figure(own.get(MIDDLE), "reduction_share", ".1%").replace("%", " %")
                yield [f"`{backbone}`", precision, f"`{method}`", *gains, share]


def memory_table(rows: Sequence[Row]) -> Iterator[list[str]]:
    """Memory of a pass, dense by every kernel and reduced."""
    kernels = ("reference", "mamba_ssm", AUTHORS, "triton")
    heads = ["`reference`", "`mamba_ssm`", "authors' block", "`triton`"]
    yield ["backbone", "precision", *heads, *(f"`{method}`" for method in METHODS)]
    for (backbone, precision), of_model in by_model(rows).items():
        dense = {row["kernel"]: row for row in of_model if row["method"] == "none"}
        reduced = {row["method"]: row for row in of_model if row["budget"] == MIDDLE}
        found = [dense.get(kernel) for kernel in kernels]
        found += [reduced.get(method) for method in METHODS]
        peaks = [figure(row, "peak_mib", ",.0f") for row in found]
        yield [f"`{backbone}`", precision, *peaks]


def latency_table(rows: Sequence[Row]) -> Iterator[list[str]]:
    """One image, dense and reduced."""
    yield [
        *("backbone", "precision", "method", "ms, one graph", "speed-up", "95 % low", "high"),
        "ms, kernels launched one by one",
    ]
    launched = {
        (row["backbone"], row["precision"], row["label"]): row
        for row in rows
        if row["run"] != GRAPH
    }
    for row in rows:
        if row["run"] == GRAPH:
            other = launched[row["backbone"], row["precision"], row["label"]]
            gains = [f"{row[name]:.2f}" for name in ("speedup", "speedup_low", "speedup_high")]
            method = "dense" if row["verdict"] == "dense" else f"`{row['label']}`"
            times = f"{row['ms']:.3f}", *gains, f"{other['ms']:.2f}"
            yield [f"`{row['backbone']}`", row["precision"], method, *times]


def engine_table(rows: Sequence[Row]) -> Iterator[list[str]]:
    """A run beside its models alone."""
    yield [
        *("backbone", "precision", "cells", "models alone", "a run, nothing shared", "over alone"),
        *("a run as it is", "times the rate alone"),
    ]
    for row in rows:
        rates = [f"{row[name]:,.0f}" for name in ("alone", "apart", "together")]
        yield [
            *(f"`{row['backbone']}`", row["precision"], str(row["cells"]), rates[0], rates[1]),
            *(f"{row['share']:.2f}", rates[2], f"{row['gain']:.2f}"),
        ]


TABLES: dict[str, tuple[Callable[[Sequence[Row]], Iterator[list[str]]], ...]] = {
    "kernels": (scan_table,),
    "models": (dense_table, floor_table, reduced_table, memory_table),
    "latency": (latency_table,),
    "engine": (engine_table,),
}


def figure(row: Row | None, name: str, form: str) -> str:
    """One figure, or a dash where it was not measured."""
    return ABSENT if row is None else format(row[name], form)


def markdown(lines: Iterable[Sequence[str]]) -> list[str]:
    """A table as lines of Markdown; the first line is its head."""
    head, *body = [f"| {' | '.join(cells)} |" for cells in lines]
    return [head, "|" + "---|" * (head.count("|") - 1), *body]


def tables(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """What each table is of, and its lines, of those that were measured."""
    for file, makers in TABLES.items():
        rows = measured(folder, file)
        for maker in makers:
            lines = markdown(maker(rows)) if rows else []
            if len(lines) > 2:
                yield str(maker.__doc__), lines


def replaced(page: str, table: Sequence[str]) -> str:
    """The page with `table` in place of that of the same head, or as it was without one."""
    lines = page.split("\n")
    if table[0] not in lines:
        return page
    first = last = lines.index(table[0])
    while last < len(lines) and lines[last].startswith("|"):
        last += 1
    return "\n".join([*lines[:first], *table, *lines[last:]])


def write(folder: Path, page: Path = PAGE) -> None:
    """Write ``tables.md`` in `folder`, and the tables of `page` that it has."""
    parts = []
    text = page.read_text(encoding="utf-8")
    for title, lines in tables(folder):
        parts.append("\n".join([title, "", *lines, ""]))
        if lines[0] not in text.split("\n"):
            print(f"not in {page.name}, see tables.md: {title}")
        text = replaced(text, lines)
    write_text(folder / "tables.md", "\n".join(parts))
    write_text(page, text)


def main(arguments: Sequence[str]) -> int:
    """Measure or write; 1 if anything is still to be measured."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("what", choices=("measure", "write"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=9.0, help="of this call, at most")
    given = parser.parse_args(arguments)
    if given.what == "write":
        write(given.folder)
        return 0
    missing = measure(given.folder, jobs(), given.minutes)
    for line in missing:
        print(line)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

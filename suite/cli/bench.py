"""`bench`: what things cost in time here, each figure beside its yardstick."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from backbones.common.errors import UserError
from backbones.common.naming import split
from methods.spec import parse
from suite.bench.spec import BenchSpec
from suite.cli.spec_options import expand, typed
from suite.config.spec_file import build
from suite.system.atomic_files import write_text

FLAGS = {
    "backbones": "--backbone",
    "budgets": "--budget",
    "batches": "--batch",
    "precisions": "--precision",
}


def bench(
    kernels: Annotated[
        bool, typer.Option("--kernels", help="Scan kernels and their yardsticks.")
    ] = False,
    reduction: Annotated[
        bool, typer.Option("--reduction", help="Share of a pass that the reduction takes.")
    ] = False,
    models: Annotated[
        bool, typer.Option("--models", help="Whole models on a GPU, by every scan kernel.")
    ] = False,
    sweep: Annotated[
        bool, typer.Option("--sweep", help="Every way to cut the triton scan's work, on a GPU.")
    ] = False,
    methods: Annotated[
        str, typer.Option("--methods", "--method", help="Methods to time, or 'all'.")
    ] = "mtr,tome",
    backbone: Annotated[
        str,
        typer.Option(
            "--backbone",
            "--backbones",
            help="Backbones, comma-separated: 'vim_tiny,vim_tiny[image_size=448]'; one for --reduction.",
        ),
    ] = "vim_tiny",
    budget: Annotated[
        str,
        typer.Option(
            "--budget",
            "--budgets",
            help="Fractions of FLOPs removed; the first for --reduction; empty: 0.4, of all 0.2,0.4,0.6.",
        ),
    ] = "",
    batch: Annotated[
        str, typer.Option(help="Images a batch, comma-separated; the last for single measurements.")
    ] = "1,32",
    lengths: Annotated[
        str,
        typer.Option(
            help="Patch tokens (square numbers) that the cost is followed over; empty: not at all."
        ),
    ] = "196,784,1764,4096",
    precision: Annotated[str, typer.Option(help="fp32, fp64 or bf16, comma-separated.")] = "fp32",
    kernel: Annotated[
        str, typer.Option(help="Selective scan: auto, reference, cpu, mamba_ssm or triton.")
    ] = "auto",
    rounds: Annotated[int, typer.Option(min=1, help="Interleaved rounds; medians are shown.")] = 7,
    run: Annotated[
        Path | None, typer.Option(help="Time the cells of this finished run, into its report.")
    ] = None,
    runs: Annotated[Path, typer.Option(help="Folder that holds the runs.")] = Path("runs"),
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    threads: Annotated[int, typer.Option(help="CPU threads, 0: all cores.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    save: Annotated[Path | None, typer.Option(help="Also write the JSON to this file.")] = None,
) -> int:
    """Measure speed and memory on this machine: all there is, or the one measurement that is named."""
    from suite.system.hardware import pick_device, set_threads
    from suite.terminal.tables import print_table

    if save and save.is_dir():
        raise UserError(
            f"--save {save}: that is a folder, name a file in it, such as {save / 'bench.json'}"
        )
    whole = not (kernels or reduction or models or sweep)
    fractions = _numbers("budget", budget or ("0.2,0.4,0.6" if whole else "0.4"), float)
    batches = _numbers("batch", batch, int)
    if whole:
        values = {
            "backbones": split(backbone), "methods": expand(split(methods)), "budgets": fractions, "batches": batches,
            "lengths": _numbers("lengths", lengths, int) if lengths else (), "precisions": split(precision),
            "rounds": rounds, "device": device, "kernel": kernel, "threads": threads,
        }  # fmt: skip
        texts = {"backbones": backbone, "methods": methods, "budgets": budget, "batches": batch, "lengths": lengths,
                 "precisions": precision}  # fmt: skip
        with typed(values | texts, FLAGS):
            spec = build(BenchSpec, values)
        return _whole(spec, run, runs, as_json, save)
    set_threads(threads)
    where = pick_device(device)
    found: list[tuple[list[Any], Table]] = []
    if kernels and where == "cuda":
        from suite.bench import cuda_kernels

        measured = cuda_kernels.measure_cuda()
        found.append(([measured.ceilings, *measured.rows], cuda_kernels.table(measured)))
    elif kernels:
        from suite.bench.kernels import measure_kernels
        from suite.bench.kernels import table as kernel_table

        rows = measure_kernels()
        found.append((rows, kernel_table(rows)))
    if reduction:
        from suite.bench import reduction as reducing

        costs = reducing.measure(
            backbone, _reducing(methods), fractions[0], batches[-1], rounds, where
        )
        found.append((costs, reducing.table(costs)))
    if (models or sweep) and where != "cuda":
        raise UserError("--models and --sweep measure on a GPU: there is none here, leave them out")
    if sweep:
        from suite.bench import tile_sweep as cuts

        timed = cuts.measure_sweep()
        found.append((timed, cuts.table(timed)))
    if models:
        from suite.bench import cuda_models

        def tell(line: str) -> None:
            print(line, file=sys.stderr, flush=True)

        seen: list[Any] = []
        for row in cuda_models.measure_models(
            tuple(split(backbone)), _reducing(methods), fractions, batches[-1], tell
        ):
            seen.append(row)
            tell(cuda_models.line(row))
            if save:  # after each, so that what was measured stays if the rest is cut off
                write_text(save, _json(seen))
        found += [(seen, cuda_models.table(seen)), ([], cuda_models.profile_table(seen))]
    text = _json(row for part, _ in found for row in part)
    if save:
        write_text(save, text + "\n")
    if as_json:
        print(text)
        return 0
    for _, table in found:
        print_table(table)
    return 0


def _whole(spec: BenchSpec, run: Path | None, runs: Path, as_json: bool, save: Path | None) -> int:
    """Latency, throughput, memory and what the time goes to, into a folder of its own or that of a finished run."""
    from reports import build as build_report
    from reports import check
    from suite.bench.machine import busy
    from suite.bench.run import measure_into
    from suite.bench.speed import legend, table
    from suite.terminal.tables import print_table

    folder = run or runs / spec.default_name()
    if run:
        check(run)  # a page that cannot be drawn is said before the measurement, not after
    rows, sentences = measure_into(
        folder, spec, bool(run), lambda line: print(line, file=sys.stderr, flush=True)
    )
    page = build_report(folder)
    text = json.dumps({"run": str(folder), "rows": rows}, indent=1)
    if save:
        write_text(save, text + "\n")
    if as_json:
        print(text)
        return 0
    print_table(table(rows))
    for sentence in filter(None, [legend(rows), *sentences, busy(rows[0])]):
        print(sentence)
    print(f"report: {page}")
    return 0


def _json(rows: Iterable[Any]) -> str:
    return json.dumps([asdict(row) for row in rows], indent=1)


def _reducing(methods: str) -> str:
    """The methods asked for; `all` stands for those that reduce a token sequence."""
    asked = split(methods)
    named = [
        name for name in expand(asked) if name in asked or parse(name).composition() is not None
    ]
    return ",".join(dict.fromkeys(named))


def _numbers(name: str, text: str, kind: type) -> tuple[Any, ...]:
    try:
        found = tuple(kind(part) for part in split(text))
    except ValueError:
        found = ()
    if not found or any(number <= 0 for number in found):
        such = "0.2,0.4" if kind is float else "1,32"
        raise UserError(
            f"--{name} takes numbers above 0, comma-separated, not '{text}': write such as {such}"
        )
    return found

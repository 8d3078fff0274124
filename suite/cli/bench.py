"""`bench`: what things cost in time here, each figure beside its yardstick."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from backbones.errors import UserError
from backbones.naming import split
from suite.settings import build_spec


def bench(
    kernels: Annotated[bool, typer.Option("--kernels", help="Scan kernels and their yardsticks.")] = False,
    reduction: Annotated[bool, typer.Option("--reduction", help="Share of a pass that the reduction takes.")] = False,
    sharing: Annotated[bool, typer.Option("--sharing", help="Cells evaluated together against one by one.")] = False,
    models: Annotated[bool, typer.Option("--models", help="Whole models on a GPU, by every scan kernel.")] = False,
    sweep: Annotated[bool, typer.Option("--sweep", help="Every way to cut the triton scan's work, on a GPU.")] = False,
    methods: Annotated[str, typer.Option(help="Methods to time.")] = "mtr,tome",
    backbone: Annotated[str, typer.Option(help="Backbone timed; with --models also several.")] = "vim_tiny",
    budget: Annotated[str, typer.Option(help="Fraction of FLOPs removed; with --models also several.")] = "0.4",
    batch: Annotated[int, typer.Option(min=1, help="Images a batch.")] = 32,
    rounds: Annotated[int, typer.Option(min=1, help="Interleaved rounds; medians are shown.")] = 5,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    threads: Annotated[int, typer.Option(help="CPU threads, 0: all cores.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    save: Annotated[Path | None, typer.Option(help="Also write the JSON to this file.")] = None,
) -> int:
    """Measure speed on this machine; name at least one of --kernels, --reduction, --sharing, --models and --sweep."""
    from suite.hardware import pick_device, set_threads
    from suite.tables import print_table

    if not (kernels or reduction or sharing or models or sweep):
        raise UserError("nothing to measure: name --kernels, --reduction, --sharing, --models or --sweep")
    set_threads(threads)
    where = pick_device(device)
    fractions = _fractions(budget)
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

        costs = reducing.measure(backbone, methods, fractions[0], batch, rounds, where)
        found.append((costs, reducing.table(costs)))
    if sharing:
        from suite.bench import sharing as together

        shares = together.measure(build_spec(methods=tuple(split(methods)), batch=batch), rounds, where)
        found.append((shares, together.table(shares)))
    if (models or sweep) and where != "cuda":
        raise UserError("--models and --sweep measure on a GPU: there is none here")
    if sweep:
        from suite.bench import sweep as cuts

        timed = cuts.measure_sweep()
        found.append((timed, cuts.table(timed)))
    if models:
        from suite.bench import cuda_models

        seen = []
        for row in cuda_models.measure_models(tuple(split(backbone)), methods, fractions, batch):
            seen.append(row)
            print(cuda_models.line(row), file=sys.stderr, flush=True)
        found += [(seen, cuda_models.table(seen)), ([], cuda_models.profile_table(seen))]
    text = json.dumps([asdict(row) for rows, _ in found for row in rows], indent=1)
    if save:
        save.write_text(text + "\n", "utf-8")
    if as_json:
        print(text)
        return 0
    for _, table in found:
        print_table(table)
    return 0


def _fractions(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in split(text))
    except ValueError:
        raise UserError(f"--budget takes numbers between 0 and 1, comma-separated, not '{text}'") from None

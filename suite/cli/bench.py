"""`bench`: what things cost in time here, each figure beside its yardstick."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from backbones.errors import UserError


def bench(
    kernels: Annotated[
        bool, typer.Option("--kernels", help="Scan kernels against torch.exp and an fp64 loop.")
    ] = False,
    reduction: Annotated[
        bool, typer.Option("--reduction", help="Share of a forward pass that the reduction itself takes.")
    ] = False,
    sharing: Annotated[bool, typer.Option("--sharing", help="Cells evaluated together against one by one.")] = False,
    methods: Annotated[str, typer.Option(help="Methods to time.")] = "mtr,tome",
    backbone: Annotated[str, typer.Option(help="Backbone to time.")] = "vim_tiny",
    budget: Annotated[float, typer.Option(help="Fraction of FLOPs removed.")] = 0.4,
    batch: Annotated[int, typer.Option(help="Images a batch.")] = 16,
    rounds: Annotated[int, typer.Option(help="Interleaved rounds; medians are shown.")] = 5,
    threads: Annotated[int, typer.Option(help="CPU threads, 0: all cores.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """Measure speed on this machine; name at least one of --kernels, --reduction and --sharing."""
    from suite.bench import kernels as scan
    from suite.bench import reduction as reducing
    from suite.bench import sharing as together
    from suite.hardware import set_threads
    from suite.tables import print_table

    if not (kernels or reduction or sharing):
        raise UserError("nothing to measure: name --kernels, --reduction or --sharing")
    set_threads(threads)
    parts = []
    if kernels:
        parts.append((scan.measure_kernels(), scan.table))
    if reduction:
        parts.append((reducing.measure(backbone, methods, budget, batch, rounds), reducing.table))
    if sharing:
        parts.append((together.measure(backbone, methods, batch, rounds), together.table))
    if as_json:
        print(json.dumps([asdict(row) for rows, _ in parts for row in rows], indent=1))
        return 0
    for rows, table in parts:
        print_table(table(rows))
    return 0

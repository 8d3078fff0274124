"""`export`: write the results of runs as one flat table."""

from __future__ import annotations

import enum
import sys
from pathlib import Path
from typing import Annotated

import typer

from backbones.common.errors import UserError
from suite.cli.paths import absolute


class Format(enum.StrEnum):
    """The format of the file."""

    csv = "csv"
    parquet = "parquet"
    json = "json"
    latex = "latex"
    markdown = "markdown"


def export(
    runs: Annotated[
        list[Path],
        typer.Argument(parser=absolute, metavar="RUNS", help="Folders of runs (runs/NAME)."),
    ],
    form: Annotated[
        Format,
        typer.Option("--format", help="csv, parquet, json: everything; latex, markdown: to read."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            parser=absolute,
            help="File to write, missing folders are made; empty: standard output.",
        ),
    ] = None,
    images: Annotated[
        bool, typer.Option("--images", help="One row per image and cell, not one per cell.")
    ] = False,
) -> int:
    """Write the cells of runs as one table: settings, metrics, FLOPs, intervals, provenance."""
    from reports.export import write
    from suite.system.atomic_files import replacing

    # Half a million rows are not read in a document.
    if images and form in (Format.latex, Format.markdown):
        raise UserError(f"--images is not for {form.value}: use csv, parquet or json")
    if out is None:
        # Binary content would garble the terminal.
        if form is Format.parquet:
            raise UserError("parquet is not for a terminal: name a file with --out")
        write(runs, form.value, images, sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return 0
    # Atomically, so that a failing export leaves no half of a table.
    with replacing(out) as temporary, temporary.open("wb") as stream:
        write(runs, form.value, images, stream)
    print(f"export: {out}", file=sys.stderr)
    return 0

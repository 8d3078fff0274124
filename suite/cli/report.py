"""`report`: draw a run again, or several as one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from backbones.common.errors import UserError


def report(
    runs: Annotated[
        list[Path], typer.Argument(help="Folders of runs (runs/NAME); several become one report.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for several runs together; empty: merged-HASH beside the first."),
    ] = None,
    paper: Annotated[
        bool,
        typer.Option(
            "--paper",
            help="Also figures (PDF, SVG, PNG) and LaTeX tables at column and text width.",
        ),
    ] = False,
) -> int:
    """Write the report of a finished run again: page, figures and tables; of several runs one report."""
    from reports import build

    if len(runs) == 1:
        if out:
            raise UserError(
                "--out is where several runs become one: a single run has its report in its own folder"
            )
        page = build(runs[0], paper)
    else:
        from suite.merge import merge

        folder, told = merge(runs, out)
        page = build(folder, paper)
        for sentence in told:
            print(f"note: {sentence}")
    print(f"report: {page}")
    if paper:
        print(f"paper: {page.parent / 'paper'}")
    return 0

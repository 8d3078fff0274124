"""`report`: write the report of a run again, or of several runs together."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from suite.cli.paths import absolute
from suite.cli.run_options import Verbose


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(
            parser=absolute,
            metavar="RUNS",
            help="Folders of runs (runs/NAME); several become one report.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            parser=absolute,
            help="Folder to write to; empty: of one run its own, of several merged-HASH beside "
            "the first.",
        ),
    ] = None,
    paper: Annotated[
        bool,
        typer.Option(
            "--paper",
            help="Also figures (PDF, SVG, PNG) and LaTeX tables at column and text width.",
        ),
    ] = False,
    verbose: Verbose = False,
) -> int:
    """Write the report of a finished run again, or one report of several runs."""
    from reports import build
    from suite.cli.results import findings_in
    from suite.terminal.findings import print_findings
    from suite.terminal.lines import print_note

    folder, notes = runs[0], list[str]()
    if len(runs) > 1:
        # Late, since it imports the analyses, which a single run has on disk.
        from suite.merge import merge

        folder, notes = merge(runs, out)
    # Figures for a paper take as long as the page, so they are made on request only.
    page = build(folder, paper, None if len(runs) > 1 else out)
    found = findings_in(folder)
    if found:
        print_findings(found, verbose)
    for note in notes:
        print_note(f"note: {note}", sys.stdout)
    print(f"report: {page}")
    if paper:
        print(f"paper: {page.parent / 'paper'}")
    return 0

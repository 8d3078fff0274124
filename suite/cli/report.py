"""`report`: draw a run again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    run: Annotated[Path, typer.Argument(help="Folder of the run (runs/NAME).")],
) -> int:
    """Write the report of a finished run again: page, figures and tables."""
    from reports import build

    print(f"report: {build(run)}")
    return 0

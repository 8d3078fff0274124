"""Figures, tables and one HTML page from a run folder; imports neither models nor torch.

The page leads from the headline to accuracy against cost, reasons, costs, galleries and how to
repeat the run. `page` writes it. Each analysis is a module in `reports.sections` that turns
``analyses/NAME.parquet`` into a `Section`: a sentence, figures, tables and notes. The page shows a
section if its file is in the run folder. The command line calls `build` and `check`.
"""

import logging
from pathlib import Path

# Where its cache cannot be kept, matplotlib says so in warnings, and draws all the same.
logging.getLogger("matplotlib").setLevel(logging.ERROR)


def build(run_folder: Path, paper: bool = False, out: Path | None = None) -> Path:
    """Write ``report/`` inside `run_folder`, or `out`, and return the path of its ``index.html``.

    `paper` adds ``report/paper/``: figures and LaTeX tables at the widths of a two-column paper.
    UserError if the folder is missing, foreign or damaged.
    """
    # matplotlib and plotly load slowly, and commands that draw nothing import this package
    from reports.page import write

    return write(Path(run_folder), paper, out)


def check(run_folder: Path) -> None:
    """Read everything that `build` reads; UserError if `build` would raise one."""
    from reports.page import read

    read(Path(run_folder))

"""Figures, tables and one HTML page from a run folder on disk; knows neither models nor torch.

The page is a walk: headline, accuracy against cost, why, what it costs, galleries, how to repeat
it. An analysis joins it as one module in `reports.sections` (the form is told there), which turns
``analyses/NAME.parquet`` into a `Section`: a sentence, figures, tables, notes. It is on the page
exactly when its file is in the run folder, its figures and tables lie beside the page with all the
others, and a figure's `Maps` get a slider over the layers.
"""

from pathlib import Path


def build(run_folder: Path, paper: bool = False) -> Path:
    """Write ``report/`` inside `run_folder` and give the path of its ``index.html``.

    With `paper` also ``report/paper/``: figures and LaTeX tables at the widths of a two-column
    paper. A folder that is missing, foreign or damaged is a `UserError` of one line.
    """
    from reports.page import write

    return write(Path(run_folder), paper)


def check(run_folder: Path) -> None:
    """Read all that `build` reads of `run_folder` and write nothing; a `UserError` where it would be one there."""
    from reports.page import read

    read(Path(run_folder))

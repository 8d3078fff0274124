"""Figures, tables and one HTML page from a run folder on disk; knows neither models nor torch."""

from pathlib import Path


def build(run_folder: Path) -> Path:
    """Write ``report/`` inside `run_folder` and give the path of its ``index.html``.

    A folder that is missing, foreign or damaged is a `UserError` of one line.
    """
    from reports.page import write

    return write(Path(run_folder))

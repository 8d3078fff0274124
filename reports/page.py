"""Writing of a report: the page, its figures and its tables."""

from __future__ import annotations

import base64
import os
from collections.abc import Collection, Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from backbones.common.documents import inside
from backbones.common.errors import UserError, hint
from reports import sections, static_figures, tables
from reports.figures.canvas import render, render_pdf
from reports.formatting import breakable, typeset
from reports.page_context import context
from reports.report_data import ReportData
from reports.run import load
from reports.section import Section

FORMS = {"svg": "image/svg+xml", "png": "image/png"}


def read(folder: Path) -> ReportData:
    """Read the run in `folder` for its page; UserError if it is damaged."""
    out = folder / "report"
    # a link in a foreign folder must not lead the report elsewhere
    for path in (out, out / "figures", out / "tables"):
        inside(path, folder)
    return ReportData.of(load(folder, sections.needed()))


def write(folder: Path, for_paper: bool = False) -> Path:
    """Write the report of the run in `folder` and return the path of ``index.html``.

    Every file is written whole or not at all. `for_paper` adds figures and tables for a paper.
    """
    report = read(folder)
    found = sections.sections(report)
    out = folder / "report"
    try:
        twins = _figures(report, found, out / "figures")
        _tables(report, found, out / "tables")
        page = _environment().get_template("index.html.j2").render(context(report, found, twins))
        _place(out / "index.html", page.encode("utf-8", "replace"))
        if for_paper:
            _paper(report, found, out / "paper")
    except OSError as error:
        raise UserError(
            f"cannot write the report to '{out}' ({error.strerror}): {hint(error)}"
        ) from error
    return out / "index.html"


def _environment() -> Environment:
    """Return the template environment; every value is escaped."""
    made = Environment(
        loader=PackageLoader("reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "typeset": typeset,
        "breakable": breakable,
        "first_true": lambda values: values.index(True),
    }
    return made


def _figures(report: ReportData, found: Sequence[Section], folder: Path) -> dict[str, str]:
    """Save every figure; returns the smaller format of each as a data URI for the page."""
    twins, written = {}, set()
    for name, figure in static_figures.drawn(report, found):
        files = render(figure)
        for form, content in files.items():
            _place(folder / f"{name}.{form}", content)
            written.add(f"{name}.{form}")
        form = min(FORMS, key=lambda form: len(files[form]))
        twins[name] = f"data:{FORMS[form]};base64,{base64.b64encode(files[form]).decode()}"
    _forget(folder, written)
    return twins


def _paper(report: ReportData, found: Sequence[Section], folder: Path) -> None:
    """Save every figure at page width and, if it fits, in one column; and the LaTeX tables.

    Files of one column are called ``NAME-column``.
    """
    written = set()
    for room, ending in ((static_figures.PAGE, ""), (static_figures.ONE_COLUMN, "-column")):
        for name, figure in static_figures.drawn(report, found, room):
            if figure.get_figwidth() > room.width:
                continue
            for form, content in (render(figure) | {"pdf": render_pdf(figure)}).items():
                _place(folder / f"{name}{ending}.{form}", content)
                written.add(f"{name}{ending}.{form}")
    files = {}
    for section in found:
        for table in section.tables:
            files[f"{table.name}.tex"] = tables.table_tex(table)
    if not report.frame.empty:
        files["results.tex"] = tables.results_tex(
            report.frame, report.run.convention, report.caption
        )
    for backbone in report.backbones:
        name = f"{static_figures.named('results', backbone, report)}-column.tex"
        files[name] = tables.compact_tex(report.frame, backbone, report.caption)
    for name, text in files.items():
        _place(folder / name, text.encode("utf-8", "replace"))
    _forget(folder, {*written, *files})


def _forget(folder: Path, written: Collection[str]) -> None:
    """Delete figures and tables of an earlier report that this one does not have."""
    for old in folder.glob("*"):
        if old.suffix in {".png", ".svg", ".pdf", ".tex"} and old.name not in written:
            old.unlink()


def _tables(report: ReportData, found: Sequence[Section], folder: Path) -> None:
    """Save the tables as CSV, Markdown and LaTeX."""
    run, frame = report.run, report.frame
    files = {
        "results.csv": tables.results_csv(frame),
        "results.md": tables.results_md(frame, run.convention),
        "results.tex": tables.results_tex(frame, run.convention, report.caption),
        "cells.csv": tables.cells_csv(run),
    }
    for section in found:
        for table in section.tables:
            files[f"{table.name}.csv"] = tables.table_csv(table)
            files[f"{table.name}.md"] = tables.table_md(table)
            files[f"{table.name}.tex"] = tables.table_tex(table)
    for name, text in files.items():
        _place(folder / name, text.encode("utf-8", "replace"))


def _place(path: Path, content: bytes) -> None:
    """Write a file in one step, so that a reader never finds half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # if this process is killed, a later run removes the file by its name
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    # "x" refuses to write through a link of that name
    with temporary.open("xb") as file:
        file.write(content)
    os.replace(temporary, path)

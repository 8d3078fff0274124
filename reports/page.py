"""Writing of a report: the page, its figures and its tables."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from backbones.common.documents import inside
from backbones.common.errors import UserError, hint
from reports import sections, static_figures, tables
from reports.bibliography import bibliography
from reports.figures.canvas import render, render_pdf, use_fonts_for
from reports.formatting import breakable, budget_name, moment, number, percent, present, typeset
from reports.inline_svg import pairs
from reports.page_context import context, sort_key
from reports.page_figures import Figures
from reports.report_data import ReportData
from reports.run import load
from reports.section import Section
from suite.system.atomic_files import write_atomic


def read(folder: Path, target: Path | None = None) -> ReportData:
    """Read the run in `folder` for a page in `target`, else in the run; UserError if damaged."""
    out = (target or folder) / "report"
    # a link in a foreign folder must not lead the report elsewhere
    for path in (out, out / "figures", out / "tables"):
        inside(path, out.parent)
    return ReportData.of(load(folder, sections.needed()))


def write(folder: Path, for_paper: bool = False, target: Path | None = None) -> Path:
    """Write the report of the run in `folder` and return the path of ``index.html``.

    It goes to ``report/`` in `target`, else in the run itself. Every file is written whole or not
    at all. `for_paper` adds figures and tables for a paper.
    """
    report = read(folder, target)
    found = sections.sections(report)
    out = (target or folder) / "report"
    titles = [look.title for look in report.looks.values()]
    use_fonts_for([*titles, *report.backbones, str(report.run.dataset.get("classes"))])
    try:
        svgs = _figures(report, found, out / "figures")
        _tables(report, found, out / "tables")
        printed = _paper(report, found, out / "paper") if for_paper else frozenset()
        drawn = Figures(svgs, pairs(report.looks.values()), printed)
        page = _environment().get_template("page.html.j2")
        _save(out, "index", {"html": page.render(context(report, found, drawn))})
    except OSError as error:
        message = f"cannot write the report to '{out}' ({error.strerror}): {hint(error)}"
        if target is None:
            message += f", as `python -m suite report {folder} --out FOLDER`"
        raise UserError(message) from error
    return out / "index.html"


@cache
def _environment() -> Environment:
    """Return the environment that compiles each template once; every value is escaped."""
    made = Environment(
        loader=PackageLoader("reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "breakable": breakable,
        "budget_name": budget_name,
        "moment": moment,
        "number": number,
        "percent": percent,
        "sort_key": sort_key,
        "typeset": typeset,
    }
    made.tests["present"] = present
    made.globals["named"] = static_figures.named
    return made


def _figures(report: ReportData, found: Sequence[Section], folder: Path) -> dict[str, bytes]:
    """Save every figure; returns their SVG files by name, for the page."""
    svgs, written = {}, set()
    for name, figure in static_figures.drawn(report, found):
        files = render(figure)
        written |= _save(folder, name, files)
        svgs[name] = files["svg"]
    _forget(folder, written)
    return svgs


def _paper(report: ReportData, found: Sequence[Section], folder: Path) -> frozenset[str]:
    """Save every figure at page width and, if it fits, in one column; LaTeX tables, and BibTeX.

    Files of one column are called ``NAME-column``. Returns the names of the figures.
    """
    written, names = set(), set()
    for room, ending in ((static_figures.PAGE, ""), (static_figures.ONE_COLUMN, "-column")):
        for name, figure in static_figures.drawn(report, found, room):
            if figure.get_figwidth() <= room.width:
                files = render(figure) | {"pdf": render_pdf(figure)}
                written |= _save(folder, f"{name}{ending}", files)
                names.add(f"{name}{ending}")
    frame, convention, caption = report.frame, report.run.convention, report.caption
    for section in found:
        for table in section.tables:
            written |= _save(folder, table.name, {"tex": tables.table_tex(table)})
    if not frame.empty:
        results = tables.results_tex(frame, convention, caption)
        written |= _save(folder, "results", {"tex": results})
    for backbone in report.backbones:
        name = f"{static_figures.named('results', backbone, report)}-column"
        compact = tables.compact_tex(frame, backbone, caption)
        written |= _save(folder, name, {"tex": compact})
    _save(folder, "references", {"bib": bibliography(report.run)})
    _forget(folder, written)
    return frozenset(names)


def _forget(folder: Path, written: Collection[Path]) -> None:
    """Delete figures and tables of an earlier report that this one does not have."""
    for old in folder.glob("*"):
        if old.suffix in {".png", ".svg", ".pdf", ".tex"} and old not in written:
            old.unlink()


def _tables(report: ReportData, found: Sequence[Section], folder: Path) -> None:
    """Save the tables as CSV, Markdown and LaTeX."""
    run, frame = report.run, report.frame
    results = {
        "csv": tables.results_csv(frame),
        "md": tables.results_md(frame, run.convention),
        "tex": tables.results_tex(frame, run.convention, report.caption),
    }
    _save(folder, "results", results)
    _save(folder, "cells", {"csv": tables.cells_csv(run.every_cell, run.metric)})
    for section in found:
        for table in section.tables:
            forms = {
                "csv": tables.csv(table.frame),
                "md": tables.table_md(table),
                "tex": tables.table_tex(table),
            }
            _save(folder, table.name, forms)


def _save(folder: Path, name: str, forms: Mapping[str, bytes | str]) -> set[Path]:
    """Write one figure or table in several formats; returns the paths of the files."""
    files = {}
    for form, content in forms.items():
        if isinstance(content, str):
            content = content.encode("utf-8", "replace")
        files[folder / f"{name}.{form}"] = content
    write_atomic(files)
    return set(files)

"""The report's folder: one page, the figures, the tables."""

from __future__ import annotations

import base64
import os
from collections.abc import Collection, Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from backbones.common.documents import inside
from backbones.common.errors import UserError, hint
from reports import sections, tables
from reports import static_figures as paper
from reports.figures.canvas import render, render_pdf
from reports.formatting import breakable, typeset
from reports.page_context import context
from reports.report_data import Sheet
from reports.run import load
from reports.section import Section

FORMS = {"svg": "image/svg+xml", "png": "image/png"}


def read(folder: Path) -> Sheet:
    """All that the page of the run in `folder` is made of; UserError where it is damaged. Nothing is written."""
    out = folder / "report"
    for place in (out, out / "figures", out / "tables"):
        inside(place, folder)
    return Sheet.of(load(folder, sections.needed()))


def write(folder: Path, for_paper: bool = False) -> Path:
    """Write the report of the run in `folder`, each file whole or not at all; the path of ``index.html``.

    With `for_paper` the figures and tables for a paper, too.
    """
    sheet = read(folder)
    found = sections.sections(sheet)
    out = folder / "report"
    try:
        twins = _figures(sheet, found, out / "figures")
        _tables(sheet, found, out / "tables")
        page = _environment().get_template("index.html.j2").render(context(sheet, found, twins))
        _place(out / "index.html", page.encode("utf-8", "replace"))
        if for_paper:
            _paper(sheet, found, out / "paper")
    except OSError as error:
        raise UserError(
            f"cannot write the report to '{out}' ({error.strerror}): {hint(error)}"
        ) from error
    return out / "index.html"


def _environment() -> Environment:
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


def _figures(sheet: Sheet, found: Sequence[Section], folder: Path) -> dict[str, str]:
    """Save every figure; the smaller of its forms as a data URI under its name, for what the page shows of it."""
    twins, written = {}, set()
    for name, figure in paper.drawn(sheet, found):
        files = render(figure)
        for form, content in files.items():
            _place(folder / f"{name}.{form}", content)
            written.add(f"{name}.{form}")
        form = min(FORMS, key=lambda form: len(files[form]))
        twins[name] = f"data:{FORMS[form]};base64,{base64.b64encode(files[form]).decode()}"
    _forget(folder, written)
    return twins


def _paper(sheet: Sheet, found: Sequence[Section], folder: Path) -> None:
    """Every figure across the page and, where it fits, in one column (``NAME-column``); the tables in LaTeX.

    What needs more than a column has the wide form alone.
    """
    written = set()
    for room, ending in ((paper.PAGE, ""), (paper.ONE_COLUMN, "-column")):
        for name, figure in paper.drawn(sheet, found, room):
            if figure.get_figwidth() > room.width:
                continue
            for form, content in (render(figure) | {"pdf": render_pdf(figure)}).items():
                _place(folder / f"{name}{ending}.{form}", content)
                written.add(f"{name}{ending}.{form}")
    files = {
        f"{table.name}.tex": tables.table_tex(table)
        for section in found
        for table in section.tables
    }
    if not sheet.frame.empty:
        files["results.tex"] = tables.results_tex(sheet.frame, sheet.run.convention, sheet.caption)
    for house in sheet.houses:
        files[f"{paper.named('results', house, sheet)}-column.tex"] = tables.compact_tex(
            sheet.frame, house, sheet.caption
        )
    for name, text in files.items():
        _place(folder / name, text.encode("utf-8", "replace"))
    _forget(folder, {*written, *files})


def _forget(folder: Path, written: Collection[str]) -> None:
    """Delete what an earlier report wrote and this one did not."""
    for old in folder.glob("*"):
        if old.suffix in {".png", ".svg", ".pdf", ".tex"} and old.name not in written:
            old.unlink()


def _tables(sheet: Sheet, found: Sequence[Section], folder: Path) -> None:
    run, frame = sheet.run, sheet.frame
    files = {
        "results.csv": tables.results_csv(frame),
        "results.md": tables.results_md(frame, run.convention),
        "results.tex": tables.results_tex(frame, run.convention, sheet.caption),
        "cells.csv": tables.cells_csv(run),
    }
    for table in (table for section in found for table in section.tables):
        files |= {
            f"{table.name}.csv": tables.table_csv(table),
            f"{table.name}.md": tables.table_md(table),
            f"{table.name}.tex": tables.table_tex(table),
        }
    for name, text in files.items():
        _place(folder / name, text.encode("utf-8", "replace"))


def _place(path: Path, content: bytes) -> None:
    """Write beside, then replace, so that a reader never meets half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(
        f".{path.name}.{os.getpid()}.tmp"
    )  # if we are killed, a later run removes it by its name
    fresh.unlink(missing_ok=True)
    with fresh.open("xb") as file:  # never through a link that lies there
        file.write(content)
    os.replace(fresh, path)

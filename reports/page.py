"""The report's folder: one page, the figures, the tables."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from backbones.documents import inside
from backbones.errors import UserError, mend
from reports import paper, points, sections, tables
from reports.context import context
from reports.figures.canvas import render
from reports.run import load
from reports.section import Section
from reports.sheet import Sheet
from reports.text import ENVELOPE, breakable, typeset

FORMS = {"svg": "image/svg+xml", "png": "image/png"}


def write(folder: Path) -> Path:
    """Write the report of the run in `folder`, each file whole or not at all; the path of ``index.html``."""
    sheet = Sheet.of(load(folder, sections.needed()))
    found = sections.sections(sheet)
    out = folder / "report"
    for place in (out, out / "figures", out / "tables"):
        inside(place, folder)
    try:
        twins = _figures(sheet, found, out / "figures")
        _tables(sheet, found, out / "tables")
        page = _environment().get_template("index.html.j2").render(context(sheet, found, twins))
        _place(out / "index.html", page.encode("utf-8", "replace"))
    except OSError as error:
        raise UserError(f"cannot write the report to '{out}' ({error.strerror}): {mend(error)}") from error
    return out / "index.html"


def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"typeset": typeset, "breakable": breakable, "first_true": lambda values: values.index(True)}
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
    for old in folder.glob("*"):
        if old.suffix in {".png", ".svg"} and old.name not in written:
            old.unlink()  # a figure of an earlier report that this run no longer has
    return twins


def _tables(sheet: Sheet, found: Sequence[Section], folder: Path) -> None:
    run, frame = sheet.run, sheet.frame
    data = run.dataset
    caption = (
        f"Token reduction on {', '.join(sheet.houses)}, {data.get('name', 'unnamed data')} {data.get('split', '')}, "
        f"{data.get('images', 'an unknown number of')} images; FLOPs by the convention '{run.convention}'."
        + (f" {ENVELOPE}" if points.few_seeds(frame) else "")
    )
    files = {
        "results.csv": tables.results_csv(frame),
        "results.md": tables.results_md(frame, run.convention),
        "results.tex": tables.results_tex(frame, run.convention, caption),
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
    fresh = path.with_name(f".{path.name}.{os.getpid()}.tmp")  # if we are killed, a later run removes it by its name
    fresh.unlink(missing_ok=True)
    with fresh.open("xb") as file:  # never through a link that lies there
        file.write(content)
    os.replace(fresh, path)

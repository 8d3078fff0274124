"""Figures and tables for a paper: fonts embedded, nothing too small to read, LaTeX that compiles."""

import io
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from reports import static_figures, tables
from reports.figures.canvas import COLUMN, WIDTH, render, render_pdf
from reports.formatting import latex
from reports.report_data import ReportData
from reports.run import load
from reports.tables import DAGGER
from suite.cli import run

SMALLEST = 6.0  # points


def words(figure: Figure) -> list[Text]:
    """All texts but the ticks' names, of which those out of the view are not drawn."""
    ticks = {
        label
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        for tick in (*axis.majorTicks, *axis.minorTicks)
        for label in (tick.label1, tick.label2)
    }
    found = [
        text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()
    ]
    return [text for text in found if text not in ticks]


def test_figures_of_one_column_fit_and_are_legible(narrow: dict[str, Figure]) -> None:
    assert len(narrow) == 11
    for name, figure in narrow.items():
        assert figure.get_figwidth() <= COLUMN, name
        for text in words(figure):
            assert text.get_fontsize() >= SMALLEST, (name, text.get_text())


def test_the_two_widths_are_those_of_the_style() -> None:
    assert (
        (static_figures.PAGE.width, static_figures.ONE_COLUMN.width)
        == (WIDTH, COLUMN)
        == (6.875, 3.25)
    )


@pytest.mark.skipif(shutil.which("pdffonts") is None, reason="poppler-utils is not installed")
def test_fonts_are_embedded_and_none_is_type_3(narrow: dict[str, Figure], tmp_path: Path) -> None:
    for name in ("pareto", "foreground"):
        render(narrow[name])
        content = render_pdf(narrow[name])
        assert content == render_pdf(narrow[name])
        assert b"CreationDate" not in content
        path = tmp_path / f"{name}.pdf"
        path.write_bytes(content)
        assert fonts(path)


def fonts(path: Path) -> list[str]:
    """The lines of pdffonts, each checked: TrueType, embedded, subset."""
    listed = subprocess.run(
        ["pdffonts", path], capture_output=True, text=True, check=True
    ).stdout.splitlines()[2:]
    for line in listed:
        assert re.search(r"\b(CID )?TrueType\b.*\byes yes (yes|no)\b", line), line
        assert "Type 3" not in line
    return listed


def parsed(text: str) -> list[list[str]]:
    """The rows of the table in `text`; fails if its environments, braces or columns do not fit together."""
    stack: list[str] = []
    for kind, name in re.findall(r"\\(begin|end)\{([a-z*]+)\}", text):
        if kind == "begin":
            stack.append(name)
        else:
            assert stack.pop() == name
    assert stack == []
    plain = re.sub(r"\\[\\%&#$_{}]", "", text.replace(r"^{\dagger}", ""))
    depth = 0
    for character in plain:
        depth += {"{": 1, "}": -1}.get(character, 0)
        assert depth >= 0
    assert depth == 0
    lines = plain.splitlines()
    assert all("%" not in line for line in lines[1:])  # the first tells the packages
    assert not re.search(r"[#_~^](?!\{\*\})", plain.replace("^{*}", ""))
    assert plain.replace("^{*}", "").count("$") % 2 == 0
    body = text[text.index("\\toprule") : text.index("\\bottomrule")]
    count = len(re.search(r"\\begin\{tabular\}\{([lr]+)\}", text)[1])  # type: ignore[index]
    rows = [line.removesuffix(" \\\\") for line in body.splitlines() if line.endswith("\\\\")]
    cells = [re.split(r"(?<!\\)&", row) for row in rows]
    for row in cells:
        spans = [
            int(found[1]) if (found := re.search(r"\\multicolumn\{(\d+)\}", cell)) else 1
            for cell in row
        ]
        assert sum(spans) == count, row
    return [[cell.strip() for cell in row] for row in cells]


@pytest.mark.parametrize("hostile", [False, True])
def test_tables_fit_together_whatever_the_names(
    hostile: bool, run_folder: Path, hostile_folder: Path
) -> None:
    report = ReportData.of(load(hostile_folder if hostile else run_folder))
    wide = parsed(tables.results_tex(report.frame, "flops", report.caption))
    assert len(wide) == 1 + len(report.frame)
    head, dense, *rows = parsed(tables.compact_tex(report.frame, "vim_nano", report.caption))
    budgets = [round(budget, 2) for budget in report.budgets]
    assert head == ["Method", *(f"{100 * budget:.0f} \\%" for budget in budgets)]
    assert dense[0] == "dense"
    shown = {row[0]: row[1:] for row in rows}
    for label, part in report.frame[report.frame["method"] != "none"].groupby("label"):
        by_budget = {round(row["budget"], 2): row for row in part.to_dict("records")}
        cells = shown[latex(str(label).split(" = ")[0])]
        for budget, cell in zip(budgets, cells, strict=True):
            row = by_budget.get(budget)
            if row is None:
                assert cell == "--"
                continue
            astray = abs(row["removed"] - budget) > 0.005
            mark = DAGGER if astray else "$^{*}$" if row["significant"] else ""
            assert cell.replace("\\textbf{", "").replace(mark, "").strip("}") + mark == (
                f"{100 * row['top1']:.1f}{mark}"
            )
    tex = tables.compact_tex(report.frame, "vim_nano", report.caption)
    assert tex.count("\\textbf") >= len(budgets)
    caption = tables.compact_tex(report.frame, "vim_nano", report.caption)
    shares = "49.0, 67.0" if hostile else "26.5, 49.0, 67.0"
    assert f"{DAGGER}: at another share of FLOPs (downsample: {shares} \\%), not tested." in caption


@pytest.mark.slow
def test_the_whole_folder_compiles(
    hostile_folder: Path, fresh: Callable[[], Path], tmp_path: Path
) -> None:
    """By the command, twice: every PDF, every table, in one document if there is a LaTeX."""
    folder = fresh()
    assert run(["report", str(folder), "--paper"]) == 0
    place = folder / "report" / "paper"
    (place / "old.pdf").write_bytes(b"")
    before = {path.name: path.read_bytes() for path in place.iterdir() if path.name != "old.pdf"}
    assert run(["report", str(folder), "--paper"]) == 0
    assert {path.name: path.read_bytes() for path in place.iterdir()} == before
    stems = {name.rsplit(".", 1)[0] for name in before if name.endswith(".pdf")}
    assert {"pareto", "pareto-column", "gallery", "gallery-column"} <= stems
    for stem in stems:
        if shutil.which("pdffonts") is not None:
            fonts(place / f"{stem}.pdf")
        width = Image.open(io.BytesIO(before[f"{stem}.png"])).width / 220
        assert width <= (COLUMN if stem.endswith("-column") else WIDTH) + 0.01
    if shutil.which("pdflatex") is None:
        return
    for name in before:
        if name.endswith(".tex"):
            parsed(before[name].decode())
    hostile = ReportData.of(load(hostile_folder))
    (place / "hostile.tex").write_text(tables.results_tex(hostile.frame, "flops", hostile.caption))
    body = [f"\\input{{{path.name}}}" for path in sorted(place.glob("*.tex"))]
    body += [
        f"\\begin{{figure}}\\includegraphics{{{stem}.pdf}}\\end{{figure}}"
        for stem in stems
        if "-column" in stem
    ]
    (tmp_path / "all.tex").write_text(
        "\\documentclass[twocolumn]{article}\n\\usepackage[textwidth=6.875in,columnsep=0.3125in]{geometry}\n"
        "\\usepackage{booktabs,adjustbox,graphicx}\n\\begin{document}\n"
        + "\n".join(body)
        + "\n\\end{document}\n"
    )
    line = [
        "pdflatex",
        "-interaction=nonstopmode",
        "-halt-on-error",
        f"-output-directory={tmp_path}",
        tmp_path / "all.tex",
    ]
    done = subprocess.run(line, cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull \\hbox" not in done.stdout

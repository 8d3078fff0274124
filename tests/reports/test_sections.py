"""Sections of the page: shown exactly when their data exists, drawn as stored, escaped."""

import base64
import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

import reports
from backbones.common.errors import UserError
from reports import page_panels, sections, tables
from reports.figures import canvas
from reports.report_data import ReportData
from reports.section import Drawing, Maps, Section, Table

pytestmark = pytest.mark.usefixtures("undrawn")

LAYERS, SIDE = (0, 3, 7), 4
MARKUP = "<img src=x onerror=alert(3)>"


def _frame() -> pd.DataFrame:
    rng = np.random.default_rng(5)
    rows = [(layer, row, col) for layer in LAYERS for row in range(SIDE) for col in range(SIDE)]
    frame = pd.DataFrame(rows, columns=["block", "row", "col"])
    return frame.assign(backbone="vim_nano", label="newcomer", rise=rng.normal(0, 1, len(frame)))


def _section(report: ReportData, frames: Mapping[str, pd.DataFrame]) -> Section:
    assert "newcomer" in report.looks
    rise = (
        frames["where"]
        .sort_values(["block", "row", "col"])["rise"]
        .to_numpy()
        .reshape(1, len(LAYERS), SIDE, SIDE)
    )

    def draw(width: float) -> Figure:
        figure = canvas.new_figure(width, 2)
        figure.subplots().plot(rise.ravel())
        return figure

    maps = Maps((MARKUP,), LAYERS, rise, "rise of the loss, nats", diverging=True)
    table = Table(
        "where-rows",
        f"Rows {MARKUP}",
        pd.DataFrame({"Name": ["a_b", MARKUP], "Rise": [0.12345, -2.0]}),
    )
    drawing = Drawing("where-maps", draw, f"Caption {MARKUP}", "Alt words", maps)
    plain = Drawing("where-line", draw, "No slider", "A line")
    return Section(
        "where",
        "why",
        f"Where {MARKUP}",
        "It is here.",
        (drawing, plain),
        (table,),
        (f"Note {MARKUP}",),
    )


MODULE = SimpleNamespace(
    NEEDS={"where": ("backbone", "block", "row", "col", "rise")},
    section=_section,
)


@pytest.fixture
def where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sections, "MODULES", [MODULE])


def _page(folder: Path) -> str:
    return reports.build(folder).read_text(encoding="utf-8")


@pytest.mark.usefixtures("where")
def test_a_section_is_there_exactly_when_its_data_is(fresh: Callable[..., Path]) -> None:
    folder = fresh(labels=("mtr",), budgets=(0.4,))
    for name in ("gallery", "images", "first_errors"):  # the figures of others, which take long
        (folder / "analyses" / f"{name}.parquet").unlink()
    assert 'id="where"' not in _page(folder)
    _frame().to_parquet(folder / "analyses" / "where.parquet")
    page = _page(folder)
    assert page.count('id="where"') == 1
    assert '<a href="#where">' in page
    assert page.index('id="tokens"') < page.index('id="where"') < page.index('id="flops"')
    assert "<img src=x" not in page
    assert "Where &lt;img src=x" in page
    report = folder / "report"
    for name in (
        "figures/where-maps.svg",
        "figures/where-line.png",
        "tables/where-rows.md",
        "tables/where-rows.tex",
    ):
        assert (report / name).is_file()
    got = pd.read_csv(report / "tables" / "where-rows.csv")
    assert got["Rise"].tolist() == [0.12345, -2.0]
    match = re.search(r'id="data">(.*?)</script>', page, re.DOTALL)
    assert match
    stack = json.loads(match.group(1))["stacks"]["where-maps"]
    stored = _frame().sort_values(["block", "row", "col"])["rise"].to_numpy()
    drawn = np.frombuffer(base64.b64decode(stack["values"][0]), "<f4")
    np.testing.assert_array_equal(drawn, stored.astype("f4"))
    assert stack["bounds"][0] == pytest.approx([-np.abs(stored).max(), np.abs(stored).max()])
    assert (stack["layers"], stack["shape"]) == (list(LAYERS), [SIDE, SIDE])


@pytest.mark.usefixtures("where")
def test_a_run_of_analyses_alone_has_a_page(fresh: Callable[[], Path]) -> None:
    folder = fresh()
    shutil.rmtree(folder / "cells")
    (folder / "spec.yaml").write_text("schema: 4\nkind: where\nbackbones: [vim_nano]\n")
    shutil.rmtree(folder / "analyses")
    (folder / "analyses").mkdir()
    _frame().to_parquet(folder / "analyses" / "where.parquet")
    page = _page(folder)
    assert 'id="where"' in page
    assert 'id="pareto"' not in page
    assert 'id="repeat"' in page


@pytest.mark.usefixtures("where")
def test_a_missing_column_is_one_line(fresh: Callable[[], Path]) -> None:
    folder = fresh()
    _frame().drop(columns="rise").to_parquet(folder / "analyses" / "where.parquet")
    with pytest.raises(UserError, match=r"where\.parquet' lacks the column 'rise'"):
        reports.build(folder)


def test_values_are_printed_with_their_columns_digits() -> None:
    frame = pd.DataFrame(
        {
            "Method": ["a|b", "c&d"],
            "Gap": [-1.25, np.nan],
            "Images": [500, 64],
            "Fast": [True, False],
        }
    )
    table = Table("t", "A & B", frame, {"Gap": 1})
    assert tables.table_cells(table) == [
        ["a|b", "−1.2", "500", "True"],
        ["c&d", "–", "64", "False"],
    ]
    assert tables.is_numeric(table) == [False, True, True, False]
    assert tables.table_md(table).splitlines()[2] == r"| a\|b | −1.2 | 500 | True |"
    assert r"c\&d & -- & 64 & False \\" in tables.table_tex(table)
    assert r"\begin{tabular}{lrrl}" in tables.table_tex(table)


@pytest.mark.parametrize(
    ("values", "diverging", "want"),
    [
        ([0.0, 3.0], False, [0, 3]),
        ([-1.0, 3.0], True, [-3, 3]),
        ([2.0, 2.0], False, [1.5, 2.5]),
        ([], False, [0, 1]),
    ],
)
def test_a_colour_scale_holds_all_its_values(
    values: list[float], diverging: bool, want: list[float]
) -> None:
    filled = np.full((1, 1, 1, 4), np.nan)
    filled[0, 0, 0, : len(values)] = values
    assert page_panels.stack_panel(Maps(("a",), (0,), filled, "u", diverging))["bounds"] == [want]


def test_maps_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="1 rows, 2 layers"):
        Maps(("a",), (0, 1), np.zeros((1, 3, 2, 2)), "u")


def test_the_modules_keep_the_contract() -> None:
    for module in sections.MODULES:
        assert all(isinstance(columns, tuple) for columns in module.NEEDS.values())
        assert callable(module.section)
    assert set(sections.needed()) >= {name for module in sections.MODULES for name in module.NEEDS}


def test_every_module_of_the_package_is_on_the_page() -> None:
    stems = {path.stem for path in Path(sections.__file__).parent.glob("[!_]*.py")}
    assert {module.__name__.rpartition(".")[2] for module in sections.MODULES} == stems

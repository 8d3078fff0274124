"""A smaller model on the page: a point of its backbone's trade-off, and no backbone of its own."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from reports import charts, page
from reports.export import cell_rows
from reports.figures.tradeoff import pareto
from reports.report_data import ReportData
from reports.run import load
from reports.tables import compact_tex, results_csv

TOTAL, TOP1, SHARE = 123_000_000, 0.815, 0.4


@pytest.fixture
def beside(fresh: Callable[..., Path]) -> Path:
    """A run of `vim_nano` beside which `vim_pico` stands."""
    folder = fresh(labels=("mtr", "tome", "random"))
    cells = [json.loads(path.read_text()) for path in (folder / "cells").glob("*.json")]
    (dense,) = [cell for cell in cells if cell["method"] == "none"]
    small = dense | {
        "key": "5" * 16,
        "backbone": "vim_pico",
        "role": "smaller",
        "beside": {"vim_nano": SHARE},
        "total": {"flops": TOTAL, "macs": 1, "paper": 1},
        "metrics": dense["metrics"] | {"top1": TOP1},
    }
    (folder / "cells" / f"{small['key']}.json").write_text(json.dumps(small))
    path = folder / "analyses" / "statistics.parquet"
    row = {"backbone": "vim_nano", "label": "vim_pico", "top1": TOP1, "seeds": 1}
    row |= {"top1_low": 0.77, "top1_high": 0.85}
    pd.concat([pd.read_parquet(path), pd.DataFrame([row])]).to_parquet(path)
    return folder


def test_it_is_a_point_of_both_figures(beside: Path) -> None:
    report = ReportData.of(load(beside))
    assert report.backbones == ["vim_nano"]
    figure = pareto(report.frame, report.looks, "flops", report.marks)
    lines = {str(line.get_label()): line.get_xydata() for line in figure.axes[0].get_lines()}
    assert lines["vim_pico"].tolist() == [[TOTAL, 100 * TOP1]]
    chart = charts.pareto(report.frame, report.looks, "flops", report.marks)
    (trace,) = [line for line in chart["data"] if line.get("name") == "vim_pico"]
    assert (list(trace["x"]), list(trace["y"])) == ([TOTAL], [100 * TOP1])
    (hover,) = trace["text"]
    assert "40.0 % removed" in hover
    assert "agrees with dense" not in hover
    # Only the dense model of the backbone itself is a level.
    assert len([shape for shape in chart["layout"]["shapes"] if shape["type"] == "line"]) == 1


def test_it_has_a_row_in_the_tables_of_its_backbone(beside: Path) -> None:
    report = ReportData.of(load(beside))
    (row,) = report.frame[report.frame.label == "vim_pico"].to_dict("records")
    assert (row["backbone"], row["removed"], row["top1"], row["top1_low"]) == (
        "vim_nano",
        SHARE,
        TOP1,
        0.77,
    )
    assert "vim_nano,vim_pico,smaller,baseline,,,,0.4," in results_csv(report.frame)
    tex = compact_tex(report.frame, "vim_nano", "")
    assert "vim\\_pico & \\multicolumn{2}{c}{81.5 at 40 \\% fewer FLOPs}" in tex
    (exported,) = [row for row in cell_rows(beside) if row["role"] == "smaller"]
    assert (exported["backbone"], exported["beside"]) == ("vim_pico", {"vim_nano": SHARE})


@pytest.mark.usefixtures("unmade")
def test_the_page_names_it_and_says_what_it_is(beside: Path) -> None:
    page.write(beside)
    text = (beside / "report" / "index.html").read_text()
    assert "A smaller model (vim_pico, dense) is none either:" in text
    assert "agreement-1" not in text
    cells = pd.read_csv(beside / "report" / "tables" / "cells.csv")
    assert "vim_pico" in set(cells.backbone)


def test_without_one_the_page_does_not_speak_of_it(stored_folder: Path) -> None:
    run = load(stored_folder)
    assert run.smaller.empty
    assert run.further.empty
    assert "smaller" not in set(ReportData.of(run).frame.method)

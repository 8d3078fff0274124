"""The figures of an ablation draw what is stored, and the section says what was found."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

import reports
from reports.figures.canvas import COLUMN, WIDTH
from reports.page import read
from reports.page_context import context
from reports.page_figures import Figures
from reports.report_data import ReportData
from reports.run import load
from reports.sections.ablation import (
    COLOURS,
    _power_note,
    axis_figure,
    order_figure,
    places,
    verdict,
)
from suite.stats.metric import TOP1

pytestmark = pytest.mark.usefixtures("undrawn")

ORDERS = (
    "order=restored",
    "order=reversed",
    "shuffle=0.1",
    "shuffle=0.5",
    "shuffle=1",
    "order=score",
)


def _rows(axis: str, names: tuple[str, ...], budget: float, method: str) -> list[dict[str, Any]]:
    rng = np.random.default_rng(len(names))
    rows = []
    for place, name in enumerate(names):
        top1, gap = float(rng.uniform(0.2, 0.8)), float(rng.uniform(-0.3, 0.3))
        row: dict[str, Any] = {
            "axis": axis, "backbone": "vim_nano", "method": method, "budget": budget, "setting": name, "label": name,
            "spec": name, "kl": 0.1, "removed": budget, "interval": "interval", "p": 0.01,
            "only_method_correct": 5, "only_reference_correct": 4,
            "is_reference": place == 0, "status": "ok", "reason": "", "seeds": 3 if "shuffle" in name else 1,
            "images": 500, "top1": top1, "agreement": top1 / 2, "tau": 1 - place / 4, "top1_low": top1 - 0.04,
            "top1_high": top1 + 0.05, "difference": gap, "difference_low": gap - 0.03, "difference_high": gap + 0.02,
            "p_holm": 0.01, "comparisons": 4, "smallest": 0.05 + 0.01 * place, "significant": place % 2 == 1,
        }  # fmt: skip
        if place == 0:
            row |= dict.fromkeys(
                ("difference", "difference_low", "difference_high", "p_holm", "smallest")
            )
        rows.append(row)
    return rows


def quick(fresh: Callable[[], Path]) -> Path:
    """A run without pictures and maps, which take most of the time that a page is made in."""
    folder = fresh()
    for path in (folder / "analyses").glob("*.parquet"):
        if path.stem != "kept_tokens":
            path.unlink()
    return folder


@pytest.fixture
def frame() -> pd.DataFrame:
    """Two families of the axis order, one of size with a setting that was skipped."""
    rows = _rows("order", ORDERS, 0.4, "mtr") + _rows("order", ORDERS[:4], 0.0, "permute")
    skipped = {
        "status": "skipped",
        "reason": "needs <b>delta</b>",
        "top1": None,
        "setting": "weights=odd",
        "images": None,
    }
    size = _rows("size", ("weights=mean", "weights=size", "weights=odd"), 0.4, "mtr")
    return pd.DataFrame([*rows, *size[:2], size[2] | skipped])


def marks(figure: Figure, panel: int) -> list[tuple[float, float, str]]:
    """Value, height and colour of the marks of one panel."""
    lines = [line for line in figure.axes[panel].lines if line.get_marker() in ("o", "D")]
    return [
        (round(float(line.get_xdata()[0]), 9), float(line.get_ydata()[0]), to_hex(line.get_color()))
        for line in lines
    ]


@pytest.mark.parametrize("width", [WIDTH, COLUMN])
def test_an_axis_is_drawn_as_it_is_stored(frame: pd.DataFrame, width: float) -> None:
    rows = frame[frame.axis == "order"]
    figure = axis_figure(rows, str.upper, TOP1, width)
    for family, part in enumerate([rows[rows.budget == 0.4], rows[rows.budget == 0]]):
        kinds = [COLOURS[verdict(row)] for row in part.to_dict("records")]
        left = [
            (round(100 * top1, 9), float(place), kinds[place])
            for place, top1 in enumerate(part.top1)
        ]
        assert marks(figure, 2 * family) == left
        right = [
            (round(100 * gap, 9), float(place), kinds[place])
            for place, gap in enumerate(part.difference)
        ][1:]
        assert marks(figure, 2 * family + 1) == right
        axes = figure.axes[2 * family]
        named = "MTR on vim_nano, 40 % of FLOPs removed", "vim_nano, nothing removed"
        assert axes.get_title(loc="left") == named[family]
        assert [label.get_text() for label in axes.get_yticklabels()] == part.setting.tolist()
        spans = [
            line
            for line in axes.lines
            if line.get_marker() == "None" and len(set(line.get_xdata())) == 2
        ]
        ends = np.array([line.get_xdata() for line in spans])
        np.testing.assert_allclose(ends, 100 * part[["top1_low", "top1_high"]].to_numpy())
        assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first setting stands on top


def test_a_name_of_several_lines_has_room() -> None:
    assert places(["score=b", "score=c"]) == [0, 1, 1.5]
    long = ", ".join(f"score=name-{number}" for number in range(12))  # six lines
    first, second, edge = places([long, "score=c"])
    assert first == pytest.approx(-0.5 + 4.2 / 2)
    assert (second, edge) == pytest.approx((4.2, 4.7))


def test_only_what_was_measured_is_drawn(frame: pd.DataFrame) -> None:
    figure = axis_figure(frame[frame.axis == "size"], str.upper, TOP1, WIDTH)
    assert len(marks(figure, 0)) == 2
    assert len(marks(figure, 1)) == 1


def test_the_order_figure_joins_the_shuffles_by_tau(frame: pd.DataFrame) -> None:
    rows = frame[frame.axis == "order"]
    figure = order_figure(rows, str.upper, TOP1, WIDTH)
    for panel, name in enumerate(("top1", "agreement")):
        drawn = [line for line in figure.axes[panel].lines if line.get_linestyle() != "None"]
        for line, (_, part) in zip(drawn, rows.groupby("method", sort=False), strict=True):
            joined = part[part.setting.str.contains("shuffle") | part.is_reference].sort_values(
                "tau"
            )
            assert list(line.get_xdata()) == pytest.approx(joined.tau.tolist())
            assert list(line.get_ydata()) == pytest.approx((100 * joined[name]).tolist())
        named = {text.get_text() for text in figure.axes[panel].texts}
        assert named == {"reversed", "score"}


def add(folder: Path, frame: pd.DataFrame) -> pd.DataFrame:
    """Put an ablation's two files into a run; its words."""
    families = frame.drop_duplicates(["axis", "method", "budget"])
    told = families[["axis", "method", "budget", "backbone"]].reset_index(drop=True)
    told["sentence"] = [
        f"Words of {axis} of {method}." for axis, method in zip(told.axis, told.method, strict=True)
    ]
    frame.to_parquet(folder / "analyses" / "ablation.parquet")
    told.to_parquet(folder / "analyses" / "ablation_sentences.parquet")
    return told


def test_the_page_tells_each_axis(frame: pd.DataFrame, fresh: Callable[[], Path]) -> None:
    folder = quick(fresh)
    for old in ("cells", "analyses"):  # the rest of the page is others' to test
        shutil.rmtree(folder / old)
    (folder / "analyses").mkdir()
    (folder / "spec.yaml").write_text("schema: 4\nkind: ablation\n")
    told = add(folder, frame)
    page = reports.build(folder).read_text("utf-8")
    assert 'id="ablation"' in page
    assert all(sentence in page for sentence in told.sentence)
    # What was found stands once, below the figures that it is about.
    assert all(page.count(sentence) == 1 for sentence in told.sentence)
    assert "points more than MTR at 40\u00a0% fewer FLOPs; of 6 settings of order or size 2" in page
    assert (
        "With 500 images, a difference below 6.0 to 10.0 points is easily missed, depending" in page
    )
    assert "needs &lt;b&gt;delta" in page
    for name in ("ablation-order", "ablation-order-tau", "ablation-size"):
        assert (folder / "report" / "figures" / f"{name}.png").is_file()
    table = pd.read_csv(folder / "report" / "tables" / "ablation-order.csv")
    stored = frame[frame.axis == "order"]
    assert table["Top-1, %"].tolist() == pytest.approx((100 * stored.top1).tolist())


def test_settings_at_one_budget_are_no_trade_off(fresh: Callable[[], Path]) -> None:
    folder = quick(fresh)
    spec = yaml.safe_load((folder / "spec.yaml").read_text())
    (folder / "spec.yaml").write_text(yaml.safe_dump(spec | {"axes": ["order"]}))
    assert ReportData.of(load(folder)).trades  # there are several budgets
    (folder / "spec.yaml").write_text(yaml.safe_dump(spec | {"axes": []}))
    for path in (folder / "cells").iterdir():
        record = json.loads(path.read_text())
        if record["budget"] not in (None, 0.4):
            path.unlink()
    assert ReportData.of(load(folder)).trades  # methods at one budget are ranked
    ablations, other = (
        {"one": {"axes": ["order"]}, "two": {"axes": ["size"]}},
        {"three": {"kind": "sensitivity"}},
    )
    for runs, trades in ((ablations | other, False), (ablations | {"four": {"axes": []}}, True)):
        (folder / "spec.yaml").write_text(yaml.safe_dump(spec | {"kind": "merged", "runs": runs}))
        assert ReportData.of(load(folder)).trades == trades
    (folder / "spec.yaml").write_text(yaml.safe_dump(spec | {"axes": ["order"]}))
    page = reports.build(folder).read_text("utf-8")
    assert 'id="results"' in page
    assert not any(
        f'id="{name}"' in page or f'"#{name}"' in page for name in ("pareto", "agreement")
    )
    drawn_there = {path.stem for path in (folder / "report" / "figures").iterdir()}
    assert "kept" in drawn_there
    assert drawn_there.isdisjoint({"pareto", "groups", "lead", "agreement"})


@pytest.mark.usefixtures("unmade")
def test_what_the_run_was_for_comes_first(frame: pd.DataFrame, fresh: Callable[[], Path]) -> None:
    folder = quick(fresh)
    add(folder, frame[frame.axis == "order"])
    page = reports.build(folder).read_text("utf-8")
    assert "points more than MTR at 40\u00a0% fewer FLOPs; of 5 settings of order" in page
    # Of a comparison in the same folder the answer of its own order follows.
    for mark in ('href="#{}"', 'id="{}"'):
        names = ("results", "gallery", "ablation", "can", "tokens")
        places = [page.index(mark.format(name)) for name in names]
        assert places == sorted(places)


@pytest.mark.usefixtures("unmade")
def test_an_ablation_says_what_its_data_can_show_only_where_that_was_asked(
    fresh: Callable[[], Path],
) -> None:
    folder = quick(fresh)
    path = folder / "analyses" / "headline.json"
    stored = json.loads(path.read_text())
    unknown = [
        row | {"can_rank": None, "smallest_detectable": None} for row in stored["resolution"]
    ]
    path.write_text(json.dumps(stored | {"resolution": unknown}))
    page = reports.build(folder).read_text("utf-8")
    assert page.count('<span class="tag">not known</span>') == len(
        unknown
    )  # a comparison without blind baselines
    assert '<td class="n"></td>' not in page
    spec = yaml.safe_load((folder / "spec.yaml").read_text())
    (folder / "spec.yaml").write_text(yaml.safe_dump(spec | {"axes": ["order"]}))
    assert not context(read(folder), (), Figures({}, {}))["resolution"]
    path.write_text(json.dumps(stored))
    assert context(read(folder), (), Figures({}, {}))[
        "resolution"
    ]  # an ablation with blind baselines


def test_a_handful_of_images_detects_nothing(frame: pd.DataFrame) -> None:
    few = frame.assign(smallest=1.0, images=3)
    assert _power_note(few, "images") == (
        "A hollow mark rules nothing out: 3 images are too few to find any difference.",
    )
    # Settings with as little in common as that do not make it a detectable difference.
    few.loc[1, "smallest"] = 0.5
    assert "a difference below 50.0 points is easily missed" in _power_note(few, "images")[0]

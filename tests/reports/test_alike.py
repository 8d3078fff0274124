"""The sections on overlap and on broken answers draw what is stored."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pandas as pd
import pytest

from reports import sections
from reports.figures.canvas import COLUMN, WIDTH
from reports.figures.similarity import alike_together, matrix, pairs_table
from reports.formatting import distinct_names, number
from reports.report_data import ReportData
from reports.run import load
from reports.section import Section
from reports.sections import breaks, similarity, token_matched
from reports.style import looks


@pytest.fixture(scope="module")
def built(report: ReportData) -> dict[str, Section]:
    return {section.key: section for section in sections.sections(report)}


@pytest.fixture(scope="module")
def pairs(run_folder: Path) -> pd.DataFrame:
    return pd.read_parquet(run_folder / "analyses" / "method_similarity.parquet").query(
        "budget == 0.4"
    )


def _value(rows: pd.DataFrame, one: str, other: str, column: str) -> float:
    titles = {"MTR": "mtr", "EViT": "evit", "Random": "random", "Stride": "stride"}
    titles["Pooling"] = "pool"
    one, other = (titles.get(name, name.replace("ToMe", "tome")) for name in (one, other))
    pair = rows[
        ((rows.one == one) & (rows.other == other)) | ((rows.one == other) & (rows.other == one))
    ]
    return float(pair[column].iloc[0])


@pytest.mark.parametrize("width", [COLUMN, WIDTH])
def test_the_table_of_pairs_holds_the_stored_values(
    built: dict[str, Section], pairs: pd.DataFrame, width: float
) -> None:
    drawing = built["similarity"].figures[0]
    axes = drawing.draw(width).axes[0]
    names = [words.get_text().replace("\n", "") for words in axes.get_yticklabels()]
    cell_texts = {text.get_position(): text.get_text() for text in axes.texts}
    table = np.asarray(axes.get_images()[0].get_array())
    assert drawing.maps is not None
    assert [name.replace(" ", "") for name in distinct_names(drawing.maps.names)] == [
        n.replace(" ", "") for n in names
    ]
    for row, one in enumerate(drawing.maps.names):
        for column, other in enumerate(drawing.maps.names):
            want = 1.0 if row == column else _value(pairs, one, other, "survival")
            assert table[row, column] == pytest.approx(want)
            if row != column:
                assert cell_texts[column, row] == (
                    number(want, 2) if width > COLUMN else number(100 * want, 0)
                )


def test_values_in_the_cells_have_true_minus_signs_and_no_negative_zero() -> None:
    table = np.array([[1.0, -0.001, -0.38], [-0.001, 1.0, 0.2], [-0.38, 0.2, 1.0]])
    for width, want in ((WIDTH, {"0.00", "−0.38", "0.20"}), (COLUMN, {"0", "−38", "20"})):
        figure = pairs_table(
            table, ["mtr", "tome", "evit"], looks(["mtr", "tome", "evit"]), "b", width
        )
        assert {text.get_text() for text in figure.axes[0].texts} == want


def test_no_block_is_marked_where_there_is_none(built: dict[str, Section]) -> None:
    axes = built["similarity"].figures[1].draw(WIDTH).axes[0]
    ticks = axes.get_xticks()
    assert (min(ticks), max(ticks)) == (
        2,
        7,
    )  # of the view, which the names stretch, only where there are blocks


def test_the_page_opens_on_a_block_in_the_middle_with_names_told_apart(run_folder: Path) -> None:
    page = (run_folder / "report" / "index.html").read_text()
    stack = page[page.index('data-stack="similarity"') :]
    assert "<output>5</output>" in stack[: stack.index("</label>")]
    match = re.search(r'id="data">(.*?)</script>', page, re.DOTALL)
    assert match
    panel = json.loads(match.group(1))["stacks"]["similarity"]
    assert panel["short"] == distinct_names(panel["names"])


def test_the_slider_holds_each_blocks_values(built: dict[str, Section], run_folder: Path) -> None:
    maps = built["similarity"].figures[0].maps
    assert maps is not None
    layers = pd.read_parquet(run_folder / "analyses" / "token_overlap.parquet").query(
        "budget == 0.4"
    )
    assert maps.layers == (2, 5, 7)
    for index, block in enumerate(maps.layers):
        want = _value(layers[layers.block == block], maps.names[0], maps.names[1], "correlation")
        assert maps.values[0, index, 0, 1] == maps.values[0, index, 1, 0] == want


def test_lines_and_dots_hold_the_stored_values(
    built: dict[str, Section], pairs: pd.DataFrame, run_folder: Path
) -> None:
    _, blocks, answers = built["similarity"].figures
    layers = pd.read_parquet(run_folder / "analyses" / "token_overlap.parquet").query(
        "budget == 0.4"
    )
    axes = blocks.draw(WIDTH).axes[0]
    assert axes.get_ylabel() == "correlation with the tokens of MTR"
    lines = {
        str(line.get_label()): line
        for line in axes.get_lines()
        if not str(line.get_label()).startswith("_")
    }
    assert "MTR" not in lines
    for label, line in lines.items():
        want = [
            _value(layers[layers.block == block], "mtr", label, "correlation")
            for block in (2, 5, 7)
        ]
        assert list(np.asarray(line.get_ydata())) == pytest.approx(want)
    dots = answers.draw(COLUMN).axes[0].get_lines()[0]
    assert sorted(np.asarray(dots.get_xdata())) == pytest.approx(sorted(pairs.survival))
    assert sorted(np.asarray(dots.get_ydata())) == pytest.approx(sorted(pairs.kappa))


def test_the_sentence_says_the_most_and_the_least_alike_and_the_link(
    built: dict[str, Section], pairs: pd.DataFrame
) -> None:
    words = built["similarity"].sentence
    most = pairs.loc[pairs.survival.idxmax()]
    alike = f"(rank correlation {most.survival:.2f})"
    assert f"{most.one} and {most.other} keep the most alike tokens {alike}" in words
    assert "does go with being right on the same images on vim_nano" in words
    assert "0.61 (p 0.004)" in words
    assert len(built["similarity"].tables[0].frame) == 5 * len(pairs)


def test_each_methods_first_broken_picture_is_shown(
    built: dict[str, Section], run_folder: Path
) -> None:
    (drawing,), (table,) = built["breaks"].figures, built["breaks"].tables
    breaks = pd.read_parquet(run_folder / "analyses" / "first_errors.parquet").drop_duplicates(
        "label"
    )
    assert sorted(table.frame["Method"]) == sorted(breaks.label)
    assert set(table.frame["Image"]) == {100}
    shown = [axes for axes in drawing.draw(WIDTH).axes if axes.get_images()]
    assert len(shown) == 2 * len(breaks)
    assert [axes.get_xlabel() for axes in shown[::2]] == ["T-shirt 93 %"] * len(breaks)
    for axes, answer in zip(shown[1::2], table.frame["Reduced"], strict=True):
        assert axes.get_xlabel() == f"× {answer}"
    assert "Every method loses" in built["breaks"].sentence
    assert "Not shown" not in drawing.caption


def test_methods_without_a_broken_picture_are_named_with_the_reason(
    stored_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = ReportData.of(load(stored_folder, sections.needed()))
    frame = pd.read_parquet(stored_folder / "analyses" / "first_errors.parquet")
    frame = frame[frame["label"] != "evit"]
    # In no gallery; of blind baselines a run never keeps one.
    frame.loc[frame["label"].isin(["tome", "stride", "pool"]), "image"] = 999
    monkeypatch.setattr(breaks, "MOST", 3)
    made = breaks.section(report, {"first_errors": frame})
    assert made is not None
    assert made.figures[0].caption.endswith(
        " Not shown: ToMe, of whose lost answers the run keeps no picture; EViT, which lose no right "
        "answer."
    )


def test_without_pictures_there_is_no_section_of_broken_ones(fresh: Callable[[], Path]) -> None:
    folder = fresh()
    (folder / "analyses" / "gallery.parquet").unlink()
    report = ReportData.of(load(folder, sections.needed()))
    assert [section.key for section in sections.sections(report)] == ["similarity"]


def test_alike_methods_stand_side_by_side() -> None:
    labels = ["a", "b", "c", "d"]
    rows = [
        ("a", "c", 0.9),
        ("b", "d", 0.8),
        ("a", "b", -0.5),
        ("a", "d", -0.4),
        ("b", "c", -0.6),
        ("c", "d", -0.5),
    ]
    table = matrix(pd.DataFrame(rows, columns=["one", "other", "v"]), labels, "v")
    assert table[0, 2] == table[2, 0] == 0.9
    order = "".join(alike_together(table, labels))
    assert {order[:2], order[2:]} <= {"ac", "ca", "bd", "db"}
    assert alike_together(table[:2, :2], ["a", "b"]) == ["a", "b"]


def test_methods_that_keep_the_same_tokens_are_together_however_that_was_rounded() -> None:
    above = 1 + 2.0**-52
    table = np.array([[1.0, 0.2, above], [0.2, 1.0, 0.2], [above, 0.2, 1.0]])
    order = "".join(alike_together(table, ["a", "b", "c"]))
    assert "ac" in order or "ca" in order


def test_no_effect_of_own_work_is_claimed_within_what_the_images_show() -> None:
    row = {"difference": -0.13, "difference_low": -0.205, "difference_high": -0.055}
    tokens = {"difference_tokens_low": -0.22, "difference_tokens_high": -0.08}
    assert not token_matched._visible(row | tokens | {"difference_tokens": -0.15})
    assert token_matched._visible(row | tokens | {"difference_tokens": -0.01})
    unknown = row | tokens | {"difference_tokens": -0.01, "difference_low": np.nan}
    assert not token_matched._visible(unknown)
    assert token_matched._apart(-0.165) == "16.5 points below"
    assert token_matched._apart(0.0) == "level with"


def test_the_sentence_on_own_work_names_the_other_method_twice() -> None:
    rows = pd.DataFrame([{"label": "tome", "reference": "mtr", "images": 40, "difference": 0.0}])
    rows = rows.assign(reduction_flops=0.01, difference_tokens=0.0)
    for name in ("difference", "difference_tokens"):
        rows = rows.assign(**{f"{name}_low": -0.1, f"{name}_high": 0.1})
    report = SimpleNamespace(title=str.upper, run=SimpleNamespace(kind="images"))
    text = token_matched._brief(cast("ReportData", report), rows)
    assert "it is level with MTR by equal FLOPs, and level with it by equal counts of" in text


def test_of_methods_that_keep_nothing_alike_the_blind_ones_are_told_apart() -> None:
    rows = [("mtr", "tome", 0.16), ("mtr", "stride", 0.08), ("stride", "pool", 1.0)]
    pairs = pd.DataFrame(rows, columns=["one", "other", "survival"]).assign(budget=0.4)
    words = similarity._nothing(pairs, 0.4)
    assert "all others are 0.08 to 0.16" in words
    assert words.endswith("Among the baselines that never look: 1.00.")

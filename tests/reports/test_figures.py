"""What the figures draw is what the run stores, in paper figures and in the page's charts alike."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from reports import aggregate, charts, static_figures, style
from reports import formatting as text
from reports.figures.apart import STEP
from reports.figures.canvas import columns, render
from reports.figures.gallery import gallery
from reports.figures.tokens import grids
from reports.figures.tradeoff import pareto
from reports.page_panels import last_block
from reports.report_data import ReportData
from reports.style import above_band
from reports.token_overlay import SPECIAL_COLOUR, VEIL, overlay


def test_every_figure_is_there(wide: dict[str, Figure]) -> None:
    assert list(wide) == [
        "pareto",
        "lead",
        "agreement",
        "foreground",
        "kept",
        "gallery",
        "gallery-layers",
        "breaks",
        "similarity",
        "similarity-blocks",
        "similarity-answers",
    ]


@pytest.mark.parametrize(
    ("name", "panel", "column", "scale"),
    [("pareto", 0, "top1", 100), ("agreement", 0, "agreement", 100), ("agreement", 1, "kl", 1)],
)
def test_lines_hold_the_stored_values(
    report: ReportData, wide: dict[str, Figure], name: str, panel: int, column: str, scale: float
) -> None:
    lines = {line.get_label(): line for line in wide[name].axes[panel].get_lines()}
    for label in report.labels:
        rows = report.frame[(report.frame["label"] == label)].sort_values("total")
        if label == "none" and name != "pareto":
            assert "dense" not in lines
            continue
        line = lines[report.title(label)]
        # without the gaps of lines that others would hide, whose points stand side by side
        places, values = np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float)
        known = np.isfinite(places)
        aside = 3 * STEP * np.ptp(report.frame["total"]) if name == "pareto" else 0.0
        np.testing.assert_allclose(places[known], rows["total"], rtol=0, atol=aside)
        np.testing.assert_allclose(values[known], rows[column] * scale)


@pytest.mark.parametrize(
    ("make", "column", "scale"),
    [
        (charts.pareto, "top1", 100),
        (charts.agreement, "agreement", 100),
        (charts.divergence, "kl", 1),
    ],
)
def test_charts_hold_the_stored_values(
    report: ReportData, make: object, column: str, scale: float
) -> None:
    assert callable(make)
    chart = make(
        report.frame, report.looks, "flops", *([report.marks] if make is charts.pareto else [])
    )
    traces = {trace["meta"]["label"]: trace for trace in chart["data"] if trace.get("text")}
    for index, label in enumerate(report.labels):
        rows = report.frame[report.frame["label"] == label].sort_values("total")
        if label == "none" and column != "top1":
            assert index not in traces
            continue
        assert traces[index]["x"] == rows["total"].tolist()
        np.testing.assert_allclose(traces[index]["y"], rows[column] * scale)
    if column == "top1":
        assert "“flops”" in chart["layout"]["xaxis"]["title"]["text"]


def test_random_is_a_range_over_its_seeds(report: ReportData) -> None:
    chart = charts.pareto(report.frame, report.looks, "flops", report.marks)
    bands = [trace for trace in chart["data"] if trace.get("fill")]
    rows = report.frame[report.frame["label"] == "random"].sort_values("total")
    assert len(bands) == 1
    expected = [*rows["seed_low"] * 100, *(rows["seed_high"] * 100)[::-1]]
    np.testing.assert_allclose(bands[0]["y"], expected)


@pytest.mark.parametrize("column", ["foreground_kept", "lift"])
def test_block_charts_hold_the_stored_values(report: ReportData, column: str) -> None:
    chart = charts.by_block(report.blocks, report.looks, column)
    scale = 100 if column == "foreground_kept" else 1
    lines = [trace for trace in chart["data"] if "label" in trace["meta"]]
    assert len(lines) == 7 * 5
    for trace in lines:
        label, budget = report.labels[trace["meta"]["label"]], trace["meta"]["budget"]
        rows = report.blocks[
            (report.blocks["label"] == label) & (report.blocks["budget"] == budget)
        ]
        np.testing.assert_allclose(trace["y"], rows[column] * scale)


def test_names_beside_the_lines_never_touch(report: ReportData) -> None:
    chart = charts.pareto(report.frame, report.looks, "flops", report.marks)
    low, high = chart["layout"]["yaxis"]["range"]
    heights = sorted(note["ay"] for note in chart["layout"]["annotations"] if note["showarrow"])
    room = charts.HEIGHT - chart["layout"]["margin"]["t"] - chart["layout"]["margin"]["b"]
    assert len(heights) == len(report.labels) - 1
    assert np.diff(heights).min() * room / (high - low) >= 17 - 1e-6
    assert low < heights[0]
    assert heights[-1] <= high


def test_budgets_without_a_winner_over_the_blind_are_shaded(report: ReportData) -> None:
    unbeaten = {mark.budget for mark in report.marks.values() if mark.none_shown}
    assert unbeaten
    assert unbeaten < set(report.budgets)
    layout = charts.pareto(report.frame, report.looks, "flops", report.marks)["layout"]
    bands = [shape for shape in layout["shapes"] if shape["type"] == "rect"]
    words = [
        note["text"]
        for note in layout["annotations"]
        if note["text"].startswith("no method shown<br>to beat")
    ]
    assert len(bands) == len(words) == len(unbeaten)
    rows = report.frame[report.frame["label"] == "mtr"].set_index("budget")
    for band, budget in zip(bands, sorted(unbeaten), strict=True):
        assert band["x0"] < rows.loc[budget, "total"] < band["x1"]


@pytest.mark.parametrize(("chance", "drawn_at"), [(0.6, [60.0]), (0.1, []), (None, [])])
def test_chance_is_drawn_where_the_axis_reaches_it(
    report: ReportData, chance: float | None, drawn_at: list[float]
) -> None:
    from reports.figures.tradeoff import pareto

    layout = charts.pareto(report.frame, report.looks, "flops", report.marks, chance)["layout"]
    assert [note["y"] for note in layout["annotations"] if note["text"] == "chance"] == drawn_at
    assert [shape["y0"] for shape in layout["shapes"] if shape["type"] == "line"][1:] == drawn_at
    axes = pareto(report.frame, report.looks, "flops", report.marks, chance).axes[0]
    assert [
        np.asarray(line.get_ydata())[0]
        for line in axes.get_lines()
        if line.get_label() == "_chance"
    ] == drawn_at
    assert [words.xy[1] for words in axes.texts if words.get_text() == "chance"] == drawn_at  # type: ignore[attr-defined]


def test_a_guess_is_right_once_in_as_many_times_as_there_are_classes(report: ReportData) -> None:
    assert report.run.chance == 1 / 10
    assert replace(report.run, dataset={}).chance is None


def test_maps_hold_the_stored_shares(report: ReportData, wide: dict[str, Figure]) -> None:
    kept = report.run.kept_tokens.query("label == 'evit' and budget == 0.4 and block == 7")
    want = np.full((14, 14), np.nan)
    for row in kept.itertuples():
        want[int(row.row), int(row.col)] = row.kept
    np.testing.assert_array_equal(grids(kept, "kept", [7], (14, 14))[0], want)
    shown = [image.get_array() for axes in wide["kept"].axes for image in axes.get_images()]
    assert sum(np.array_equal(np.asarray(array), want) for array in shown if array is not None) == 1


@pytest.mark.filterwarnings("error:constrained_layout not applied")
def test_one_method_far_below_the_dense_model_leaves_room_for_its_panel(report: ReportData) -> None:
    downsample = report.frame[
        (report.frame["method"] == "downsample") & report.frame["top1"].notna()
    ].iloc[[0]]
    low = downsample.assign(top1=0.1, top1_low=0.03, top1_high=0.3)
    dense = report.frame[report.frame["method"] == "none"].assign(top1=1.0)
    figure = pareto(pd.concat([dense, low]), report.looks, "flops", {}, 0.1)
    render(figure)
    low, high = figure.axes[0].get_xlim()
    assert low <= 3
    assert high > 100
    assert figure.axes[0].get_window_extent().width > figure.bbox.width / 2


def test_the_inner_label_keeps_clear_of_the_left_panel(wide: dict[str, Figure]) -> None:
    figure = wide["foreground"]
    render(figure)
    left, right = figure.axes
    inner = right.yaxis.label.get_window_extent()
    assert inner.x0 - left.get_window_extent().x1 > 0.1 * figure.dpi
    assert inner.height < right.get_window_extent().height


def test_the_first_panel_of_each_row_names_the_true_class(
    report: ReportData, wide: dict[str, Figure]
) -> None:
    names = [axes.get_xlabel().split("\n")[1:] for axes in wide["gallery"].axes]
    truths = [
        f"true: {report.run.class_name(image)}" for image in range(static_figures.GALLERY_ROWS)
    ]
    assert [name[0] for name in names if name] == truths
    assert names[:: static_figures.PAGE.methods + 1] == [[truth] for truth in truths]


def test_pictures_block_by_block_name_the_true_class(
    report: ReportData, wide: dict[str, Figure]
) -> None:
    axes = wide["gallery-layers"].axes
    first = [panel for panel in axes if panel.get_ylabel()]
    assert {panel.get_xlabel() for panel in first} == {f"true: {report.run.class_name(0)}"}
    assert len(first) == static_figures.LAYER_ROWS


def _below(figure: Figure) -> str:
    assert figure._supxlabel is not None
    return str(figure._supxlabel.get_text())


def test_methods_without_room_in_the_gallery_are_named(
    report: ReportData, wide: dict[str, Figure], narrow: dict[str, Figure]
) -> None:
    for figure, shown in ((narrow["gallery"], 3), (narrow["gallery-layers"], 3)):
        words = _below(figure).replace("\n", " ")
        known = report.ordered(report.run.gallery)
        absent = text.distinct_names([report.title(label) for label in known[shown:]])
        assert (
            f"The first {shown} of {len(known)} methods; not shown: {', '.join(absent)}." in words
        )
    assert "not shown" not in _below(wide["gallery"])


def test_the_words_below_the_gallery_speak_of_what_is_there(report: ReportData) -> None:
    rows = last_block(report.run.gallery[report.run.gallery["budget"] == 0.4])
    assert report.shape is not None
    for label, words in (("tome", "token"), ("evit", "token    dark: dropped")):
        mine = rows[rows["label"] == label]
        assert _below(gallery(report, mine, [label], "b")).endswith(words)


def test_overlay_shows_what_became_of_each_token() -> None:
    values = np.array(
        [10, 20, 30, 60, 50, 70, 150, 80], dtype=np.uint8
    )  # one grey a place, 2 x 4 places of 2 x 2
    pixels = np.repeat(values.reshape(2, 4).repeat(2, 0).repeat(2, 1)[..., None], 3, axis=2)
    drawn = overlay(pixels, np.array([0, -1, 2, 2, -2, 5, 2, 7]), (2, 4), cell=4)
    centre = [drawn[place // 4 * 4 + 2, place % 4 * 4 + 2].tolist() for place in range(8)]
    assert [centre[0], centre[5], centre[7]] == [[10] * 3, [70] * 3, [80] * 3]
    assert centre[1] == [round(0.14 * 20 + 0.86 * value) for value in VEIL]
    assert centre[2] == centre[3] == centre[6] == [80] * 3, "the mean of 30, 60 and 150"
    assert SPECIAL_COLOUR == "#ffffff"
    assert centre[4] == [255] * 3
    rim = round(0.25 * 80 + 0.75 * 255)
    assert drawn[2, 8].tolist() == [rim] * 3, "between the merged token and its left neighbour"
    assert drawn[2, 12].tolist() == [80] * 3, "no line inside one token"
    assert drawn[2, 4].tolist() == centre[1], "no line where neither neighbour is merged"
    assert drawn[4, 14].tolist() == [round(0.25 * 80 + 0.75 * 255)] * 3


def test_the_same_run_gives_the_same_bytes(report: ReportData) -> None:
    name, figure = next(static_figures.drawn(report))
    again = next(static_figures.drawn(report))[1]
    assert name == "pareto"
    first = render(figure)
    assert first == render(again)
    assert b"<text" not in first["svg"], "text must be paths, so that no font is needed"


def test_the_shown_blocks_are_spread_and_end_with_the_last() -> None:
    assert aggregate.chosen_blocks(list(range(24))) == [1, 5, 8, 12, 16, 19, 23]
    assert aggregate.chosen_blocks([0, 1, 2]) == [1, 2]
    assert aggregate.chosen_blocks([4]) == [4]


def test_several_backbones_each_have_their_panel(report: ReportData) -> None:
    other = report.frame.assign(backbone="vim_tiny")
    from reports.figures.tradeoff import agreement, pareto

    both = pd.concat([report.frame, other])
    assert [
        axes.get_title(loc="left") for axes in pareto(both, report.looks, "flops", {}).axes
    ] == [
        "vim_nano",
        "vim_tiny",
    ]
    assert len(agreement(both, report.looks, "flops").axes) == 4


def test_points_of_a_single_budget_keep_clear_of_the_axis(report: ReportData) -> None:
    from reports.figures.tradeoff import agreement

    frame = report.frame
    one = frame[frame["budget"].isin([0.0, frame["budget"].max()])]
    for axes in agreement(one, report.looks, "flops").axes:
        low, high = axes.get_xlim()
        places = axes.get_xticks()
        assert min(places) - low > 0.02 * (high - low) < high - max(places)


def test_a_legend_fills_its_rows() -> None:
    assert [columns(names) for names in (0, 1, 5, 6, 7, 10, 11)] == [1, 1, 5, 3, 4, 5, 4]


def test_a_long_name_above_a_band_is_not_written_out() -> None:
    looks = style.looks(["random", "crop-shrink[where=centre]"])
    assert above_band("random", looks) == looks["random"].title
    assert above_band("crop-shrink[where=centre]", looks) == "a blind method"

"""Names at lines and points: each at its own, none over another; the ranking that stands in for lines of one point."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from reports import charts
from reports.figures.canvas import COLUMN, WIDTH
from reports.figures.names import clear_places
from reports.figures.tradeoff import grouped, groups, pareto
from reports.report_data import ReportData
from reports.style import KNOWN, looks

LOOKS = looks(KNOWN)


def every_method(budgets: tuple[float, ...]) -> pd.DataFrame:
    """A frame of every known method, many of them close to each other, as close as a real run has them."""
    rng = np.random.default_rng(11)
    rows = [{"label": "none", "method": "none", "budget": np.nan, "top1": 0.917, "removed": 0.0}]
    for place, name in enumerate(name for name in KNOWN if name != "none"):
        level = 0.75 + 0.01 * place if place % 3 else 0.1 + 0.01 * place
        for budget in budgets:
            landed = budget - 0.04 if name == "downsample" else budget
            top1 = max(0.1, level - 1.1 * (budget - budgets[0]) + float(rng.normal(0, 0.01)))
            rows.append(
                {"label": name, "method": name, "budget": budget, "top1": top1, "removed": landed}
            )
    frame = pd.DataFrame(rows)
    known = {
        "agreement": frame["top1"],
        "kl": 1 - frame["top1"],
        "difference": np.nan,
        "reference": None,
    }
    return frame.assign(
        backbone="vim_nano", family="", kind="images", total=131e6 * (1 - frame["removed"]), seeds=1, images=500, **known,
        seed_low=frame["top1"], seed_high=frame["top1"], top1_low=frame["top1"] - 0.02, top1_high=frame["top1"] + 0.02,
    )  # fmt: skip


def named(axes: Axes) -> list[Annotation]:
    """The names at the lines of one panel."""
    return [
        note for note in axes.texts if isinstance(note, Annotation) and note.arrow_patch is not None
    ]


def written(figure: Figure, notes: list[Annotation]) -> list[Bbox]:
    """Where the words of the notes stand, without their leader lines."""
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    return [note.get_bbox_patch().get_window_extent(renderer) for note in notes]  # type: ignore[union-attr]


@pytest.mark.parametrize("width", [COLUMN, WIDTH])
def test_every_method_of_a_run_of_all_is_named_at_its_own_line(width: float) -> None:
    frame = every_method((0.2, 0.4, 0.6))
    figure = pareto(frame, LOOKS, "flops", {}, 0.1, width)
    (axes,) = figure.axes
    notes = named(axes)
    assert figure.legends == []
    assert sorted(note.get_text() for note in notes) == sorted(set(frame["label"]) - {"none"})
    ends = frame.dropna(subset=["budget"]).sort_values("total").groupby("label").last()
    for note in notes:
        row = ends.loc[note.get_text()]
        assert note.xy == pytest.approx((row["total"], 100 * row["top1"]))
        assert note.get_color() == LOOKS[note.get_text()].light
    boxes = written(figure, notes)
    assert not any(
        one.padded(-1.5).overlaps(other.padded(-1.5))
        for one, other in itertools.combinations(boxes, 2)
    )
    frame_box = axes.get_window_extent().padded(2)
    assert all(frame_box.x0 <= box.x0 and box.x1 <= frame_box.x1 for box in boxes)
    star = axes.transData.transform((131e6, 91.7))
    assert not any(box.contains(*star) for box in boxes)
    assert any(words.get_text() == "dense 91.7" for words in axes.texts)


def test_no_level_crosses_a_name() -> None:
    frame = every_method((0.2, 0.4, 0.6))
    at = float(frame[frame["budget"] == 0.2].set_index("label").loc["stride", "top1"])
    drawn = []
    for chance in (at, None):
        figure = pareto(frame, LOOKS, "flops", {}, chance)
        figure.canvas.draw()
        figure.set_layout_engine("none")  # it is final
        boxes = written(figure, named(figure.axes[0]))
        pixels = np.asarray(figure.canvas.buffer_rgba())[::-1]  # type: ignore[attr-defined]
        drawn.append(
            [pixels[int(box.y0) + 1 : int(box.y1), int(box.x0) + 1 : int(box.x1)] for box in boxes]
        )
    with_level, without = drawn
    assert all(np.array_equal(one, other) for one, other in zip(with_level, without, strict=True))
    page = charts.pareto(frame, LOOKS, "flops", {}, at)["layout"]["annotations"]
    assert {note["bgcolor"] for note in page if note["showarrow"]} == {"@paper"}


def test_points_at_budgets_of_their_own_are_named_beside_them() -> None:
    frame = every_method((0.4,))
    own = np.where(frame["budget"].isna(), np.nan, 0.15 + 0.02 * np.arange(len(frame)))
    frame = frame.assign(budget=own, total=131e6 * (1 - np.nan_to_num(own)))
    figure = pareto(frame, LOOKS, "flops", {})
    notes = named(figure.axes[0])
    assert {note.get_text() for note in notes} == {*frame["label"], "dense 91.7"} - {"none"}
    boxes = written(figure, notes)
    assert not any(
        one.padded(-1.5).overlaps(other.padded(-1.5))
        for one, other in itertools.combinations(boxes, 2)
    )
    chart = charts.pareto(frame, LOOKS, "flops", {})
    assert chart["names"] is None
    assert sum("ax" in note for note in chart["layout"]["annotations"]) == len(frame) - 1


@given(
    st.lists(
        st.tuples(st.integers(0, 800), st.integers(0, 300)), min_size=1, max_size=8, unique=True
    )
)
@settings(max_examples=25, deadline=None)
def test_names_near_points_stay_inside_and_off_each_other(places: list[tuple[int, int]]) -> None:
    ends = np.array(places, dtype=float)
    sizes = np.tile([40.0, 9.0], (len(ends), 1))
    middles = clear_places(ends, sizes, ends, Bbox.from_extents(-60, -20, 860, 320), 100)
    boxes = [
        Bbox.from_bounds(*(middle - size / 2), *size)
        for middle, size in zip(middles, sizes, strict=True)
    ]
    assert not any(
        one.padded(-0.01).overlaps(other) for one, other in itertools.combinations(boxes, 2)
    )
    assert all(box.x0 >= -60 and box.x1 <= 860 and box.y0 >= -20 and box.y1 <= 320 for box in boxes)
    assert np.hypot(*(middles - ends).T).max() < 130


def test_each_group_has_its_panel_and_the_others_stand_behind_it() -> None:
    frame = every_method((0.2, 0.4, 0.6))
    kinds = grouped(frame, LOOKS)
    assert sum(map(len, kinds.values())) == frame["label"].nunique() - 1
    figure = groups(frame, LOOKS, "flops", "vim_nano")
    for axes, (kind, labels) in zip(figure.axes, kinds.items(), strict=False):
        assert axes.get_title(loc="left") == kind
        lines = {str(line.get_label()): line for line in axes.get_lines()}
        for label in labels:
            rows = frame[frame["label"] == label].sort_values("total")
            values = np.asarray(lines[label].get_ydata(), float)
            # without the gaps where lines of the family would hide each other
            np.testing.assert_allclose(values[np.isfinite(values)], rows["top1"] * 100)
        behind = [line for line in axes.get_lines() if line.get_label() == "_rest"]
        assert len(behind) == frame["label"].nunique() - len(labels)
        assert {note.get_text() for note in named(axes)} == set(labels)
        assert axes.get_xlim() == figure.axes[0].get_xlim()
    figure.draw_without_rendering()
    numbers = [label.get_text() for label in figure.axes[-1].get_xticklabels()]
    assert len(numbers) >= 2
    assert all(numbers)


@pytest.mark.parametrize("width", [COLUMN, pytest.param(WIDTH, marks=pytest.mark.slow)])
def test_names_stay_in_their_panel_where_those_of_another_stretch_the_axis(width: float) -> None:
    frame = every_method((0.2, 0.3, 0.4, 0.5, 0.6))
    level = {
        name: 0.4 - 0.02 * place for place, name in enumerate(("tome = rmeeto", "pumer", "evit"))
    }
    frame = frame.assign(label=frame["label"].replace({"tome": "tome = rmeeto"}))
    for (
        name,
        top1,
    ) in (
        level.items()
    ):  # they lie furthest apart where least is removed: their names stand at the right
        mine = frame["label"] == name
        frame.loc[mine, "top1"] = top1 + (frame.loc[mine, "budget"] - 0.6) * (top1 - 0.4) * 20
    known = LOOKS | {"tome = rmeeto": LOOKS["tome"]}
    figure = groups(frame[frame["label"] != "rmeeto"], known, "flops", "vim_nano", width)
    boxes = iter(written(figure, [note for axes in figure.axes for note in named(axes)]))
    for axes in figure.axes:
        frame_box = axes.get_window_extent().padded(2)
        for box in itertools.islice(boxes, len(named(axes))):
            assert frame_box.x0 <= box.x0
            assert box.x1 <= frame_box.x1
    assert next(boxes, None) is None


def test_one_budget_is_a_ranking_of_what_is_stored(report: ReportData) -> None:
    part = report.frame[(report.frame["budget"] == 0.4) | report.frame["budget"].isna()]
    ranked = part[part["method"] != "none"].sort_values("top1", kind="stable")
    axes = pareto(part, report.looks, "flops", report.marks).axes[0]
    lines = {str(line.get_label()): line for line in axes.get_lines()}
    chart = charts.pareto(part, report.looks, "flops", report.marks)
    for place, row in enumerate(ranked.to_dict("records")):
        want = [100 * row["top1"]], [place]
        line, dot = lines[report.title(row["label"])], chart["data"][place]
        assert (list(np.asarray(line.get_xdata())), list(np.asarray(line.get_ydata()))) == want
        assert (dot["x"], dot["y"]) == (pytest.approx(want[0]), want[1])
        if "error_x" in dot:
            assert dot["error_x"]["array"][0] == pytest.approx(
                100 * (row["top1_high"] - row["top1"])
            )
    names = [words.get_text() for words in axes.get_yticklabels()]
    assert [name.replace("\n", "").split(" (")[0] for name in names] == [
        report.title(label) for label in ranked["label"]
    ]
    assert [name for name in names if "%" in name] == ["Smaller image (−49 %)"]
    assert "40 % of FLOPs removed" in axes.get_xlabel()
    assert [level["x0"] for level in chart["layout"]["shapes"]] == pytest.approx(
        [100 * part["top1"].iloc[0]]
    )

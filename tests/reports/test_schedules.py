"""The section on schedules: the figure shows each accuracy once, the words and tables the verdicts."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

import reports
from reports.figures.canvas import COLUMN, WIDTH
from reports.figures.schedules import FRAME, schedules_figure
from reports.style import looks
from suite.stats.metric import TOP1
from suite.stats.schedules import (
    OrderOverSchedules,
    ScheduleVerdicts,
    State,
    UnderSchedule,
    schedules_table,
)
from suite.store.schema import TABLES

pytestmark = pytest.mark.usefixtures("undrawn")

NAMES = ("constant-ratio", "constant-count", "one-shot", "staged", "rising", "falling")
LABELS = ["mtr", "utr", "random"]
DEPENDS: tuple[State, ...] = ("behind", "ahead", "ahead", "ahead", "open", "left out")


def accuracies(backbones: tuple[str, ...] = ("vim_nano",)) -> pd.DataFrame:
    """Every method under every schedule; mtr and random are tuned, utr misses one budget."""
    rows = []
    for number, (backbone, label, schedule) in enumerate(
        (b, m, s) for b in backbones for m in LABELS for s in NAMES
    ):
        missed = label == "utr" and schedule == "falling"
        row = dict.fromkeys(TABLES["schedule_accuracy"].columns)
        row |= {"backbone": backbone, "budget": 0.4, "label": label, "schedule": schedule}
        row |= {"top1": np.nan if missed else 0.2 + 0.0321 * (number % 18), "window": 0.0}
        row |= {"picked_window": np.nan, "seeds": 1.0, "images": 1000, "split": "dev"}
        row |= {"source": "table", "reason": "too much to remove" if missed else ""}
        if (label, schedule) in {("mtr", "staged"), ("random", "rising")}:
            row["picked_window"] = 4.0 if label == "random" else 0.0
        rows.append(row)
    return pd.DataFrame(rows)


def verdicts(backbone: str = "vim_nano") -> ScheduleVerdicts:
    under = []
    for name, state in zip(NAMES, DEPENDS, strict=True):
        gap = {"ahead": 0.123, "behind": -0.05, "open": 0.01}.get(state)
        under.append(UnderSchedule(name, state, 0.5, 0.4, gap, gap, gap, 0.01, 0.02))
    order = OrderOverSchedules("mtr", "utr", tuple(under))
    blind = OrderOverSchedules("mtr", "random", tuple(under), "random")
    return ScheduleVerdicts(backbone, 0.4, "table", "dev", 1000, (order, blind))


def test_each_cell_of_the_figure_has_its_accuracy_and_the_tuned_ones_a_frame() -> None:
    rows = accuracies(("vim_nano", "videomamba_nano"))
    figure = schedules_figure(rows, LABELS, looks(LABELS), TOP1, WIDTH)
    figure.draw_without_rendering()
    panels = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title("left") for axes in panels] == [
        "vim_nano, 40 % of FLOPs removed",
        "videomamba_nano, 40 % of FLOPs removed",
    ]
    for axes, backbone in zip(panels, ("vim_nano", "videomamba_nano"), strict=True):
        mine = rows[rows["backbone"] == backbone]
        shown = {}
        for text in axes.texts:
            column, row = (round(place) for place in text.get_position())
            shown[LABELS[row], NAMES[column]] = text.get_text()
        expected = {}
        for each in mine.itertuples():
            missed = np.isnan(each.top1)
            expected[each.label, each.schedule] = "–" if missed else f"{100 * each.top1:.1f}"
        assert shown == expected
        frames = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
        assert {to_hex(frame.get_edgecolor()) for frame in frames} == {FRAME["edgecolor"]}
        places = [(round(f.get_y() + 0.43), round(f.get_x() + 0.47)) for f in frames]
        assert places == [(0, 3), (2, 4)]
        assert [frame.get_linestyle() == "-" for frame in frames] == [True, False]


@pytest.mark.parametrize("width", [WIDTH, COLUMN])
@pytest.mark.parametrize("backbones", [("vim_nano",), ("vim_nano", "vim_pico", "deit_nano")])
def test_the_figure_fits_its_width_and_no_number_leaves_its_cell(
    width: float, backbones: tuple[str, ...]
) -> None:
    figure = schedules_figure(accuracies(backbones), LABELS, looks(LABELS), TOP1, width)
    figure.draw_without_rendering()
    assert figure.get_figwidth() == width
    for axes in figure.axes:
        if axes.images:
            cell = axes.get_window_extent().width / len(NAMES)
            assert all(text.get_window_extent().width < cell for text in axes.texts)


def page(fresh: Callable[[], Path], tables: dict[str, pd.DataFrame]) -> str:
    folder = fresh()
    for path in (folder / "analyses").glob("*.parquet"):
        path.unlink()
    for name, frame in tables.items():
        frame.to_parquet(folder / "analyses" / f"{name}.parquet")
    return reports.build(folder).read_text()


def test_the_page_says_what_depends_on_which_images_and_names_the_tuned_settings(
    fresh: Callable[[], Path],
) -> None:
    text = page(
        fresh,
        {"schedule_accuracy": accuracies(), "schedules": schedules_table([verdicts()])},
    )
    assert "Does the order depend on the schedule?" in text
    words = (
        "vim_nano at -40 % FLOPs, 1,000 dev images of the table of tries: mtr against {} depends on "
        "the schedule (ahead under 3 of 5 schedules under which both meet the budget; behind under "
        "1: constant-ratio; open under 1: rising)."
    )
    plain = text.replace("\u00a0", " ").replace("\u2212", "-")
    assert f"Equal schedules, {words.format('utr')}" in plain
    blind = f"Blind baselines under equal schedules, {words}"
    assert blind.format("random") in plain
    assert plain.count("An order that holds, or is not reversed: ahead under at least one") == 1
    assert "rising, window 4" in text
    assert "falling: too much to remove" in text
    assert "+12.3 ▲" in text
    assert "−5.0 ▼" in text
    assert ">depends<" in text


@pytest.mark.usefixtures("unmade")
def test_accuracies_without_pairs_are_shown_and_nothing_is_claimed(
    fresh: Callable[[], Path],
) -> None:
    rows = accuracies()
    text = page(fresh, {"schedule_accuracy": rows[rows["label"] == "mtr"]})
    assert "No two methods ran under the same schedules." in text
    assert "Order" not in text.partition('id="schedules"')[2].partition("</section>")[0]

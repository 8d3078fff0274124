"""The figure of how far each method is ahead of the best blind baseline."""

import numpy as np
import pytest

from reports.figures.canvas import COLUMN, WIDTH
from reports.figures.lead import lead_figure
from reports.style import looks
from suite.stats.blind_baselines import BlindComparison, LeadOverBaseline
from suite.stats.metric import TOP1

MARKS = [
    BlindComparison(
        "b",
        0.2,
        "pool",
        0.5,
        (
            LeadOverBaseline("tome", -0.02, -0.05, 0.01, 0.3, False),
            LeadOverBaseline("mtr", 0.03, 0.01, 0.05, 0.01, True),
        ),
    ),
    BlindComparison(
        "b", 0.4, "random", 0.3, (LeadOverBaseline("mtr", 0.01, -0.01, 0.03, 0.4, False),)
    ),
]


@pytest.mark.parametrize("width", [WIDTH, COLUMN])
def test_marks_and_intervals_stand_where_the_leads_say(width: float) -> None:
    drawn = looks(["mtr", "tome", "random"])
    figure = lead_figure(MARKS, drawn, "b", TOP1, width)
    for axes, mark in zip(figure.axes, MARKS, strict=True):
        title = f"−{100 * mark.budget:.0f} %, beside {mark.baseline}: {100 * mark.top1:.1f} %"
        assert axes.get_title(loc="left").replace("\n", " ") == title
        bars, points = axes.get_lines()[:-1:2], axes.get_lines()[1:-1:2]
        for lead, bar, point in zip(mark.leads, bars, points, strict=True):
            place = ["mtr", "tome"].index(lead.label)
            np.testing.assert_allclose(
                bar.get_xdata(), [100 * lead.difference_low, 100 * lead.difference_high]
            )
            np.testing.assert_allclose(point.get_xydata(), [[100 * lead.difference, place]])
            assert (point.get_markerfacecolor() != "white") == lead.shown
            assert (point.get_markeredgecolor() == "white") == lead.shown
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == ["mtr", "tome"]


def test_a_variant_that_was_shown_to_be_ahead_is_filled_though_its_look_is_hollow() -> None:
    labels = ["mtr", "mtr[order=appended]", "mtr[order=score]"]
    leads = tuple(
        LeadOverBaseline(label, 0.03, 0.01, 0.05, 0.01, label != "mtr[order=score]")
        for label in labels
    )
    drawn = looks(labels)
    assert not drawn[labels[1]].filled
    axes = lead_figure(
        [BlindComparison("b", 0.4, "random", 0.3, leads)], drawn, "b", TOP1, WIDTH
    ).axes[0]
    faces = [line.get_markerfacecolor() for line in axes.get_lines()[1:-1:2]]
    assert faces == [drawn[labels[0]].light, drawn[labels[1]].light, "white"]

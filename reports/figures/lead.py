"""Figures of leads: each method over the best blind baseline, or one over every other method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from reports.figures.canvas import COLUMN, GUIDE, heading, panel_rows, paper_style, stroke
from reports.figures.fonts import inches, wrapped
from reports.formatting import budget_name, fold
from reports.style import SOFT, Looks, title_of
from suite.stats.blind_baselines import BlindComparison, LeadOverBaseline, under
from suite.stats.compare import ALPHA
from suite.stats.metric import Metric

LINE = 0.19  # inches a method
LINE_OF_TITLE = 0.14
ACROSS = 3  # panels beside each other where there is the width


@dataclass(frozen=True)
class Panel:
    """What stands above a panel, and the lead on each of its lines."""

    words: str
    leads: Sequence[LeadOverBaseline]


def lead_figure(
    marks: Sequence[BlindComparison], looks: Looks, title: str, metric: Metric, width: float
) -> Figure:
    """Draw the difference in accuracy from the best blind baseline, with paired 95 % intervals.

    `marks` are the comparisons of one backbone in the order of their budgets, a panel each, with a
    line for each method. Filled marks were shown to be ahead, hollow ones were not.
    """
    panels = []
    for mark in marks:
        baseline = under(title_of(mark.baseline, looks), mark.setting)
        words = f"−{budget_name(mark.budget)}, beside {baseline}: {100 * mark.top1:.1f} %"
        panels.append(Panel(words, mark.leads))
    return leads_figure(
        panels, looks, title, f"the best blind baseline, {points_of(metric)}", width
    )


def ahead_figure(
    rows: pd.DataFrame, looks: Looks, title: str, metric: Metric, width: float
) -> Figure:
    """Draw how far a method is ahead of every other one, with paired 95 % intervals.

    `rows` are those of one backbone in the table ``ahead``; a panel a budget, and a line for each
    other method and the smaller image. Filled marks are of leads that the test shows.
    """
    panels = []
    for budget, part in rows.groupby("budget"):
        leads = [lead_of(row) for row in part.to_dict("records")]
        first = part.iloc[0]
        name, top1 = title_of(str(first["label"]), looks), 100 * first["top1"]
        words = f"−{budget_name(float(str(budget)))}, {name}: {top1:.1f} %"
        panels.append(Panel(words, leads))
    return leads_figure(panels, looks, title, f"every other method, {points_of(metric)}", width)


def lead_of(row: Mapping[Any, Any]) -> LeadOverBaseline:
    """The lead in a row of the table ``ahead``: shown by its test and its interval, or not."""
    p = 1.0 if pd.isna(row["p"]) else row["p"]
    low = row["difference_low"]
    shown = bool(p < ALPHA and low > 0)
    return LeadOverBaseline(
        row["reference"], row["difference"], low, row["difference_high"], p, shown
    )


def points_of(metric: Metric) -> str:
    """Unit of a difference, as an axis says it."""
    return f"points of {metric.name}"


def leads_figure(
    marks: Sequence[Panel], looks: Looks, title: str, of_what: str, width: float
) -> Figure:
    """Draw leads with their intervals, a panel of `marks` beside the next, a line a label."""
    there = {lead.label for mark in marks for lead in mark.leads}
    labels = [label for label in looks if label in there]
    across = min(len(marks), ACROSS if width > COLUMN else 1)
    with paper_style():
        names = [fold(looks[label].title, 24) for label in labels]
        lines = [name.splitlines() for name in names]
        beside = max(inches(line, 7) for name in lines for line in name)
        titles = []
        for mark in marks:
            room = (width - beside) / across - 0.2
            titles.append(wrapped(mark.words, room, 8.5, "bold"))
        # A name of several lines needs more room than its neighbours leave.
        step = max(LINE, 0.07 * (1 + max(map(len, lines))))
        tallest = max(title.count("\n") for title in titles)
        height = step * len(labels) + 0.8 + LINE_OF_TITLE * tallest
        figure, panels = panel_rows(len(marks), across, width, height, 0.25, sharey=True)
        heading(figure, title)
        for axes, mark, title in zip(panels, marks, titles, strict=True):
            axes.set_title(title)
            for lead in mark.leads:
                place = labels.index(lead.label)
                # hollow means "not shown" here, also for a method whose look is hollow elsewhere
                look = replace(looks[lead.label], filled=lead.shown)
                line = stroke(look) | {"linestyle": ""}
                interval = [100 * lead.difference_low, 100 * lead.difference_high]
                axes.plot(interval, [place, place], color=line["color"], linewidth=1.0)
                axes.plot([100 * lead.difference], [place], zorder=3, **line)
            axes.axvline(0, **GUIDE)
        panels[0].set_yticks(range(len(labels)), names)
        panels[0].set_ylim(len(labels) - 0.4, -0.6)
        below = wrapped(f"ahead of {of_what}", width, 8)
        figure.supxlabel(below, fontsize=8, color=SOFT["light"])
        return figure

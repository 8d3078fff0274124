"""Figure of what training wins back against the images that it sees, over several trainings."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from reports.figures.canvas import (
    COLUMN,
    Style,
    heading,
    legend_below,
    panel_rows,
    paper_style,
    stroke,
)
from reports.formatting import budget_name
from reports.style import SOFT, Look, Looks

HEIGHT = 2.6  # inches of a panel
CONTROL = "whole model, trained alike"


def recovery_figure(rows: pd.DataFrame, looks: Looks, title: str, width: float) -> Figure:
    """Draw top-1 against the training images seen, from the weights as they came at 0 on.

    `rows` are those of one backbone in the table ``retrained``, of trainings that were tested at
    their own budgets; a panel a budget, and a line a method with its 95 % intervals.
    """
    methods = rows[rows["budget"].notna()]
    budgets = sorted(methods["budget"].unique())
    with paper_style():
        across = min(len(budgets), 2 if width > COLUMN else 1)
        figure, panels = panel_rows(len(budgets), across, width, HEIGHT, 0.3, sharey=True)
        heading(figure, title)
        for axes, budget in zip(panels, budgets, strict=True):
            part = methods[methods["budget"] == budget].sort_values("trained_images")
            for label, look in looks.items():
                own = part[part["label"] == label]
                if len(own):
                    _method(axes, own, look)
            _control(axes, part.drop_duplicates("trained_images"))
            axes.set_title(f"−{budget_name(budget)} of FLOPs")
            axes.set_xlabel("training images seen")
            axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
            axes.xaxis.set_major_formatter("{x:,.0f}")
        panels[0].set_ylabel("top-1, %")
        legend_below(figure, panels, 4 if width > COLUMN else 2)
        return figure


def _method(axes: Axes, rows: pd.DataFrame, look: Look) -> None:
    """Draw a line from the method as the weights came through its trainings."""
    seen = [0, *rows["trained_images"]]
    accuracy = [rows["top1_before"].iloc[0], *rows["top1"]]
    axes.plot(seen, [100 * value for value in accuracy], label=look.title, **stroke(look))
    ends = 100 * rows["top1_low"], 100 * rows["top1_high"]
    axes.vlines(rows["trained_images"], *ends, color=look.light, linewidth=1.0, alpha=0.6)


def _control(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw the whole model, from the weights as they came through the same trainings."""
    seen = [0, *rows["trained_images"]]
    accuracy = [rows["dense_top1"].iloc[0], *rows["control_top1"]]
    style: Style = {"color": SOFT["light"], "linestyle": "--", "linewidth": 1.0}
    axes.plot(seen, [100 * value for value in accuracy], label=CONTROL, **style)

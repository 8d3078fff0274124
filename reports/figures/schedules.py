"""Figure of what each method keeps under each schedule."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from reports.figures.canvas import COLUMN, Array, Style, new_figure, panel_width, paper_style
from reports.figures.tokens import MAP
from reports.formatting import budget_name, distinct_names, fold, number
from reports.style import ON_DARK, ON_PALE, SOFT, Looks
from suite.stats.metric import Metric

ACROSS = 2  # panels beside each other at the width of a page
LINE = 0.21  # inches a method
AROUND = 1.35  # inches of title, names of schedules, and scale
UPRIGHT = 5.0  # inches of a panel in which the names of schedules have room beside each other
FAMILY = ["backbone", "budget"]
# red on a white rim, so that it shows on dark cells in grey print, too
RIM = [withStroke(linewidth=2.8, foreground=ON_DARK)]
FRAME: Style = {"fill": False, "edgecolor": "#d1291c", "linewidth": 1.3, "path_effects": RIM}


def schedules_figure(
    rows: pd.DataFrame, labels: Sequence[str], looks: Looks, metric: Metric, width: float
) -> Figure:
    """Draw top-1 as a coloured cell for each method and schedule, a panel for each backbone.

    `rows` are those of the table ``schedule_accuracy``. A frame marks the tuned schedule of a
    method, a dashed one if it was tuned to another class-token window than the cell's. A cell
    without a number could not meet the budget.
    """
    families = [(key, part) for key, part in rows.groupby(FAMILY, sort=False)]
    schedules = list(dict.fromkeys(rows["schedule"]))
    across = min(ACROSS if width > COLUMN else 1, len(families))
    lines = -(-len(families) // across)
    shares = 100 * rows["top1"].dropna()
    # Whole tens: a scale that a reader can place a number on.
    low, high = 10 * np.floor(shares.min() / 10), 10 * np.ceil(shares.max() / 10)
    norm = mpl.colors.Normalize(low, max(high, low + 10))
    titles = [looks[label].title for label in labels]
    names = [fold(name, 18) for name in distinct_names(titles)]
    height = LINE * sum(1 + name.count("\n") for name in names)
    with paper_style():
        figure = new_figure(width, lines * (height + AROUND))
        panels = figure.subplots(lines, across, squeeze=False, sharey=True).ravel()
        for axes, (key, part) in zip(panels, families, strict=False):
            _panel(axes, part, labels, schedules, norm)
            axes.set_title(f"{key[0]}, {budget_name(key[1])} of FLOPs removed")
        for axes in panels[len(families) :]:
            axes.set_axis_off()
        for axes in panels[::across]:
            axes.set_yticks(range(len(labels)), names)
            for tick, label in zip(axes.get_yticklabels(), labels, strict=True):
                tick.set_color(looks[label].light)
        colours = mpl.cm.ScalarMappable(norm, sns.color_palette(MAP, as_cmap=True))
        bar = figure.colorbar(
            colours, ax=list(panels), location="bottom", shrink=0.5, aspect=40, pad=0.02
        )
        bar.set_label(f"{metric.axis}, %")
        bar.outline.set_visible(False)
        return figure


def _panel(
    axes: Axes,
    rows: pd.DataFrame,
    labels: Sequence[str],
    schedules: Sequence[str],
    norm: mpl.colors.Normalize,
) -> None:
    """Draw the cells of one backbone with their numbers, and frame the tuned schedules."""
    table: Array = np.full((len(labels), len(schedules)), np.nan)
    for row in rows.itertuples():
        table[labels.index(row.label), schedules.index(row.schedule)] = 100 * row.top1
    palette = sns.color_palette(MAP, as_cmap=True)
    axes.imshow(table, cmap=palette, norm=norm, aspect="auto")
    axes.grid(False)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xticks(range(len(schedules)), schedules)
    if panel_width(axes) < UPRIGHT:
        slanted: Style = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"}
        axes.set_xticks(range(len(schedules)), schedules, **slanted)
    for (row, column), value in np.ndenumerate(table):
        # pale cells need dark digits; those without a number have the colour of the page
        shade = ON_PALE if norm(value) > 0.6 else ON_DARK
        shade = shade if np.isfinite(value) else SOFT["light"]
        axes.text(
            column, row, number(value, 1), ha="center", va="center", fontsize=6.5, color=shade
        )
    for row in rows[rows["picked_window"].notna()].itertuples():
        corner = schedules.index(row.schedule) - 0.47, labels.index(row.label) - 0.43
        # A tuned window that is not the default's is not the one whose accuracy is in the cell.
        dashes = "-" if row.picked_window == row.window else (0, (2, 1.5))
        axes.add_patch(Rectangle(corner, 0.94, 0.86, linestyle=dashes, **FRAME))

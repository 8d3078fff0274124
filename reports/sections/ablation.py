"""Ablations: one axis of a method varied at a time, with what that shows in words."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.figures.canvas import GUIDE, Array, Style, legend_below, new_figure, paper_style
from reports.figures.names import Tag, near
from reports.formatting import budget_name, fold, p_value, percent
from reports.report_data import ReportData
from reports.run import Row, Run
from reports.section import Drawing, Frames, Section, Table, scaled_table, stored
from reports.style import CYCLE, INK, KNOWN, MARKERS, SOFT
from suite.stats.ablation_words import ablation_answers
from suite.stats.compare import ENVELOPE
from suite.stats.correctness import counted
from suite.stats.metric import Metric
from suite.stats.verdict import too_few

NEEDS = stored("ablation", "ablation_sentences")
# Columns of the table and their heads; an interval follows its value.
HEADS = {
    "setting": "Setting",
    "method": "Around",
    "backbone": "Backbone",
    "budget": "FLOPs removed, %",
    "seeds": "Seeds",
    "top1": "{metric}, %",
    "difference": "Difference, points",
    "difference_low": "from",
    "difference_high": "to",
    "p_holm": "p (Holm)",
    "agreement": "Agreement, %",
    "tau": "Tau",
    "reason": "Not measured",
}
# Stored as fractions.
PERCENTAGES = {
    "budget",
    "top1",
    "difference",
    "difference_low",
    "difference_high",
    "agreement",
}
DIGITS = {
    "FLOPs removed, %": 0,
    "Seeds": 0,
    "Difference, points": 1,
    "from": 1,
    "to": 1,
    "Agreement, %": 1,
    "Tau": 2,
}
READING = (
    "One line per setting: left its {}, right its paired difference from the unchanged "
    "method (the diamond), with 95 % intervals; a filled mark is significant after Holm's "
    "correction over its panel, a hollow one is not."
)
BY_TAU = (
    "{} and agreement with the dense model against Kendall's tau between the order of the "
    "surviving tokens and that of the image, measured image by image after every site and "
    "averaged: 1 is the image's order, 0 a random one, -1 the reverse. The line joins shuffles of "
    "a growing share of the tokens; the other orders are named."
)
FAMILY = ["backbone", "method", "budget"]
LINE = 0.19  # inches a setting
TEXT = 0.7  # of it, a line of text
COLOURS = {
    "lower": KNOWN["tome"][0],
    "higher": KNOWN["mtr"][0],
    "open": SOFT["light"],
    "reference": INK["light"],
}


def section(report: ReportData, frames: Frames) -> Section | None:
    """Build a figure and a table for each axis."""
    rows, words = frames["ablation"], frames["ablation_sentences"]
    axes = list(rows["axis"].unique())
    figures, tables = [], []
    # In the order of the stored table.
    for axis in axes:
        of_axis = rows[rows["axis"] == axis]
        figures += _drawings(report, axis, of_axis)
        tables.append(_table(axis, of_axis, report.run))
    first, *others = words["sentence"]
    return Section(
        key="ablation",
        part="answer",
        title="One choice at a time",
        sentence=first,
        figures=tuple(figures),
        tables=tuple(tables),
        notes=(*others, *_power_note(rows, report.run.kind)),
        brief=_brief(report, rows),
    )


def _brief(report: ReportData, rows: pd.DataFrame) -> str:
    """The answer of a run that varies settings, on each backbone."""
    answers = ablation_answers(rows, report.title)
    if not answers:
        return "No setting was evaluated beside the method as it is."
    return " ".join(row["sentence"] for row in answers)


def _power_note(rows: pd.DataFrame, kind: str) -> tuple[str, ...]:
    """Say how small a difference the images, or videos, can show."""
    # The reference itself and skipped settings have no difference to detect.
    tested = rows.dropna(subset=["smallest", "images"])
    if tested.empty:
        return ()
    images = int(tested["images"].max())
    possible = tested[tested["smallest"] < 1]
    if possible.empty:
        return (f"A hollow mark rules nothing out: {too_few(images, kind)}.",)
    low, high = percent(possible["smallest"].min()), percent(possible["smallest"].max())
    least, depending = low, ""
    if low != high:
        least = f"{low} to {high}"
        depending = ", depending on how many answers the two settings share"
    return (
        f"With {counted(images, kind)}, a difference below {least} points is easily missed"
        f"{depending}: a hollow mark does not rule one out.",
    )


def _drawings(report: ReportData, axis: str, rows: pd.DataFrame) -> list[Drawing]:
    # An axis without a single evaluated setting has a table of reasons only.
    if not (rows["status"] == "ok").any():
        return []
    metric = report.run.metric
    drawings = [
        Drawing(
            f"ablation-{axis}",
            partial(axis_figure, rows, report.title, metric),
            READING.format(metric.axis),
            f"{metric.title} of every setting of the axis {axis}, and its difference from the "
            "unchanged method.",
        )
    ]
    # Only orders have a Kendall's tau.
    if axis == "order":
        by_tau = Drawing(
            "ablation-order-tau",
            partial(order_figure, rows, report.title, metric),
            BY_TAU.format(metric.title),
            f"{metric.title} and agreement against Kendall's tau of the surviving tokens.",
        )
        drawings.append(by_tau)
    return drawings


def _table(axis: str, rows: pd.DataFrame, run: Run) -> Table:
    heads = {name: head.format(metric=run.metric.title) for name, head in HEADS.items()}
    # A column of reasons is shown where a setting could not be measured.
    if not rows["reason"].any():
        del heads["reason"]
    # As text: with fixed digits a small p would read as zero.
    formatted = rows.assign(p_holm=rows["p_holm"].map(p_value))
    # Skipped settings have no count of images, and an axis may have no others.
    images = int(rows["images"].max()) if rows["images"].notna().any() else 0
    caption = (
        f"Axis {axis}, {counted(images, run.kind)}: every setting, its paired difference from the "
        "reference, 95 % intervals."
    )
    if (rows["interval"] == "range").any():
        caption += f" {ENVELOPE}"
    return Table(
        f"ablation-{axis}",
        caption,
        scaled_table(formatted, heads, PERCENTAGES),
        DIGITS | {heads["top1"]: 1},
    )


def family_name(backbone: str, method: str, budget: float) -> str:
    """Return the title of one method on one backbone at one budget."""
    done = f"{budget_name(budget)} of FLOPs removed" if budget else "nothing removed"
    return f"{method} on {backbone}, {done}" if budget else f"{backbone}, {done}"


def verdict(row: Row) -> str:
    """Return how a setting compares with the reference: reference, lower, higher or open."""
    if row["is_reference"]:
        return "reference"
    if not row["significant"]:
        return "open"
    return "lower" if row["difference"] < 0 else "higher"


def axis_figure(
    rows: pd.DataFrame, title: Callable[[str], str], metric: Metric, width: float
) -> Figure:
    """Draw accuracy and the paired difference from the unchanged method, a line a setting.

    `rows` are those of one axis in the table ``ablation``. Each backbone, method and budget has a
    row of two panels, accuracy on the left and the difference on the right, with 95 % intervals.
    Filled marks differ significantly from the reference after Holm's correction, hollow ones do
    not. `title` is what figures call a method.
    """
    rows = rows[rows["status"] == "ok"]
    families = [(key, part) for key, part in rows.groupby(FAMILY, sort=False)]
    heights = [LINE * (places(part["setting"])[-1] + 0.5) + 0.75 for _, part in families]
    with paper_style():
        figure = new_figure(width, sum(heights))
        grid = figure.subplots(len(families), 2, squeeze=False, height_ratios=heights)
        for (left, right), (key, part) in zip(grid, families, strict=True):
            records = part.to_dict("records")
            *marks, end = places(part["setting"])
            for height, row in zip(marks, records, strict=True):
                _mark(left, height, row, ("top1", "top1_low", "top1_high"))
                if not row["is_reference"]:
                    _mark(right, height, row, ("difference", "difference_low", "difference_high"))
            for row in records:
                if row["is_reference"]:
                    left.axvline(100 * row["top1"], **GUIDE)
            right.axvline(0, **GUIDE)
            left.set_yticks(marks, [folded(row["setting"]) for row in records])
            right.set_yticks(marks, [])
            for axes in (left, right):
                # settings read from the top down, as in the table
                axes.set_ylim(end + 0.1, -0.6)
            backbone, method, budget = key
            left.set_title(family_name(backbone, title(method), budget))
            left.set_xlabel(f"{metric.axis}, %")
            right.set_xlabel("difference from the reference, points")
        return figure


def folded(setting: str) -> str:
    """The name of a setting in lines, as it stands beside the axes."""
    return fold(setting, 34)


def places(settings: Iterable[str]) -> list[float]:
    """Heights of the marks of `settings`, from the top down, and that of the lower edge.

    A setting of one line takes a room of 1 round its mark, the first round 0; a name of several
    lines takes more.
    """
    heights, edge = [], -0.5
    for setting in settings:
        lines = folded(setting).count("\n") + 1
        room = max(1.0, TEXT * lines)
        heights.append(edge + room / 2)
        edge += room
    return [*heights, edge]


def _mark(axes: Axes, height: float, row: Row, names: tuple[str, str, str]) -> None:
    """Draw a mark with its interval; `names` are the columns of value, low and high."""
    value, low, high = (100 * row[name] for name in names)
    kind = verdict(row)
    colour = COLOURS[kind]
    axes.plot([low, high], [height, height], color=colour, linewidth=1.0, zorder=2)
    # hollow marks stay legible in grey print, where the colours do not
    face = "white" if kind == "open" else colour
    marker = "D" if kind == "reference" else "o"
    look: Style = {
        "marker": marker,
        "markersize": 4,
        "color": colour,
        "markerfacecolor": face,
    }
    axes.plot([value], [height], zorder=3, **look)


def order_figure(
    rows: pd.DataFrame, title: Callable[[str], str], metric: Metric, width: float
) -> Figure:
    """Draw accuracy and agreement with the dense model against Kendall's tau of the token order.

    `rows` are those of the axis ``order`` in the table ``ablation``. A line joins the shuffles of
    a method; its other orders are points with a name. Hollow marks: no token was removed. `title`
    is what figures call a method.
    """
    rows = rows[rows["status"] == "ok"]
    with paper_style():
        figure = new_figure(width, 3.1)
        panels = figure.subplots(1, 2)
        tags: list[list[Tag]] = [[], []]
        joined: list[list[Array]] = [[], []]
        for index, (key, part) in enumerate(rows.groupby(FAMILY, sort=False)):
            light, _, marker = CYCLE[index % len(CYCLE)]
            backbone, method, budget = key
            name = family_name(backbone, title(method), budget)
            removed = bool(budget)
            style = {
                "color": light,
                "marker": MARKERS[marker][0],
                "markersize": 4.5,
                "markerfacecolor": light if removed else "white",
            }
            # the unchanged order is the shuffle of none, so it begins the line
            shuffled = part["setting"].str.contains("shuffle=") | part["is_reference"]
            line = part[shuffled].sort_values("tau")
            for panel, (axes, column) in enumerate(zip(panels, ("top1", "agreement"), strict=True)):
                points = np.column_stack((line["tau"], 100 * line[column])).astype(np.float64)
                axes.plot(*points.T, label=name, zorder=3, **style)
                # names keep clear of the line between two points, too
                joined[panel] += [points, (points[1:] + points[:-1]) / 2]
                for row in part[~shuffled].to_dict("records"):
                    point = np.array([[row["tau"], 100 * row[column]]], dtype=np.float64)
                    axes.plot(*point.T, linestyle="", zorder=3, **style)
                    order = str(row["setting"]).rpartition("order=")[2]
                    tags[panel].append(Tag(order, light, point))
        panels[0].set_ylabel(f"{metric.axis}, %")
        panels[1].set_ylabel("same prediction as dense, %")
        for axes in panels:
            axes.set_xlabel("Kendall's tau of the surviving tokens")
            axes.set_ylim(bottom=0)
            axes.margins(x=0.08)
        legend_below(figure, panels[:1], 2 if width > 5 else 1)
        # the positions of names depend on the finished layout
        figure.draw_without_rendering()
        for axes, names_there, lines in zip(panels, tags, joined, strict=True):
            near(axes, names_there, np.concatenate(lines))
        return figure

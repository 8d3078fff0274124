"""Figure of what each method keeps with the weights as they came, and retrained under it."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.figures.canvas import (
    ABOVE,
    COLUMN,
    NOTE,
    THIN,
    heading,
    panel_rows,
    paper_style,
    stroke,
)
from reports.figures.fonts import wrapped
from reports.formatting import budget_name, fold, percent
from reports.style import SOFT, Look, Looks
from suite.stats.recovery_words import budget_words

LINE = 0.24  # inches a method
AROUND = 0.85  # inches of a panel's title, levels and numbers
ACROSS = 2  # panels beside each other where there is the width


def retrained_figure(rows: pd.DataFrame, looks: Looks, title: str, width: float) -> Figure:
    """Draw top-1 before (hollow) and after retraining (filled, with its 95 % interval).

    `rows` are those of one backbone in the table ``retrained``; a panel a budget, and a line a
    method, or a training where a panel has several of a method. Upright lines show the whole model
    as it came, and trained alike.
    """
    methods = rows[rows["budget"].notna()]
    methods = methods.assign(trained=trained_as(methods))
    budgets = sorted(methods["budget"].unique())
    lines = []
    for label in looks:
        for trained in methods.loc[methods["label"] == label, "trained"].unique():
            lines.append((label, trained))
    across = min(len(budgets), ACROSS if width > COLUMN else 1)
    with paper_style():
        names = []
        for label, trained in lines:
            names.append(fold(f"{looks[label].title}{trained and ', '}{trained}", 24))
        height = LINE * len(lines) + AROUND
        figure, panels = panel_rows(len(budgets), across, width, height, 0.3, sharey=True)
        heading(figure, title)
        for axes, budget in zip(panels, budgets, strict=True):
            part = methods[methods["budget"] == budget].set_index(["label", "trained"])
            axes.set_title(f"−{budget_name(budget)} of FLOPs", pad=14)
            for place, line in enumerate(lines):
                if line in part.index:
                    _method(axes, part.loc[line], place, looks[line[0]])
            levels = part[["dense_top1", "control_top1"]].iloc[0]
            _levels(axes, float(levels["dense_top1"]), float(levels["control_top1"]))
        panels[0].set_yticks(range(len(lines)), names)
        panels[0].set_ylim(len(lines) - 0.4, -0.6)
        below = wrapped("top-1, %: hollow as the weights came, filled retrained", width, 8)
        figure.supxlabel(below, fontsize=8, color=SOFT["light"])
        return figure


def trained_as(rows: pd.DataFrame) -> list[str]:
    """What tells trainings of one method apart: budgets, images seen, run, or nothing."""
    # Of merged runs a training has the name of its own, where names would be the same.
    rows = rows.assign(run=rows["training"].str.rpartition("/")[0])
    told = pd.Series("", rows.index)
    for column, words in (
        ("trained_budgets", lambda text: f"trained at {budget_words(text).replace('-', '−')}"),
        ("trained_images", lambda images: f"{int(images):,} images"),
        ("run", str),
    ):
        places = [rows["label"], rows["budget"], told]
        if rows.groupby(places)[column].nunique().max() > 1:
            apart = told.map(lambda text: f"{text}, " if text else "")
            told = apart + rows[column].map(words)
    return told.tolist()


def _method(axes: Axes, row: pd.Series, place: int, look: Look) -> None:
    """Draw both marks of a method on its line, and the way from one to the other."""
    # A hollow star or cross would not be told from a filled one; the line has the method's name.
    look = replace(look, marker="circle")
    before, after = 100 * row["top1_before"], 100 * row["top1"]
    ends = 100 * row["top1_low"], 100 * row["top1_high"]
    axes.hlines(place, *ends, color=look.light, linewidth=1.0)
    axes.hlines(place, before, after, color=look.light, linewidth=3.0, alpha=0.35)
    for value, filled in ((before, False), (after, True)):
        mark = stroke(replace(look, filled=filled)) | {"linestyle": ""}
        axes.plot([value], [place], zorder=3, **mark)


def _levels(axes: Axes, dense: float, control: float) -> None:
    """Draw the whole model as it came, named above the axes, and trained alike, named in them."""
    levels = ((dense, "dense", 1.0, 0, 2), (control, "dense, trained alike", 0.0, 3, 3))
    for value, *_ in levels:
        axes.axvline(100 * value, **THIN)
    middle = sum(axes.get_xlim()) / 2
    for value, name, edge, beside, above in levels:
        # Towards the middle, where there is room: a panel may be as narrow as the words.
        left = 100 * value < middle
        place = {"xytext": (beside if left else -beside, above), "ha": "left" if left else "right"}
        words = f"{name} {percent(value)}"
        axes.annotate(words, (100 * value, edge), xycoords=ABOVE, **NOTE | place)

"""Pictures of a run with the fate of their tokens under each method."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.figures.canvas import (
    COLUMN,
    COLUMN_NAME,
    ROW_NAME,
    WIDTH,
    heading,
    new_figure,
    paper_style,
    picture,
)
from reports.figures.fonts import wrapped
from reports.formatting import distinct_names, fold, percent
from reports.report_data import ReportData
from reports.run import Run
from reports.style import INK, SOFT
from reports.token_overlay import DROPPED, SPECIAL, overlay

CLEAR, MERGED = "clear: a token of its own", "flat colour: merged, mean colour of the token"
# the key names a fate only if a picture shows it
FATES = {DROPPED: "dark: dropped", SPECIAL: "white: in a special token"}
INCHES_A_SMALL_LINE = 0.12  # of the words below the pictures
NAMED = 8  # methods without room of which each is named


def gallery(
    report: ReportData,
    rows: pd.DataFrame,
    labels: list[str],
    title: str,
    width: float = WIDTH,
    absent: Sequence[str] = (),
) -> Figure:
    """Draw a row for each picture: the dense model's answer, then a panel for each method.

    `rows` are gallery rows of one backbone and budget, one for each (image, label). `absent` are
    the methods without room, which the words below the figure name.
    """
    assert report.shape is not None
    cells = {}
    for row in rows[rows["label"].isin(labels)].to_dict("records"):
        cells[row["image"], row["label"]] = row
    images = [image for image in report.pictures if any(image == shown for shown, _ in cells)]
    with paper_style():
        size = width / (len(labels) + 1)
        missing = [report.title(label) for label in absent]
        below = _words_below([row["owner"] for row in cells.values()], labels, missing, width)
        more = extra_lines(report.run, rows, size)
        height = size * report.shape[0] / report.shape[1] + 0.24 + 0.2 * more
        names = [fold(name, 14) for name in ["dense", *map(report.title, labels)]]
        above = INCHES_A_SMALL_LINE * max(name.count("\n") for name in names)
        height = height * max(len(images), 1) + 0.65 + above
        figure = _sheet(width, height, title, below)
        panels = figure.subplots(max(len(images), 1), len(labels) + 1, squeeze=False)
        for line, image in zip(panels, images, strict=False):
            for axes, label in zip(line[1:], labels, strict=True):
                if (image, label) not in cells:
                    axes.set_axis_off()
                    continue
                row = cells[image, label]
                owner = np.asarray(row["owner"], dtype=np.int64)
                picture(axes, overlay(report.pictures[image], owner, report.shape))
                answer(axes, report.run, row, size)
            # every cell of an image stores the dense model's answer
            picture(line[0], report.pictures[image])
            answer(line[0], report.run, row, size, "dense_")
            line[0].set_xlabel(f"{line[0].get_xlabel()}\n{_truth(report.run, row, size)}")
        for axes, lines in zip(panels[0], names, strict=True):
            longest = max(map(len, lines.split("\n")))
            # in points: no title is wider than its panel
            axes.set_title(lines, **COLUMN_NAME | {"fontsize": min(7.0, 118 * size / longest)})
        return figure


def layers(
    report: ReportData,
    rows: pd.DataFrame,
    labels: list[str],
    blocks: list[int],
    title: str,
    width: float = WIDTH,
    absent: Sequence[str] = (),
) -> Figure:
    """Draw one picture under each method of `labels` (a row each) as it enters each of `blocks`.

    `rows` are gallery rows of one backbone, budget and image; a block shows the last reduction at
    or before it. The words below name the true class, and the methods that are `absent`.
    """
    assert report.shape is not None
    shape, pixels = report.shape, report.pictures[int(rows["image"].iloc[0])]
    with paper_style():
        size = (width - 0.9) / (len(blocks) + 1)
        missing = [report.title(label) for label in absent]
        owners = rows.loc[rows["label"].isin(labels), "owner"]
        below = _words_below(owners, labels, missing, width)
        more = extra_lines(report.run, rows, size)
        height = (size * shape[0] / shape[1] + 0.16 + 0.1 * more) * max(len(labels), 1) + 0.75
        figure = _sheet(width, height, title, below)
        panels = figure.subplots(max(len(labels), 1), len(blocks) + 1, squeeze=False)
        for line, label in zip(panels, labels, strict=False):
            mine = rows[rows["label"] == label].sort_values("block")
            final = mine.iloc[-1]
            picture(line[0], pixels)
            line[0].set_ylabel(fold(report.title(label), 14), **ROW_NAME)
            truth = _truth(report.run, final, size)
            line[0].set_xlabel(truth, fontsize=6, labelpad=2, color=INK["light"])
            for axes, block in zip(line[1:], blocks, strict=True):
                before = mine[mine["block"] <= block]
                # before the first reduction every token is its own
                owner = before.iloc[-1]["owner"] if len(before) else np.arange(shape[0] * shape[1])
                picture(axes, overlay(pixels, np.asarray(owner, dtype=np.int64), shape))
            answer(line[-1], report.run, final, size)
        names = ["picture", *(f"block {block}" for block in blocks)]
        for axes, name in zip(panels[0], names, strict=True):
            axes.set_title(name, **COLUMN_NAME | {"fontsize": 7})
        return figure


def _sheet(width: float, height: float, title: str, below: str) -> Figure:
    """Return a figure with its title, higher by the lines of the words `below`."""
    figure = new_figure(width, height + INCHES_A_SMALL_LINE * below.count("\n"), pad=0.02)
    heading(figure, title)
    figure.supxlabel(below, x=0.01, ha="left", fontsize=7, color=SOFT["light"])
    return figure


def _words_below(
    owners: Iterable[Any], labels: Sequence[str], absent: Sequence[str], width: float
) -> str:
    """Return the key of token fates and the names of absent methods, in lines that fit."""
    fates = set().union(*map(set, owners))
    key = [CLEAR, MERGED, *(words for fate, words in FATES.items() if fate in fates)]
    lines = ["    ".join(key)] if width > COLUMN else key
    if absent:
        some = f"The first {len(labels)} of {len(labels) + len(absent)} methods"
        # a longer list would take more room than the pictures
        if len(absent) <= NAMED:
            some += f"; not shown: {', '.join(distinct_names(absent))}"
        lines += wrapped(f"{some}.", width - 0.1, 7).splitlines()
    return "\n".join(lines)


def _truth(run: Run, row: Mapping[Any, Any], room: float) -> str:
    """Return the true class in lines short enough for a panel of `room` inches."""
    return wrapped(f"true: {run.class_name(row['label_true'])[:20]}", room, 6)


def _in_lines(name: str, share: str, room: float) -> str:
    """Return an answer in lines that fit below a panel, also with a cross before them."""
    return wrapped(f"{name[:14]} {share} %", room - 0.15, 6)


def extra_lines(run: Run, rows: pd.DataFrame, room: float) -> int:
    """Return how many lines the longest answer of gallery rows has beyond the first."""
    named = set()
    for row in rows.to_dict("records"):
        named |= {run.answer(row).name, run.answer(row, "dense_").name}
    return max([0, *(_in_lines(name, "100", room).count("\n") for name in named)])


def answer(
    axes: Axes,
    run: Run,
    row: Mapping[Any, Any],
    room: float,
    whose: str = "",
    right: bool | None = None,
) -> None:
    """Write an answer of a gallery row below a picture of `room` inches, in red if it is wrong.

    `whose` is ``dense_`` for the dense model's. Whether it is `right` is read from the row if it is
    not known already.
    """
    given = run.answer(row, whose)
    right = given.right if right is None else right
    words = f"{'' if right else '× '}{_in_lines(given.name, percent(given.share, 0), room)}"
    axes.set_xlabel(words, fontsize=6, labelpad=2, color=INK["light"] if right else "#b3261e")

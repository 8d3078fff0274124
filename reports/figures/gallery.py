"""Pictures of a run with the fate of their tokens under each method."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.figures.canvas import COLUMN, WIDTH, blank, heading, new_figure, paper_style
from reports.formatting import distinct_names, fold, percent
from reports.run import Run
from reports.style import INK, SOFT
from reports.token_overlay import DROPPED, SPECIAL, Pixels, overlay

CLEAR, MERGED = "clear: a token of its own", "flat colour: merged, mean colour of the token"
# the key names a fate only if a picture shows it
FATES = {DROPPED: "dark: dropped", SPECIAL: "white: in a special token"}
INCHES_A_SMALL_LETTER, INCHES_A_SMALL_LINE = 0.057, 0.12  # of the words below the pictures
NAMED = 8  # methods without room of which each is named


def gallery(
    run: Run,
    rows: pd.DataFrame,
    pictures: Mapping[int, Pixels],
    shape: tuple[int, int],
    labels: list[str],
    title: str,
    width: float = WIDTH,
    absent: Sequence[str] = (),
) -> Figure:
    """Draw a row for each picture: the dense model's answer, then a panel for each method.

    `rows` are gallery rows of one backbone and budget, one for each (image, label). `absent` are
    the methods without room, which the words below the figure name.
    """
    cells = {(int(row.image), str(row.label)): row for row in rows.itertuples()}
    images, owners = [], []
    for image in pictures:
        shown = [cells[image, label] for label in labels if (image, label) in cells]
        if shown:
            images.append(image)
            owners += [cell.owner for cell in shown]
    with paper_style():
        size = width / (len(labels) + 1)
        below = _words_below(owners, labels, absent, width)
        height = (size * shape[0] / shape[1] + 0.2) * max(len(images), 1) + 0.65
        figure = _sheet(width, height, title, below)
        panels = figure.subplots(max(len(images), 1), len(labels) + 1, squeeze=False)
        for line, image in zip(panels, images, strict=False):
            # every cell of an image stores the dense model's answer
            row = next(cells[image, label] for label in labels if (image, label) in cells)
            answer = row.dense_prediction, row.dense_confidence, row.label_true
            _panel(line[0], pictures[image], run, *answer)
            line[0].set_xlabel(f"{line[0].get_xlabel()}\n{_truth(run, row.label_true)}")
            for axes, label in zip(line[1:], labels, strict=True):
                cell = cells.get((image, label))
                if cell is None:
                    axes.set_axis_off()
                    continue
                owner = np.asarray(cell.owner, dtype=np.int64)
                drawn = overlay(pictures[image], owner, shape)
                _panel(axes, drawn, run, cell.prediction, cell.confidence, cell.label_true)
        for axes, name in zip(panels[0], ["dense", *labels], strict=True):
            lines = fold(name, 14)
            longest = max(map(len, lines.split("\n")))
            # in points: no title is wider than its panel
            fitting = min(7.0, 118 * size / longest)
            axes.set_title(lines, fontsize=fitting, loc="center", fontweight="normal")
        return figure


def layers(
    run: Run,
    rows: pd.DataFrame,
    pixels: Pixels,
    shape: tuple[int, int],
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
    with paper_style():
        size = (width - 0.9) / (len(blocks) + 1)
        below = _words_below(rows.loc[rows["label"].isin(labels), "owner"], labels, absent, width)
        height = (size * shape[0] / shape[1] + 0.16) * max(len(labels), 1) + 0.75
        figure = _sheet(width, height, title, below)
        panels = figure.subplots(max(len(labels), 1), len(blocks) + 1, squeeze=False)
        for line, label in zip(panels, labels, strict=False):
            mine = rows[rows["label"] == label].sort_values("block")
            final = mine.iloc[-1]
            blank(line[0])
            line[0].imshow(pixels, interpolation="nearest")
            beside: dict[str, Any] = {
                "rotation": 0,
                "ha": "right",
                "va": "center",
                "color": "black",
            }
            line[0].set_ylabel(fold(label, 14), fontsize=7, **beside)
            truth = _truth(run, final["label_true"])
            line[0].set_xlabel(truth, fontsize=6, labelpad=2, color=INK["light"])
            for axes, block in zip(line[1:], blocks, strict=True):
                blank(axes)
                before = mine[mine["block"] <= block]
                # before the first reduction every token is its own
                owner = before.iloc[-1]["owner"] if len(before) else np.arange(shape[0] * shape[1])
                drawn = overlay(pixels, np.asarray(owner, dtype=np.int64), shape)
                axes.imshow(drawn, interpolation="nearest")
            _answer(line[-1], run, final["prediction"], final["confidence"], final["label_true"])
        names = ["picture", *(f"block {block}" for block in blocks)]
        for axes, name in zip(panels[0], names, strict=True):
            axes.set_title(name, fontsize=7, loc="center", fontweight="normal")
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
    fates: set[int] = set()
    for owner in owners:
        fates |= {int(place) for place in np.unique(owner)}
    key = [CLEAR, MERGED]
    key += [words for fate, words in FATES.items() if fate in fates]
    lines = ["    ".join(key)] if width > COLUMN else key
    if absent:
        some = f"The first {len(labels)} of {len(labels) + len(absent)} methods"
        # a longer list would take more room than the pictures
        if len(absent) <= NAMED:
            some += f"; not shown: {', '.join(distinct_names(absent))}"
        lines += textwrap.wrap(f"{some}.", int(width / INCHES_A_SMALL_LETTER))
    return "\n".join(lines)


def _truth(run: Run, truth: Any) -> str:
    """Return the true class in words short enough for a panel."""
    return f"true: {run.class_name(truth)[:20]}"


def _panel(
    axes: Axes, pixels: Pixels, run: Run, prediction: Any, confidence: Any, truth: Any
) -> None:
    """Draw a picture with the answer below it."""
    blank(axes)
    axes.imshow(pixels, interpolation="nearest")
    _answer(axes, run, prediction, confidence, truth)


def _answer(axes: Axes, run: Run, prediction: Any, confidence: Any, truth: Any) -> None:
    """Write the answer below a picture, in red and with a cross if it is wrong."""
    right = int(prediction) == int(truth)
    words = f"{'' if right else '× '}{run.class_name(prediction)[:16]} {percent(confidence, 0)} %"
    axes.set_xlabel(words, fontsize=6, labelpad=2, color="#1b1f24" if right else "#b3261e")

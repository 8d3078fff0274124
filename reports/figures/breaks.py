"""Pictures that a method answers wrongly and the dense model right, before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.figures.canvas import COLUMN, blank, new_figure, paper_style
from reports.formatting import fold
from reports.token_overlay import Pixels, overlay

PAIRS = {True: 3, False: 2}  # pairs in a line, by whether the figure is wider than a column


@dataclass(frozen=True)
class Break:
    """A lost answer: the method and budget, the picture, its tokens, and both answers.

    ``owner`` is the token that each original token lives in; ``dense`` and ``answer`` are a class
    and its probability in percent.
    """

    label: str
    budget: str
    pixels: Pixels
    owner: Any
    dense: tuple[str, str]
    answer: tuple[str, str]


def broken(breaks: Sequence[Break], shape: tuple[int, int], width: float) -> Figure:
    """Draw a pair of pictures for each lost answer, on a grid of tokens of this `shape`."""
    pairs = PAIRS[width > COLUMN]
    lines = -(-len(breaks) // pairs)
    with paper_style():
        size = width / (2 * pairs + 0.3 * pairs)
        figure = new_figure(width, (size * shape[0] / shape[1] + 0.42) * max(lines, 1), pad=0.02)
        panels = figure.subplots(max(lines, 1), 2 * pairs, squeeze=False)
        for axes in panels.ravel():
            blank(axes)
        for index, one in enumerate(breaks):
            column = 2 * (index % pairs)
            left, right = panels[index // pairs][column : column + 2]
            owner = np.asarray(one.owner, dtype=np.int64)
            # tokens are blocks of pixels: smoothing would blur their borders
            left.imshow(one.pixels, interpolation="nearest")
            right.imshow(overlay(one.pixels, owner, shape), interpolation="nearest")
            left.set_title(f"{fold(one.label, 24)}, {one.budget}", fontsize=7, fontweight="normal")
            _answer(left, one.dense, "#1b1f24", "")
            _answer(right, one.answer, "#b3261e", "× ")
        return figure


def _answer(axes: Axes, words: tuple[str, str], colour: str, mark: str) -> None:
    """Write an answer and its probability below a picture."""
    axes.set_xlabel(f"{mark}{words[0][:14]} {words[1]} %", fontsize=6, labelpad=2, color=colour)

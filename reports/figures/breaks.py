"""Pictures whose right answer a method loses: before and after, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.figures.canvas import COLUMN, blank, paper, sheet
from reports.formatting import fold
from reports.token_overlay import Pixels, overlay

PAIRS = {True: 3, False: 2}  # pairs in a line, by whether the figure is wider than a column


@dataclass(frozen=True)
class Break:
    """One lost answer: of which method at which budget, the picture, its tokens, and both answers with their shares."""

    label: str
    budget: str
    pixels: Pixels
    owner: Any
    dense: tuple[str, str]
    answer: tuple[str, str]


def broken(found: Sequence[Break], shape: tuple[int, int], width: float) -> Figure:
    """A pair of pictures for each of `found`."""
    pairs = PAIRS[width > COLUMN]
    lines = -(-len(found) // pairs)
    with paper():
        size = width / (2 * pairs + 0.3 * pairs)
        figure = sheet(width, (size * shape[0] / shape[1] + 0.42) * max(lines, 1), pad=0.02)
        panels = figure.subplots(max(lines, 1), 2 * pairs, squeeze=False)
        for axes in panels.ravel():
            blank(axes)
        for index, one in enumerate(found):
            left, right = panels[index // pairs][2 * (index % pairs) : 2 * (index % pairs) + 2]
            left.imshow(one.pixels, interpolation="nearest")
            right.imshow(
                overlay(one.pixels, np.asarray(one.owner, dtype=np.int64), shape),
                interpolation="nearest",
            )
            left.set_title(f"{fold(one.label, 24)}, {one.budget}", fontsize=7, fontweight="normal")
            _answer(left, one.dense, "#1b1f24", "")
            _answer(right, one.answer, "#b3261e", "× ")
        return figure


def _answer(axes: Axes, words: tuple[str, str], colour: str, mark: str) -> None:
    axes.set_xlabel(f"{mark}{words[0][:14]} {words[1]} %", fontsize=6, labelpad=2, color=colour)

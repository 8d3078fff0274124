"""Figures of how alike methods choose tokens, and whether they then answer alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from reports.figures.canvas import (
    COLUMN,
    WIDTH,
    Array,
    Style,
    blank,
    new_figure,
    paper_style,
    stroke,
)
from reports.figures.fonts import wrapped
from reports.figures.names import Tag, beside
from reports.figures.tokens import DIVERGING
from reports.formatting import distinct_names, fold, number
from reports.style import ON_DARK, ON_PALE, SOFT, Looks, title_of

WIDE_DIGIT = 0.62  # of the size of a letter: the width of a digit
LEAST = 4.0  # points: smaller numbers in the cells of a table are left out


def matrix(rows: pd.DataFrame, labels: Sequence[str], value: str) -> Array:
    """Return the symmetric table (m, m) of `value` over pairs of `labels`, 1 on the diagonal."""
    index = {label: number for number, label in enumerate(labels)}
    table = np.full((len(labels), len(labels)), np.nan)
    np.fill_diagonal(table, 1.0)
    for row in rows[["one", "other", value]].itertuples(index=False):
        if row.one in index and row.other in index:
            first, second = index[row.one], index[row.other]
            table[first, second] = table[second, first] = row[2]
    return table


def alike_together(table: Array, labels: Sequence[str]) -> list[str]:
    """Order `labels` by the leaves of an average-linkage tree: alike ones are neighbours."""
    if len(labels) < 3:
        return list(labels)
    # pairs without a value count as unrelated
    distance = np.nan_to_num(1 - table, nan=1.0)
    # A correlation of 1 may be above it by rounding; a tree takes no distance below zero.
    distance = np.maximum(distance, 0.0)
    np.fill_diagonal(distance, 0.0)
    condensed = squareform((distance + distance.T) / 2, checks=False)
    tree = linkage(condensed, "average", optimal_ordering=True)
    return [labels[int(index)] for index in leaves_list(tree)]


def pairs_table(
    table: Array, labels: Sequence[str], looks: Looks, title: str, width: float
) -> Figure:
    """Draw a table of pairs as coloured cells with their values, blue below zero, red above.

    In a figure of one column the values are in hundredths and the colour scale is below the table.
    """
    width = min(width, WIDTH)
    with paper_style():
        wide = width > COLUMN
        figure = new_figure(width, width * ((0.82 if len(labels) > 4 else 0.6) if wide else 1.2))
        axes = figure.subplots()
        blank(axes)
        image = axes.imshow(table, cmap=sns.color_palette(DIVERGING, as_cmap=True), vmin=-1, vmax=1)
        titles = [title_of(label, looks) for label in labels]
        names = [fold(name, 18) for name in distinct_names(titles)]
        size = min(7.0, 62 * width / max(len(labels), 1) / 4)
        axes.set_yticks(range(len(names)), names, fontsize=size)
        axes.set_xticks(range(len(names)), names, fontsize=size, rotation=90)
        for ticks in (axes.get_yticklabels(), axes.get_xticklabels()):
            for tick, label in zip(ticks, labels, strict=True):
                tick.set_color(looks[label].light)
        axes.tick_params(length=0)
        axes.set_title(title)
        side = "right" if wide else "bottom"
        bar = figure.colorbar(image, ax=axes, location=side, shrink=0.6, aspect=25, pad=0.02)
        unit = "" if wide else "\n(in the cells: hundredths)"
        bar.set_label(f"rank correlation of how long each token stays{unit}")
        bar.outline.set_visible(False)
        # cells have their size only after layout
        figure.draw_without_rendering()
        cell = axes.get_window_extent().width / figure.dpi * 72 / max(len(labels), 1)
        letters, most, digits = (5, 0.75 * size, 2) if wide else (3, 6.0, 0)
        size = min(most, cell / WIDE_DIGIT / letters)
        for (row, column), value in np.ndenumerate(table):
            if size >= LEAST and row != column and np.isfinite(value):
                words = number(value if wide else 100 * value, digits)
                # dark cells need white digits
                shade = ON_DARK if abs(value) > 0.62 else ON_PALE
                axes.text(column, row, words, ha="center", va="center", fontsize=size, color=shade)
        return figure


def by_block(
    layers: pd.DataFrame, reference: str, looks: Looks, title: str, width: float
) -> Figure:
    """Draw the overlap of each method's tokens with those of `reference`; 0 is chance."""
    with paper_style():
        figure = new_figure(width, 3.2)
        axes = figure.subplots()
        tags = []
        for label, look in looks.items():
            mine = (layers["one"] == label) | (layers["other"] == label)
            rows = layers[mine].sort_values("block")
            if label == reference or rows.empty:
                continue
            axes.plot(rows["block"], rows["correlation"], label=look.title, **stroke(look))
            points = rows[["block", "correlation"]].dropna().to_numpy(dtype=float)
            tags.append(Tag(look.title, look.light, points))
        dotted = (0, (1, 2))
        axes.axhline(0.0, color=SOFT["light"], linewidth=0.8, linestyle=dotted, label="_chance")
        axes.set_title(title)
        axes.set_xlabel("block that the tokens enter")
        axes.set_ylabel(f"correlation with the tokens of {title_of(reference, looks)}")
        # names are written beyond the last block, where a tick would be wrong
        first, last = layers["block"].min(), layers["block"].max()
        ticks = np.asarray(MaxNLocator(integer=True).tick_values(first, last))
        axes.xaxis.set_major_locator(FixedLocator(ticks[(ticks >= first) & (ticks <= last)]))
        figure.draw_without_rendering()
        beside(axes, [tag for tag in tags if len(tag.line)], np.empty((0, 2)))
        return figure


def link(pairs: pd.DataFrame, looks: Looks, title: str, answered: str, width: float) -> Figure:
    """Draw each pair of methods by how alike they choose and answer; extreme pairs are named.

    `answered` says what answering alike is measured by.
    """
    complete = pairs.dropna(subset=["survival", "kappa"])
    with paper_style():
        figure = new_figure(width, min(3.4, width))
        axes = figure.subplots()
        dot: Style = {
            "color": "#0c6ab6",
            "alpha": 0.55,
            "markersize": 4,
            "markeredgewidth": 0,
        }
        axes.plot(complete["survival"], complete["kappa"], "o", **dot)
        axes.set_title(title)
        below = "alike in choosing: rank correlation of how long tokens stay"
        axes.set_xlabel(wrapped(below, width - 0.6, 8))
        axes.set_ylabel(wrapped(f"alike in answering: {answered}", min(3.4, width) - 0.6, 8))
        figure.draw_without_rendering()
        middle, high = complete["survival"].median(), complete["kappa"].median()
        for row in extremes(complete).itertuples():
            axes.annotate(
                fold(f"{title_of(row.one, looks)} · {title_of(row.other, looks)}", 30),
                (row.survival, row.kappa),
                xytext=(3, -3 if row.kappa > high else 3),
                textcoords="offset points",
                fontsize=6.5,
                color=SOFT["light"],
                # Towards the middle, where words of several lines have room.
                ha="right" if row.survival > middle else "left",
                va="top" if row.kappa > high else "bottom",
            )
        return figure


def extremes(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return the pairs that choose most and least alike, and that answer most and least alike."""
    if pairs.empty:
        return pairs
    columns = pairs[["survival", "kappa"]]
    ends = [*columns.idxmax(), *columns.idxmin()]
    return pairs.loc[list(dict.fromkeys(ends))]

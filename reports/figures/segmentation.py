"""Figures of segmentation: pictures with the classes of their pixels, by truth and by method."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from reports.figures.canvas import COLUMN, blank, new_figure, paper_style, picture
from reports.figures.fonts import inches, wrapped
from reports.formatting import fold, percent
from reports.token_overlay import Pixels

IGNORED = 255  # of a truth: pixels of no class
BACKGROUND = (38, 42, 48)
DIFFERS = (255, 255, 255)
SHOWN = 8  # pictures in a figure, at most
LEGEND = 12  # classes that a legend names, at most


def palette(classes: int) -> Pixels:
    """Colours (256, 3) of classes; the first, the background as a rule, is dark, no class black."""
    colours = np.zeros((256, 3), np.uint8)
    colours[0] = BACKGROUND
    for number in range(1, min(classes, IGNORED)):
        # Neighbouring numbers are far apart in hue, by the golden ratio.
        hue = (0.61803 * number) % 1
        red, green, blue = colorsys.hsv_to_rgb(hue, 0.55 + 0.25 * (number % 2), 0.92)
        colours[number] = round(255 * red), round(255 * green), round(255 * blue)
    return colours


def outlined(named: Pixels, dense: Pixels, colours: Pixels) -> Pixels:
    """Classes (H, W) in their colours; pixels that the dense model names otherwise are hatched."""
    drawn = colours[named].copy()
    rows, columns = np.indices(named.shape)
    hatched = (named != dense) & ((rows + columns) % 4 == 0)
    drawn[hatched] = DIFFERS
    return drawn


def segmented_figure(
    maps: Mapping[tuple[int, str], tuple[Pixels, float]],
    pictures: Mapping[int, Pixels],
    columns: Mapping[str, str],
    classes: Sequence[str],
    width: float,
) -> Figure:
    """Draw a row a picture: the picture, and its pixels under each of `columns`.

    `maps` have classes (H, W) and the mean IoU by picture and label; `columns` are titles by label,
    the truth first and the dense model second.
    """
    images = [image for image in pictures if any(number == image for number, _ in maps)][:SHOWN]
    titles = {"": "picture", **columns}
    across = len(titles)
    colours = palette(len(classes))
    with paper_style():
        size = width / across
        names = {label: _head(title, size - 0.05) for label, title in titles.items()}
        above = 0.12 * max(name.count("\n") for name in names.values())
        present: set[int] = set()
        figure = new_figure(width, (size + 0.2) * len(images) + 0.5 + above, pad=0.02)
        panels = figure.subplots(len(images), across, squeeze=False)
        for line, image in zip(panels, images, strict=True):
            dense = maps[image, list(columns)[1]][0]
            for axes, label in zip(line, titles, strict=True):
                blank(axes)
                if not label:
                    picture(axes, pictures[image])
                elif (image, label) in maps:
                    named, miou = maps[image, label]
                    present |= set(np.unique(named).tolist())
                    truth = label == next(iter(columns))
                    drawn = colours[named] if truth else outlined(named, dense, colours)
                    picture(axes, drawn)
                    if not truth:
                        axes.set_xlabel(f"mIoU {percent(miou, 0)} %", fontsize=6, labelpad=2)
        for axes, label in zip(panels[0], titles, strict=True):
            axes.set_title(names[label], fontsize=7, fontweight="normal")
        named_classes = sorted(number for number in present if number < len(classes))[:LEGEND]
        handles = [
            Patch(color=colours[number] / 255, label=classes[number]) for number in named_classes
        ]
        figure.legend(
            handles=handles,
            loc="outside lower left",
            ncols=6 if width > COLUMN else 3,
            fontsize=6,
            frameon=False,
        )
        return figure


def _head(title: str, room: float) -> str:
    """The title of a column in lines of `room` inches; what has no blanks is broken at signs."""
    letters = int(room / inches("n", 7))
    lines = wrapped(title, room, 7).splitlines()
    return "\n".join(line if inches(line, 7) <= room else fold(line, letters) for line in lines)


def class_figure(
    rows: pd.DataFrame, titles: Mapping[str, str], classes: Sequence[str], width: float
) -> Figure:
    """Draw what each method loses of each class, as a coloured cell, in points of IoU.

    `rows` are those of the table ``class_ious`` of one backbone at one budget, and of its dense
    model; `titles` are the methods by label.
    """
    dense = rows[rows["label"] == "none"].set_index("class_number")["class_iou"]
    numbers = [int(number) for number in dense.dropna().index]
    values = np.full((len(titles), len(numbers)), np.nan)
    for line, label in enumerate(titles):
        own = rows[rows["label"] == label].set_index("class_number")["class_iou"]
        values[line] = 100 * (own.reindex(numbers) - dense.reindex(numbers)).to_numpy()
    with paper_style():
        figure = new_figure(width, 0.22 * len(titles) + 1.3)
        axes = figure.subplots()
        reach = max(1.0, float(np.nanmax(np.abs(values))))
        drawn = axes.imshow(values, cmap="RdBu", vmin=-reach, vmax=reach, aspect="auto")
        axes.set_yticks(range(len(titles)), [fold(title, 18) for title in titles.values()])
        names = [
            fold(classes[number] if number < len(classes) else str(number), 12)
            for number in numbers
        ]
        axes.set_xticks(range(len(numbers)), names, rotation=45, ha="right", fontsize=6.5)
        axes.grid(visible=False)
        for line in range(len(titles)):
            for column in range(len(numbers)):
                value = values[line, column]
                if np.isfinite(value) and len(numbers) <= LEGEND:
                    ink = "white" if abs(value) > 0.6 * reach else "black"
                    axes.text(
                        column,
                        line,
                        f"{value:+.0f}",
                        ha="center",
                        va="center",
                        fontsize=6,
                        color=ink,
                    )
        bar = figure.colorbar(drawn, ax=axes, shrink=0.8)
        bar.set_label(wrapped("IoU less the dense model's, points", 1.5, 7), fontsize=7)
        bar.outline.set_visible(False)
        return figure

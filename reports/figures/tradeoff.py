"""Accuracy, and agreement with the dense model, against the FLOPs an image costs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from reports.figures.canvas import WIDTH, paper, sheet, stroke
from reports.style import SOFT, Look
from reports.text import CONVENTIONS, spread, unit


def pareto(frame: pd.DataFrame, looks: Mapping[str, Look], convention: str) -> Figure:
    """Top-1 against FLOPs, one panel a backbone; random as the range over its seeds, the dense model as a star."""
    houses = list(dict.fromkeys(frame["backbone"]))
    with paper():
        columns = min(len(houses), 2)
        rows = -(-len(houses) // columns)
        figure = sheet(5.6 if columns == 1 else WIDTH, 3.9 * rows if columns == 1 else 3.3 * rows)
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, house in zip(panels, houses, strict=False):
            part = frame[frame["backbone"] == house]
            _curves(axes, part, looks, "top1", 100.0)
            _costs(axes, part, convention)
            axes.set_ylabel("top-1 accuracy, %")
            axes.set_title(house)
        for axes in panels[len(houses) :]:
            axes.set_axis_off()
        return figure


def agreement(frame: pd.DataFrame, looks: Mapping[str, Look], convention: str) -> Figure:
    """Share of images with the dense model's answer (left) and KL(dense || reduced) (right) against FLOPs."""
    houses = list(dict.fromkeys(frame["backbone"]))
    with paper():
        figure = sheet(WIDTH, 2.9 * max(len(houses), 1) + 0.3)
        grid = figure.subplots(max(len(houses), 1), 2, squeeze=False)
        for (left, right), house in zip(grid, houses, strict=False):
            part = frame[(frame["backbone"] == house) & (frame["method"] != "none")]
            _curves(left, part, looks, "agreement", 100.0, names=False)
            _curves(right, part, looks, "kl", 1.0, log=bool((part["kl"].dropna() > 0).all()), names=False)
            right.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            left.set_title(house)
            left.set_ylabel("same prediction as dense, %")
            right.set_ylabel("KL(dense, reduced), nats")
            for axes in (left, right):
                _costs(axes, part, convention, words=False)
        handles, labels = grid[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(5, max(len(labels), 1)))
        return figure


def _curves(
    axes: Axes,
    part: pd.DataFrame,
    looks: Mapping[str, Look],
    column: str,
    scale: float,
    log: bool = False,
    names: bool = True,
) -> None:
    """One line a method with its name beside its cheapest point; values that are missing are not drawn."""
    axes.set_yscale("log" if log else "linear")
    axes.margins(x=0.05, y=0.08)
    ends: list[tuple[str, float, float]] = []
    for label, rows in part.groupby("label", sort=False):
        rows = rows.dropna(subset=["total", column]).sort_values("total")
        if rows.empty:
            continue
        look = looks[str(label)]
        axes.plot(rows["total"], rows[column] * scale, label=str(label), zorder=3, **stroke(look))
        if column == "top1" and (rows["seeds"] > 1).any():
            band = (rows["seed_low"] * scale, rows["seed_high"] * scale)
            axes.fill_between(rows["total"], *band, color=look.light, alpha=0.18, linewidth=0, zorder=1)
        cheapest = float(rows["total"].iloc[0]), float(rows[column].iloc[0]) * scale
        if (rows["method"] == "none").all():
            axes.axhline(cheapest[1], color=SOFT["light"], linewidth=0.7, linestyle=(0, (1, 2)), zorder=0)
            axes.annotate("dense", cheapest, (0, 6), textcoords="offset points", ha="center", fontsize=7.5)
        else:
            ends.append((str(label), *cheapest))
    if ends and names:
        _name(axes, ends, looks, log)


def _name(axes: Axes, ends: list[tuple[str, float, float]], looks: Mapping[str, Look], log: bool) -> None:
    """Write each method's name to the left of its cheapest point, moved apart where names would touch."""
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    width, edge = right - left, min(x for _, x, _ in ends)
    axes.set_xlim(left - 0.34 * width, right)
    bottom, height = (float(np.log(low)), float(np.log(high / low))) if log else (low, high - low)
    heights = [((float(np.log(y)) if log else y) - bottom) / height for *_, y in ends]
    for (label, x, y), place in zip(ends, spread(heights, 0.052), strict=True):
        target = bottom + place * height
        colour = looks[label].light
        axes.annotate(
            label, (x, y), (edge - 0.045 * width, float(np.exp(target)) if log else target), ha="right", va="center",
            fontsize=7.5, color=colour, annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.4, "alpha": 0.6, "shrinkA": 1, "shrinkB": 2},
        )  # fmt: skip


def _costs(axes: Axes, part: pd.DataFrame, convention: str, words: bool = True) -> None:
    """Ticks that say both the FLOPs of an image and the share that was removed; the axis names the convention."""
    size, prefix = unit(part["total"].dropna().tolist())
    known = part[(part["removed"] < 0.999) & part["total"].notna()]
    short, meaning = CONVENTIONS.get(convention, (convention, ""))
    told = f"\n({meaning})" if words and meaning else ""
    axes.set_xlabel(f"{prefix}{short} per image, convention “{convention}”, and share removed{told}")
    if known.empty:
        return
    dense = float((known["total"] / (1 - known["removed"])).median())
    axes.set_xticks(*ticks(dense, float(known["total"].min()), size))


def ticks(dense: float, cheapest: float, size: float) -> tuple[list[float], list[str]]:
    """Places and two-line names of the ticks from the dense cost down to the cheapest cell, every 10 or 20 %."""
    deepest = 1 - cheapest / dense
    step = 10 if deepest < 0.45 else 20
    shares = [share for share in range(0, 100, step) if share / 100 <= deepest + 0.04]
    places = [dense * (1 - share / 100) for share in shares]
    names = [
        f"{place / size:.3g}\n{'dense' if share == 0 else f'−{share} %'}"
        for place, share in zip(places, shares, strict=True)
    ]
    return places, names

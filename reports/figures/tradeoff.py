"""Accuracy, and agreement with the dense model, against the FLOPs an image costs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from reports.blind import Mark
from reports.figures.canvas import WIDTH, columns, paper, sheet, stroke
from reports.style import SOFT, Look
from reports.text import CONVENTIONS, fold, unit

Marks = Mapping[tuple[str, float], Mark]


def pareto(
    frame: pd.DataFrame, looks: Mapping[str, Look], convention: str, marks: Marks, chance: float | None = None
) -> Figure:
    """Top-1 against FLOPs, one panel a backbone; random as the range over its seeds, the dense model as a star.

    A budget at which no method was shown to beat a blind baseline is shaded; a dotted line marks `chance`, the top-1
    of a guess, where the axis reaches down to it.
    """
    houses = list(dict.fromkeys(frame["backbone"]))
    with paper():
        across = min(len(houses), 2)
        rows = -(-len(houses) // across)
        figure = sheet(WIDTH, 3.5 * rows)
        panels = figure.subplots(rows, across, squeeze=False).ravel()
        for axes, house in zip(panels, houses, strict=False):
            part = frame[frame["backbone"] == house]
            _curves(axes, part, looks, "top1", 100.0)
            _shade(axes, part, marks)
            _level_of_chance(axes, chance)
            _costs(axes, part, convention, words=across == 1)
            axes.set_ylabel("top-1 accuracy, %")
            axes.set_title(house)
        for axes in panels[len(houses) :]:
            axes.set_axis_off()
        _key(figure, panels, frame, beside=across == 1)
        return figure


def agreement(frame: pd.DataFrame, looks: Mapping[str, Look], convention: str) -> Figure:
    """Share of images with the dense model's answer (left) and KL(dense || reduced) (right) against FLOPs."""
    houses = list(dict.fromkeys(frame["backbone"]))
    with paper():
        figure = sheet(WIDTH, 2.9 * max(len(houses), 1) + 0.3)
        grid = figure.subplots(max(len(houses), 1), 2, squeeze=False)
        for (left, right), house in zip(grid, houses, strict=False):
            part = frame[(frame["backbone"] == house) & (frame["method"] != "none")]
            _curves(left, part, looks, "agreement", 100.0)
            _curves(right, part, looks, "kl", 1.0, log=bool((part["kl"].dropna() > 0).all()))
            right.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            left.set_title(house)
            left.set_ylabel("same prediction as dense, %")
            right.set_ylabel("KL(dense, reduced), nats")
            for axes in (left, right):
                _costs(axes, part, convention, words=False)
        _key(figure, grid.ravel()[::2], frame, beside=False)
        return figure


def _curves(
    axes: Axes, part: pd.DataFrame, looks: Mapping[str, Look], column: str, scale: float, log: bool = False
) -> None:
    """One line a method, and a level for the dense model; values that are missing are not drawn."""
    axes.set_yscale("log" if log else "linear")
    axes.margins(x=0.05, y=0.08)
    for label, rows in part.groupby("label", sort=False):
        rows = rows.dropna(subset=["total", column]).sort_values("total")
        if rows.empty:
            continue
        look = looks[str(label)]
        axes.plot(rows["total"], rows[column] * scale, label=str(label), zorder=3, **stroke(look))
        if column == "top1" and (rows["seeds"] > 1).any():
            band = (rows["seed_low"] * scale, rows["seed_high"] * scale)
            axes.fill_between(rows["total"], *band, color=look.light, alpha=0.25, linewidth=0, zorder=1)
        if (rows["method"] == "none").all():
            level = float(rows[column].iloc[0]) * scale
            axes.axhline(level, color=SOFT["light"], linewidth=0.7, linestyle=(0, (1, 2)), zorder=0)


def _shade(axes: Axes, part: pd.DataFrame, marks: Marks) -> None:
    for place, width, baseline in shaded(part, marks):
        axes.axvspan(place - width / 2, place + width / 2, color=SOFT["light"], alpha=0.13, linewidth=0, zorder=0)
        axes.annotate(
            f"no method shown to beat {baseline}", (place, 0.03), xycoords=("data", "axes fraction"), rotation=90,
            ha="center", va="bottom", fontsize=6.5, color=SOFT["light"],
        )  # fmt: skip


def _level_of_chance(axes: Axes, chance: float | None) -> None:
    low, high = axes.get_ylim()
    if chance is None or not low <= chance * 100 <= high:
        return
    axes.axhline(chance * 100, color=SOFT["light"], linewidth=0.7, linestyle=(0, (1, 2)), zorder=0, label="_chance")
    axes.annotate(
        "chance", (1.0, chance * 100), xycoords=("axes fraction", "data"), xytext=(0, 1.5), textcoords="offset points",
        ha="right", va="bottom", fontsize=6.5, color=SOFT["light"],
    )  # fmt: skip


def shaded(part: pd.DataFrame, marks: Marks) -> list[tuple[float, float, str]]:
    """Budgets of one backbone at which no method beats a blind baseline: place and width on the axis, and which."""
    totals = part["total"].dropna()
    width = 0.05 * float(totals.max() - totals.min()) if len(totals) else 0.0
    found = []
    for budget, rows in part[part["family"] != "baseline"].groupby("budget"):
        mark = marks.get((str(rows["backbone"].iloc[0]), float(str(budget))))
        if mark and mark.everywhere:
            found.append((float(rows["total"].mean()), width, mark.baseline))
    return found


def _key(figure: Figure, panels: Iterable[Axes], frame: pd.DataFrame, beside: bool) -> None:
    """The names of the lines, in the order in which they stand above each other, by mean rank within a budget."""
    there = {name: handle for axes in panels for handle, name in zip(*axes.get_legend_handles_labels(), strict=True)}
    ranks = frame.groupby(["backbone", "budget"])["top1"].rank(pct=True)
    height = ranks.groupby(frame["label"]).mean()
    order = sorted(there, key=lambda name: (name != "none", -float(height.get(name, 0.0))))
    if not order:
        return
    names = [fold("dense" if name == "none" else name, 20 if beside else 30) for name in order]
    place: dict[str, Any] = (
        {"loc": "outside right upper"} if beside else {"loc": "outside lower center", "ncols": columns(len(names))}
    )
    figure.legend([there[name] for name in order], names, **place, handlelength=2.6)


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

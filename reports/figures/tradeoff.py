"""Accuracy, and agreement with the dense model, against the FLOPs an image costs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.ticker import FuncFormatter

from reports.figures.canvas import (
    COLUMN,
    THIN,
    WIDTH,
    columns,
    fitting,
    heading,
    paper,
    sheet,
    stroke,
)
from reports.figures.dots import dots
from reports.figures.names import Tag, beside, near
from reports.formatting import CONVENTIONS, fold, unit
from reports.style import DENSE, GRID, GROUPS, SOFT, Look
from suite.stats.blind_baselines import Mark

Marks = Mapping[tuple[str, float], Mark]
PASSES = 6  # in which names are placed again, at most


def pareto(
    frame: pd.DataFrame,
    looks: Mapping[str, Look],
    convention: str,
    marks: Marks,
    chance: float | None = None,
    width: float = WIDTH,
) -> Figure:
    """Top-1 against FLOPs, one panel a backbone, each line with its name; the dense model as a star.

    A stochastic method is shaded over the range of its seeds. A budget at which no method was shown
    to beat a blind baseline is shaded; a dotted line marks `chance`, the top-1 of a guess, where
    the axis reaches down to it. A backbone with one budget has no lines: its panel ranks the
    methods instead.
    """
    houses = list(dict.fromkeys(frame["backbone"]))
    with paper():
        across = min(len(houses), 2 if width > COLUMN else 1)
        rows = -(-len(houses) // across)
        parts = [frame[frame["backbone"] == house] for house in houses]
        tall = max([_height(part) for part in parts], default=3.0)
        figure = sheet(width, tall * rows)
        panels = figure.subplots(rows, across, squeeze=False).ravel()
        for axes, house, part in zip(panels, houses, parts, strict=False):
            if one_budget(part):
                dots(axes, part, looks, chance)
                axes.set_title(house, pad=14)
                continue
            axes.set_title(house, pad=20 if shaded(part, marks) else None)
            _curves(axes, part, looks, "top1", 100.0)
            _shade(axes, part, marks)
            _level_of_chance(axes, chance)
            _costs(axes, part, convention, words=across == 1 and width > COLUMN)
            axes.set_ylabel("top-1 accuracy, %")
        for axes in panels[len(houses) :]:
            axes.set_axis_off()
        figure.draw_without_rendering()  # names go where the finished layout leaves room
        for axes, part in zip(panels, parts, strict=False):
            if not one_budget(part):
                _names(axes, part, looks)
        return figure


def groups(
    frame: pd.DataFrame,
    looks: Mapping[str, Look],
    convention: str,
    title: str,
    width: float = WIDTH,
) -> Figure:
    """Top-1 against FLOPs of one backbone, a panel for each group of methods, the others in grey behind it."""
    kinds = grouped(frame, looks)
    with paper():
        across = 2 if width > COLUMN else 1
        rows = -(-len(kinds) // across)
        figure = sheet(width, 2.5 * rows + 0.3)
        heading(figure, title)
        panels = figure.subplots(rows, across, squeeze=False, sharex=True, sharey=True).ravel()
        for axes, (kind, labels) in zip(panels, kinds.items(), strict=False):
            for _, rest in frame[~frame["label"].isin(labels)].groupby("label", sort=False):
                rest = rest.dropna(subset=["total", "top1"]).sort_values("total")
                axes.plot(
                    rest["total"],
                    rest["top1"] * 100,
                    color=GRID["light"],
                    linewidth=1,
                    zorder=1,
                    label="_rest",
                )
            _curves(axes, frame[frame["label"].isin([*labels, "none"])], looks, "top1", 100.0)
            axes.set_title(kind)
            _costs(axes, frame, convention, words=False)
            axes.set_xlabel(
                unit(frame["total"].dropna().tolist())[1]
                + CONVENTIONS.get(convention, (convention, ""))[0]
            )
            axes.label_outer(remove_inner_ticks=False)
        for axes in panels[len(kinds) :]:
            axes.set_axis_off()
        figure.supylabel("top-1 accuracy, %", fontsize=8, color=SOFT["light"])
        figure.draw_without_rendering()
        named = [frame[frame["label"].isin([*labels, "none"])] for labels in kinds.values()]
        _names_on_one_axis(list(panels[: len(kinds)]), named, looks)
        return figure


def _names_on_one_axis(
    panels: Sequence[Axes], parts: Sequence[pd.DataFrame], looks: Mapping[str, Look]
) -> None:
    """Names in panels that share the x axis: where one's names stretch it, those of the others have to move."""
    notes: list[Annotation] = []
    for _ in range(PASSES):
        for note in notes:
            note.remove()
        before = panels[0].get_xlim()
        notes = [
            note
            for axes, part in zip(panels, parts, strict=True)
            for note in _names(axes, part, looks)
        ]
        if np.allclose(before, panels[0].get_xlim(), rtol=1e-3):
            return


def grouped(frame: pd.DataFrame, looks: Mapping[str, Look]) -> dict[str, list[str]]:
    """The labels of `frame` by group, in the order of the groups; the dense model is in none."""
    there = set(frame["label"])
    return {
        kind: labels
        for kind in GROUPS
        if kind != DENSE
        and (
            labels := [name for name, look in looks.items() if look.group == kind and name in there]
        )
    }


def one_budget(part: pd.DataFrame) -> bool:
    """Whether all methods of `part` stand at the same budget, so that there is no line to draw."""
    return part["budget"].nunique() == 1


def _height(part: pd.DataFrame) -> float:
    """Inches that a panel needs for its names to be read."""
    methods = part["label"].nunique()
    return (
        max(1.6, 0.8 + 0.19 * methods)
        if one_budget(part)
        else min(6.0, max(3.5, 2.6 + 0.11 * methods))
    )


def _names(axes: Axes, part: pd.DataFrame, looks: Mapping[str, Look]) -> list[Annotation]:
    """Each method's name at its line, in a column; near its points where methods stand at budgets of their own.

    Returns what was written, the dense model's level too.
    """
    known = part.dropna(subset=["total", "top1"]).sort_values("total")
    lines = {
        str(label): np.column_stack((rows["total"], rows["top1"] * 100))
        for label, rows in known.groupby("label", sort=False)
    }
    dense = [(looks[label], line) for label, line in lines.items() if looks[label].group == DENSE]
    tags = [
        Tag(label, looks[label].light, line)
        for label, line in lines.items()
        if looks[label].group != DENSE
    ]
    levels = [Tag(f"dense {line[-1, 1]:.1f}", look.light, line) for look, line in dense]
    if sum(len(tag.line) == 1 for tag in tags) > len(tags) / 2:
        return near(axes, [*tags, *levels], np.empty((0, 2)))
    notes = [
        axes.annotate(
            level.text, (0.0, level.line[-1, 1]), xycoords=("axes fraction", "data"), xytext=(2, 1.5),
            textcoords="offset points", va="bottom", fontsize=7, color=level.colour,
        )
        for level in levels
    ]  # fmt: skip
    return notes + beside(
        axes, tags, np.concatenate([line for _, line in dense]) if dense else np.empty((0, 2))
    )


def agreement(
    frame: pd.DataFrame, looks: Mapping[str, Look], convention: str, width: float = WIDTH
) -> Figure:
    """Share of images with the dense model's answer (left) and KL(dense || reduced) (right) against FLOPs.

    In one column the second stands below the first.
    """
    houses = list(dict.fromkeys(frame["backbone"]))
    with paper():
        across = 2 if width > COLUMN else 1
        rows = max(len(houses), 1) * 2 // across
        figure = sheet(width, 2.9 * rows + (0.3 if across == 2 else 0.6))
        grid = figure.subplots(rows, across, squeeze=False).reshape(-1, 2)
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
        _key(figure, grid.ravel()[::2], frame, 5 if across == 2 else 3)
        return figure


def _curves(
    axes: Axes,
    part: pd.DataFrame,
    looks: Mapping[str, Look],
    column: str,
    scale: float,
    log: bool = False,
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
            axes.fill_between(
                rows["total"], *band, color=look.light, alpha=0.25, linewidth=0, zorder=1
            )
        if (rows["method"] == "none").all():
            level = float(rows[column].iloc[0]) * scale
            axes.axhline(level, **THIN)


def _shade(axes: Axes, part: pd.DataFrame, marks: Marks) -> None:
    for place, width, baseline in shaded(part, marks):
        axes.axvspan(
            place - width / 2,
            place + width / 2,
            color=SOFT["light"],
            alpha=0.13,
            linewidth=0,
            zorder=0,
        )
        axes.annotate(
            f"no method shown\nto beat {baseline}", (place, 1.0), xycoords=("data", "axes fraction"), xytext=(0, 1),
            textcoords="offset points", ha="center", va="bottom", fontsize=6, linespacing=1.0, color=SOFT["light"],
        )  # fmt: skip


def _level_of_chance(axes: Axes, chance: float | None) -> None:
    low, high = axes.get_ylim()
    if chance is None or not low <= chance * 100 <= high:
        return
    axes.axhline(chance * 100, **THIN, label="_chance")
    axes.annotate(
        "chance", (1.0, chance * 100), xycoords=("axes fraction", "data"), xytext=(0, 1.5), textcoords="offset points",
        ha="right", va="bottom", fontsize=6.5, color=SOFT["light"],
    )  # fmt: skip


def shaded(part: pd.DataFrame, marks: Marks) -> list[tuple[float, float, str]]:
    """Budgets of one backbone at which no method beats a blind baseline: place and width on the axis, and which."""
    totals = part["total"].dropna()
    width = 0.05 * float(totals.max() - totals.min()) if len(totals) else 0.0
    found = []
    for budget, rows in part.groupby("budget"):
        mark = marks.get((str(rows["backbone"].iloc[0]), float(str(budget))))
        if mark and mark.everywhere:
            equal = rows[rows["label"].isin(mark.not_shown)]
            found.append((float(equal["total"].mean()), width, mark.baseline))
    return found


def _key(figure: Figure, panels: Iterable[Axes], frame: pd.DataFrame, most: int) -> None:
    """The names of the lines, in the order in which they stand above each other, by mean rank within a budget."""
    there = {
        name: handle
        for axes in panels
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    ranks = frame.groupby(["backbone", "budget"])["top1"].rank(pct=True)
    height = ranks.groupby(frame["label"]).mean()
    order = sorted(there, key=lambda name: (name != "none", -float(height.get(name, 0.0))))
    if not order:
        return
    names = [fold("dense" if name == "none" else name, 30) for name in order]
    across = columns(len(names), fitting(names, figure.get_figwidth(), most))
    figure.legend(
        [there[name] for name in order],
        names,
        loc="outside lower center",
        ncols=across,
        handlelength=2.6,
    )


def _costs(axes: Axes, part: pd.DataFrame, convention: str, words: bool = True) -> None:
    """Ticks that say both the FLOPs of an image and the share that was removed; the axis names the convention."""
    size, prefix = unit(part["total"].dropna().tolist())
    known = part[(part["removed"] < 0.999) & part["total"].notna()]
    short, meaning = CONVENTIONS.get(convention, (convention, ""))
    told = f"\n({meaning})" if words and meaning else ""
    figure = axes.get_figure(root=True)
    narrow = figure is not None and figure.get_figwidth() <= COLUMN
    axes.set_xlabel(
        f"{prefix}{short} per image, convention “{convention}”,{chr(10) if narrow else ' '}and share removed{told}"
    )
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

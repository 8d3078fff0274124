"""Figures of accuracy, and of agreement with the dense model, against FLOPs per image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.ticker import FuncFormatter, NullFormatter

from reports.aggregate import metric_of
from reports.figures.apart import broken, side_by_side
from reports.figures.canvas import (
    ABOVE,
    BESIDE,
    COLUMN,
    NOTE,
    THIN,
    WIDTH,
    Style,
    heading,
    legend_below,
    panel_rows,
    panel_width,
    paper_style,
    stroke,
)
from reports.figures.dots import dots
from reports.figures.fonts import inches, wrapped
from reports.figures.names import ENDS, Tag, beside, moved, near
from reports.formatting import convention_words, unit
from reports.style import DENSE, GRID, GROUPS, SOFT, Looks, above_band, title_of
from suite.stats.blind_baselines import BlindComparison
from suite.stats.correctness import sample_name

Marks = Mapping[tuple[str, float], BlindComparison]
PASSES = 6  # in which names are placed again, at most


def pareto(
    frame: pd.DataFrame,
    looks: Looks,
    convention: str,
    marks: Marks,
    chance: float | None = None,
    width: float = WIDTH,
) -> Figure:
    """Draw top-1 against FLOPs, a panel a backbone, with names at the lines.

    The dense model is a star; a stochastic method is shaded over the range of its seeds. A budget
    at which no method was shown to beat a blind baseline is shaded. A dotted line marks `chance`,
    the top-1 of a guess, if the axis reaches down to it. The panel of a backbone with one budget
    ranks the methods instead.
    """
    backbones = list(dict.fromkeys(frame["backbone"]))
    parts = [frame[frame["backbone"] == backbone] for backbone in backbones]
    with paper_style():
        across = min(len(backbones), 2 if width > COLUMN else 1)
        figure, panels = panel_rows(len(parts), across, width, max(map(_height, parts)))
        for axes, backbone, part in zip(panels, backbones, parts, strict=True):
            if one_budget(part):
                dots(axes, part, looks, chance)
                axes.set_title(backbone, pad=14)
                continue
            # the words above a shaded budget need room
            axes.set_title(backbone, pad=20 if shaded(part, marks) else None)
            _curves(axes, part, looks, "top1", 100.0)
            _shade(axes, part, marks, looks)
            low, high = axes.get_ylim()
            if chance is not None and low <= chance * 100 <= high:
                axes.axhline(chance * 100, **THIN, label="_chance")
                beside_axis: Style = NOTE | {"xytext": (0, 1.5), "fontsize": 6.5}
                at = (1.0, chance * 100)
                axes.annotate("chance", at, xycoords=BESIDE, ha="right", **beside_axis)
            _costs(axes, part, convention, words=across == 1 and width > COLUMN)
            axes.set_ylabel(f"{metric_of(frame).axis}, %")
        # names go where the finished layout leaves room
        figure.draw_without_rendering()
        for axes, part in zip(panels, parts, strict=True):
            if not one_budget(part):
                _names(axes, part, looks)
        return figure


def groups(
    frame: pd.DataFrame,
    looks: Looks,
    convention: str,
    title: str,
    width: float = WIDTH,
) -> Figure:
    """Draw top-1 against FLOPs of one backbone, a panel a group, other methods in grey."""
    kinds = grouped(frame, looks)
    named = [frame[frame["label"].isin([*labels, "none"])] for labels in kinds.values()]
    with paper_style():
        across = 2 if width > COLUMN else 1
        figure, panels = panel_rows(len(kinds), across, width, 2.5, 0.3, sharex=True, sharey=True)
        heading(figure, title)
        for axes, (kind, labels), own in zip(panels, kinds.items(), named, strict=True):
            others = frame[~frame["label"].isin(labels)].dropna(subset=["total", "top1"])
            for _, rest in others.groupby("label", sort=False):
                rest = rest.sort_values("total")
                grey: Style = {"color": GRID["light"], "linewidth": 1, "zorder": 1}
                axes.plot(rest["total"], rest["top1"] * 100, label="_rest", **grey)
            _curves(axes, own, looks, "top1", 100.0)
            axes.set_title(kind)
            _costs(axes, frame, convention, words=False)
            axes.set_xlabel(unit(frame["total"])[1] + convention_words(convention)[0])
            axes.label_outer(remove_inner_ticks=False)
        figure.supylabel(f"{metric_of(frame).axis}, %", fontsize=8, color=SOFT["light"])
        figure.draw_without_rendering()
        # on one side in all panels: on both sides, columns of names would leave no room between
        side = min(ENDS, key=lambda end: _moved(panels, named, looks, end))
        # names in one panel may stretch the axis that all share, which moves those of the others
        notes: list[Annotation] = []
        for _ in range(PASSES):
            for note in notes:
                note.remove()
            before = panels[0].get_xlim()
            notes = []
            for axes, own in zip(panels, named, strict=True):
                notes += _names(axes, own, looks, (side,))
            if np.allclose(before, panels[0].get_xlim(), rtol=1e-3):
                break
        # the last panel is at the bottom: above it, numbers are hidden and have no text
        _thin_ticks(panels[-1])
        return figure


def _thin_ticks(axes: Axes) -> None:
    """Leave out every second tick while the names of neighbours would touch."""
    low, high = axes.get_xlim()
    room = axes.get_window_extent().width / axes.get_figure(root=True).dpi  # type: ignore[union-attr]
    places = list(axes.get_xticks())
    names = [label.get_text() for label in axes.get_xticklabels()]
    widest = max((inches(line, 7) for name in names for line in name.splitlines()), default=0.0)
    while len(places) > 1 and abs(places[1] - places[0]) * room / (high - low) < 1.1 * widest:
        places, names = places[::2], names[::2]
    axes.set_xticks(places, names)


def grouped(frame: pd.DataFrame, looks: Looks) -> dict[str, list[str]]:
    """Return the labels of `frame` by group, in the order of groups, without the dense model."""
    present = set(frame["label"])
    groups: dict[str, list[str]] = {}
    for kind in GROUPS:
        labels = [name for name, look in looks.items() if look.group == kind and name in present]
        if labels and kind != DENSE:
            groups[kind] = labels
    return groups


def one_budget(part: pd.DataFrame) -> bool:
    """Return whether all methods of `part` have the same budget, so that lines are points."""
    return part["budget"].nunique() == 1


def _height(part: pd.DataFrame) -> float:
    """Return the inches that a panel needs for its names to be legible."""
    methods = part["label"].nunique()
    if one_budget(part):
        return max(1.6, 0.8 + 0.19 * methods)
    return min(6.0, max(3.5, 2.6 + 0.11 * methods))


def _moved(panels: Sequence[Axes], parts: Sequence[pd.DataFrame], looks: Looks, end: int) -> float:
    """Return how far names at this end of the lines are from them, in all panels."""
    far = 0.0
    for axes, part in zip(panels, parts, strict=True):
        tags, _ = _tags(part, looks)
        far += moved(axes, [tag for tag in tags if len(tag.line) > 1], end)
    return far


def _names(
    axes: Axes, part: pd.DataFrame, looks: Looks, ends: Sequence[int] = ENDS
) -> list[Annotation]:
    """Write each method's name at its line, in a column, or near its point if it has only one.

    The column is at one of `ends`. All names are near points if most methods have a budget of their
    own. Returns all annotations, the dense model's level included.
    """
    tags, levels = _tags(part, looks)
    single = [tag for tag in tags if len(tag.line) == 1]
    if len(single) > len(tags) / 2:
        return near(axes, [*tags, *levels], np.empty((0, 2)))
    notes = []
    for level in levels:
        style: Style = NOTE | {"xytext": (2, 1.5), "color": level.colour}
        at = (0.0, level.line[-1, 1])
        notes.append(axes.annotate(level.text, at, xycoords=BESIDE, **style))
    points = [np.empty((0, 2)), *(level.line for level in levels)]
    lines = [tag for tag in tags if len(tag.line) > 1]
    notes += beside(axes, lines, np.concatenate([*points, *(tag.line for tag in single)]), ends)
    return notes + near(axes, single, np.concatenate([*points, *(tag.line for tag in lines)]))


def _tags(part: pd.DataFrame, looks: Looks) -> tuple[list[Tag], list[Tag]]:
    """Return the names of methods, and those of the dense model's levels, with their lines."""
    complete = part.dropna(subset=["total", "top1"]).sort_values("total")
    tags, levels = [], []
    for label, rows in complete.groupby("label", sort=False):
        line = np.column_stack((rows["total"], rows["top1"] * 100))
        look = looks[str(label)]
        if look.group == DENSE:
            levels.append(Tag(f"dense {line[-1, 1]:.1f}", look.light, line))
        else:
            tags.append(Tag(look.title, look.light, line))
    return tags, levels


def agreement(frame: pd.DataFrame, looks: Looks, convention: str, width: float = WIDTH) -> Figure:
    """Draw agreement with the dense model, and KL(dense || reduced), against FLOPs.

    Each backbone has two panels, one below the other in a figure of one column.
    """
    backbones = list(dict.fromkeys(frame["backbone"]))
    with paper_style():
        across, extra, most = (2, 0.3, 5) if width > COLUMN else (1, 0.6, 3)
        figure, panels = panel_rows(2 * len(backbones), across, width, 2.9, extra)
        for left, right, backbone in zip(panels[::2], panels[1::2], backbones, strict=True):
            # the dense model agrees with itself
            part = frame[(frame["backbone"] == backbone) & (frame["method"] != "none")]
            _curves(left, part, looks, "agreement", 100.0)
            # a logarithmic axis has no place for a divergence of zero
            _curves(right, part, looks, "kl", 1.0, log=bool((part["kl"].dropna() > 0).all()))
            plain = FuncFormatter(lambda value, _: f"{value:g}")
            right.yaxis.set_major_formatter(plain)
            # Between powers of ten matplotlib writes mathematics, which is not drawn as such here.
            low, high = right.get_ylim()
            right.yaxis.set_minor_formatter(plain if high < 10 * low else NullFormatter())
            left.set_title(backbone)
            left.set_ylabel("same prediction as dense, %")
            right.set_ylabel("KL(dense, reduced), nats")
            for axes in (left, right):
                _costs(axes, part, convention, words=False)
        # names are sorted as the lines are, by mean rank within a budget
        ranks = frame.groupby(["backbone", "budget"])["top1"].rank(pct=True)
        titles = frame["label"].map(lambda label: title_of(label, looks))
        height = ranks.groupby(titles).mean().to_dict()
        legend_below(figure, panels[::2], most, 30, height, handlelength=2.6)
        return figure


def _shade(axes: Axes, part: pd.DataFrame, marks: Marks, looks: Looks) -> None:
    """Shade the budgets at which no method beats a blind baseline, and name the baseline.

    Neighbours that leave no room between them share their words.
    """
    low, high = axes.get_xlim()
    # The column of names may take a quarter of the axis later.
    room = 1.3 * inches("no method shown", 6) * (high - low) / (panel_width(axes) - 0.8)
    together: list[list[tuple[float, str]]] = []
    for place, band, baseline in sorted(shaded(part, marks)):
        grey: Style = {"color": SOFT["light"], "alpha": 0.13, "linewidth": 0}
        axes.axvspan(place - band / 2, place + band / 2, zorder=0, **grey)
        if not together or place - together[-1][-1][0] > room:
            together.append([])
        together[-1].append((place, above_band(baseline, looks)))
    for neighbours in together:
        middle = (neighbours[0][0] + neighbours[-1][0]) / 2
        names = ", ".join(dict.fromkeys(baseline for _, baseline in neighbours))
        words = f"no method shown\nto beat {names}"
        style: Style = NOTE | {"xytext": (0, 1), "fontsize": 6, "linespacing": 1.0}
        axes.annotate(words, (middle, 1.0), xycoords=ABOVE, ha="center", **style)


def _curves(
    axes: Axes,
    part: pd.DataFrame,
    looks: Looks,
    column: str,
    scale: float,
    log: bool = False,
) -> None:
    """Draw a line for each method and a level for the dense model, without missing values."""
    axes.set_yscale("log" if log else "linear")
    axes.margins(x=0.05, y=0.08)
    part = part.dropna(subset=["total", column])
    drawn = side_by_side(part) if column == "top1" else part.assign(place=part["total"], near=False)
    for label, rows in drawn.groupby("label", sort=False):
        rows = rows.sort_values("total")
        look = looks[str(label)]
        line = broken(rows)
        axes.plot(line["place"], line[column] * scale, label=look.title, zorder=3, **stroke(look))
        if column == "top1":
            _intervals(axes, rows, look.light, scale)
        if column == "top1" and (rows["seeds"] > 1).any():
            band = (rows["seed_low"] * scale, rows["seed_high"] * scale)
            shade: Style = {"color": look.light, "alpha": 0.25, "linewidth": 0}
            axes.fill_between(rows["place"], *band, zorder=1, **shade)
        if (rows["method"] == "none").all():
            axes.axhline(float(rows[column].iloc[0]) * scale, **THIN)


def _intervals(axes: Axes, rows: pd.DataFrame, colour: str, scale: float) -> None:
    """Draw the 95 % interval of each point as a thin upright line."""
    rows = rows.dropna(subset=["top1_low", "top1_high"])
    ends = rows["top1_low"] * scale, rows["top1_high"] * scale
    axes.vlines(rows["place"], *ends, color=colour, linewidth=0.7, alpha=0.5, zorder=2)


def shaded(part: pd.DataFrame, marks: Marks) -> list[tuple[float, float, str]]:
    """Return the budgets of one backbone at which no method beats a blind baseline.

    For each: its place and width on the FLOPs axis, and the best blind baseline.
    """
    totals = part["total"].dropna()
    width = 0.05 * float(totals.max() - totals.min()) if len(totals) else 0.0
    bands = []
    for budget, rows in part.groupby("budget"):
        mark = marks.get((str(rows["backbone"].iloc[0]), float(str(budget))))
        if mark and mark.none_shown:
            equal = rows[rows["label"].isin(mark.not_shown)]
            bands.append((float(equal["total"].mean()), width, mark.baseline))
    return bands


def _costs(axes: Axes, part: pd.DataFrame, convention: str, words: bool = True) -> None:
    """Label the axis with FLOPs per image and the share removed; its title names the convention."""
    short, meaning = convention_words(convention)
    explained = f"\n({meaning})" if words and meaning else ""
    prefix = unit(part["total"])[1]
    sample = sample_name(next(iter(part["kind"]), "images"))
    axis = f"{prefix}{short} per {sample}, convention “{convention}”, and share removed"
    axes.set_xlabel(wrapped(axis + explained, panel_width(axes) - 0.8, 8))
    places, names = ticks(part)
    if places:
        # With the margin of the points, which a single budget would put on the edge.
        axes.update_datalim([(place, 0) for place in places], updatey=False)
        axes.autoscale_view(scaley=False)
        axes.set_xticks(places, names)


def ticks(part: pd.DataFrame) -> tuple[list[float], list[str]]:
    """Return places and two-line names of ticks from the dense to the cheapest cost of `part`."""
    costs = part[(part["removed"] < 0.999) & part["total"].notna()]
    if costs.empty:
        return [], []
    # every cell implies the dense cost; the median is robust to rounding
    dense = float((costs["total"] / (1 - costs["removed"])).median())
    deepest = 1 - float(costs["total"].min()) / dense
    # a tick every 10 % would crowd a long axis
    step = 10 if deepest < 0.45 else 20
    size = unit(part["total"])[0]
    places, names = [], []
    for share in range(0, 100, step):
        if share / 100 > deepest + 0.04:
            break
        cost = dense * (1 - share / 100)
        places.append(cost)
        names.append(f"{cost / size:.3g}\n{f'−{share} %' if share else 'dense'}")
    return places, names

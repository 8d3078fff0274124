"""Which score knows what matters: held against exact removal, against the true object, and by what pruning costs."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.figures.canvas import GUIDE, columns, paper, sheet
from reports.figures.lines import by_block, level, line
from reports.figures.stacks import grids, stacked
from reports.report_data import Sheet
from reports.section import Drawing, Maps, Section, Table
from reports.sensitivity_common import (
    OVERALL,
    WORDS,
    houses,
    named,
    of,
    one,
    ranking,
    told,
)
from reports.style import INK, SOFT

ORDER = 42
INTERVAL = ("block", "mean", "low", "high", "images")
NEEDS = {"sensitivity_scores": ("backbone", "target", "score", *INTERVAL)}
OPTIONAL = {
    "sensitivity_map": ("backbone", "block", "row", "col"),
    "sensitivity_groups": ("backbone", "ranking", "window", "quantity", *INTERVAL),
}
TARGETS = {
    "removal_kl": ("how far removal moves the answer", "rank correlation", 0.0),
    "removal_loss": ("what removal costs", "rank correlation", 0.0),
    "foreground": ("which tokens show the object", "area under the ROC", 0.5),
}
TRACES = {"delta": "mean Δ", "b": "mean |B|", "c": "mean |C|"}
STYLES: dict[str, dict[str, Any]] = {
    "delta": {"color": "#3a6ec8"},
    "b": {"color": "#147b4c"},
    "c": {"color": "#e0200f"},
    "delta-b": {"color": "#603594"},
    "activation": {"color": "#796815"},
    "norm": {"color": "#89004c"},
    "cls-similarity": {"color": "#00718f"},
    "hidden-attention": {"color": INK["light"]},
    "cls-attention": {"color": "#b0387f"},
    "random": {"color": "#9aa3af"},
    "place": {"color": SOFT["light"], "linestyle": ":"},
    "foreground": {"color": SOFT["light"], "linestyle": "--"},
    "removal": {"color": SOFT["light"], "linestyle": "-."},
    "removal-kl": {"color": INK["light"], "linestyle": ":"},
    "bound": {"color": INK["light"], "linestyle": (0, (3, 1, 1, 1))},
}
COSTS = {"loss": "rise of the loss, nats", "flip": "share of predictions that flip"}


def section(sheet: Sheet, frames: Mapping[str, pd.DataFrame]) -> Section | None:
    """The section."""
    rows = frames["sensitivity_scores"]
    groups, maps = frames.get("sensitivity_groups"), frames.get("sensitivity_map")
    there = houses(rows)
    figures = []
    for house in there:
        part = rows[rows["backbone"] == house]
        figures += [_ranking(part, house, there), _layers(part, house, there)]
        if groups is not None:
            figures.append(_groups(groups[groups["backbone"] == house], house, there))
        if maps is not None:
            figures += _traces(maps[maps["backbone"] == house], house, there)
    tables = [_table(rows, there)] + ([] if groups is None else [_group_table(groups, there)])
    title = "Which score knows what matters"
    return Section("scores", "why", title, _sentence(rows, there), tuple(figures), tuple(tables))


def registered(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of scores, without the references they are held against."""
    return rows[~rows["score"].isin(list(WORDS))]


def _sentence(rows: pd.DataFrame, there: list[str]) -> str:
    parts = []
    for house in there:
        part = rows[(rows["backbone"] == house) & (rows["block"] == OVERALL)]
        scores = registered(part)
        told_of = []
        for target, (words, measure, _) in TARGETS.items():
            those = scores[scores["target"] == target].sort_values(
                "mean", ascending=False, kind="stable"
            )
            if len(those):
                told_of.append(
                    f"{words}: {ranking(str(those.iloc[0]['score']))}, {measure} {told(those.iloc[0])}"
                )
        place = one(part, target="removal_kl", score="place")
        if told_of:
            parts.append(f"The best score on {house} for {'; for '.join(told_of)}.")
        if place is not None:
            parts.append(
                f"The mean map of the other images, which never looks at this one, reaches {told(place)} for the first."
            )
    return " ".join(parts)


def _ranking(rows: pd.DataFrame, house: str, there: list[str]) -> Drawing:
    return Drawing(
        named("sensitivity-scores", house, there),
        partial(ranked, rows[rows["block"] == OVERALL]),
        f"{of(house, there)}What each score knows of {', '.join(words for words, *_ in TARGETS.values())}: mean "
        "over the "
        "blocks before which it can be read, with its 95 % interval over images. Both scan directions, and each "
        "alone. "
        "Hollow: what is no score but a yardstick; “place” is the mean map of the other images.",
        "Dot chart of the scores by how well each agrees with exact removal and with the true object.",
    )


def ranked(rows: pd.DataFrame, width: float) -> Figure:
    """A panel for each target, a line for each score, best on top by the first target."""
    targets = [target for target in TARGETS if (rows["target"] == target).any()]
    first = (
        rows[rows["target"] == targets[0]].set_index("score")["mean"]
        if targets
        else pd.Series(dtype=float)
    )
    order = list(first.sort_values(kind="stable").index)
    order = [name for name in dict.fromkeys(rows["score"]) if name not in order] + order
    with paper():
        figure = sheet(width, 0.6 + 0.165 * len(order))
        panels = figure.subplots(1, max(1, len(targets)), squeeze=False, sharey=True)[0]
        for axes, target in zip(panels, targets, strict=False):
            _dots(axes, rows[rows["target"] == target], order)
            words, measure, blind = TARGETS[target]
            axes.axvline(blind, **GUIDE)
            axes.set_title(textwrap.fill(words, 18), fontsize=7.5)
            axes.set_xlabel(measure)
        panels[0].set_yticks(range(len(order)), [ranking(name) for name in order], fontsize=7)
        panels[0].set_ylim(-0.7, len(order) - 0.3)
        return figure


def _dots(axes: Axes, rows: pd.DataFrame, order: list[str]) -> None:
    for row in rows.to_dict("records"):
        place, yardstick = order.index(str(row["score"])), row["score"] in WORDS
        if np.isfinite(row["low"]):
            axes.hlines(place, row["low"], row["high"], color=SOFT["light"], linewidth=1.4)
        style: dict[str, Any] = {"markerfacecolor": "white"} if yardstick else {}
        axes.plot(row["mean"], place, "o", color=INK["light"], markersize=3.8, **style)


def _layers(rows: pd.DataFrame, house: str, there: list[str]) -> Drawing:
    return Drawing(
        named("sensitivity-scores-by-block", house, there),
        partial(score_lines, rows[rows["block"] != OVERALL]),
        f"{of(house, there)}The same by block, for scores of both directions together; the yardstick “place” dotted.",
        "Line charts of how well each score agrees with exact removal and with the true object, by block.",
    )


def score_lines(rows: pd.DataFrame, width: float) -> Figure:
    """A panel for each target, a line for each score by block."""
    targets = [target for target in TARGETS if (rows["target"] == target).any()]
    with paper():
        figure = sheet(width, 3.3)
        panels = figure.subplots(1, max(1, len(targets)), squeeze=False)[0]
        for axes, target in zip(panels, targets, strict=False):
            part = rows[
                (rows["target"] == target)
                & (~rows["score"].isin(list(WORDS)) | (rows["score"] == "place"))
            ]
            _draw(axes, part, "score", band=True)
            words, measure, blind = TARGETS[target]
            level(axes, blind)
            axes.set_title(textwrap.fill(words, 22), fontsize=7.5)
            axes.set_ylabel(measure)
        return _named(figure, panels)


def _draw(axes: Axes, rows: pd.DataFrame, column: str, band: bool) -> None:
    """A line by block for each ranking in `column` that has a style."""
    for name, style in STYLES.items():
        if (rows[column] == name).any():
            line(axes, rows[rows[column] == name], "block", ranking(name), band=band, **style)
    by_block(axes)


def _named(figure: Figure, panels: Sequence[Axes]) -> Figure:
    """`figure` with one key for all its panels."""
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(
        handles, names, loc="outside lower center", ncols=columns(len(names), 4), handlelength=3
    )
    return figure


def _groups(groups: pd.DataFrame, house: str, there: list[str]) -> Drawing:
    return Drawing(
        named("sensitivity-groups", house, there),
        partial(group_lines, groups[groups["window"] == 0]),
        f"{of(house, there)}What it costs to remove many tokens at once before one block, those that a ranking "
        "puts last, "
        "nothing merged. Exact removal one at a time is a ranking too, and no bound: two tokens that can each be "
        "spared "
        "need not be spared together. The table has the intervals.",
        "Line charts of the rise of the loss and of flipped predictions when a ranking prunes before one block.",
    )


def group_lines(groups: pd.DataFrame, width: float) -> Figure:
    """Rise of the loss and flips by block, a line for each ranking."""
    with paper():
        figure = sheet(width, 3.6)
        panels = figure.subplots(1, len(COSTS))
        for axes, (quantity, name) in zip(panels, COSTS.items(), strict=True):
            _draw(axes, groups[groups["quantity"] == quantity], "ranking", band=False)
            level(axes)
            axes.set_ylabel(name)
        return _named(figure, panels)


def _group_table(groups: pd.DataFrame, there: list[str]) -> Table:
    """Flips by ranking and block, in per cent."""
    rows = groups[(groups["window"] == 0) & (groups["quantity"] == "flip")]
    blocks = sorted(int(block) for block in rows["block"].unique())
    scaled = rows.assign(**{name: 100 * rows[name] for name in ("mean", "low", "high")})
    lines = []
    for house in there:
        part = scaled[scaled["backbone"] == house]
        order = (
            part[part["block"] > 0]
            .groupby("ranking")["mean"]
            .mean()
            .sort_values(kind="stable")
            .index
        )
        for name in dict.fromkeys([*order, *part["ranking"]]):
            cells = {f"block {block}": one(part, ranking=name, block=block) for block in blocks}
            lines.append(
                {"Ranking": f"{of(house, there)}{ranking(str(name))}"}
                | {head: "" if row is None else told(row, 0) for head, row in cells.items()}
            )
    return Table(
        "sensitivity-groups-table",
        "Per cent of the predictions that flip when the tokens that a ranking puts last go at once before one "
        "block, with "
        "95 % intervals over images; fewest flips first.",
        pd.DataFrame(lines),
    )


def _traces(maps: pd.DataFrame, house: str, there: list[str]) -> list[Drawing]:
    columns_there = {
        f"{words}, {direction} scan": f"score_{name}:{direction}"
        for name, words in TRACES.items()
        for direction in ("forward", "backward")
        if f"score_{name}:{direction}" in maps
    }
    rows = maps.dropna(subset=list(columns_there.values())[:1]) if columns_there else maps.iloc[:0]
    if rows.empty:
        return []
    rows = rows.assign(
        block=rows["block"] - 1
    )  # a score before a block is read from the block before
    layers = sorted(int(block) for block in rows["block"].unique())
    values = np.stack([grids(rows, column, layers) for column in columns_there.values()])
    drawn = Maps(
        tuple(columns_there),
        tuple(layers),
        values,
        "mean over images, channels or states",
        shared=False,
    )
    return [
        Drawing(
            named("sensitivity-traces", house, there),
            partial(stacked, drawn),
            f"{of(house, there)}What a block's scans show of each place: the timescale Δ, and the size of B (what "
            "a token "
            "writes) and C (what it reads), in both directions. Each kind of map has a colour scale of "
            "its own, the same in all blocks.",
            "Maps on the image grid, by block, of mean timescale, B and C in both scan directions.",
            drawn,
        )
    ]


def _table(rows: pd.DataFrame, there: list[str]) -> Table:
    lines = []
    for house in there:
        part = rows[(rows["backbone"] == house) & (rows["block"] == OVERALL)]
        order = part[part["target"] == "removal_kl"].sort_values(
            "mean", ascending=False, kind="stable"
        )["score"]
        for name in dict.fromkeys([*order, *part["score"]]):
            found = {
                words: one(part, target=target, score=name)
                for target, (words, *_) in TARGETS.items()
            }
            lines.append(
                {"Ranking": f"{of(house, there)}{ranking(name)}"}
                | {words: "" if row is None else told(row) for words, row in found.items()}
            )
    return Table(
        "sensitivity-scores-table",
        "What each ranking knows, mean over the blocks from 1 on, with 95 % intervals over images: rank "
        "correlation with "
        "exact removal, and the area under the ROC curve for the true object (0.5 is blind).",
        pd.DataFrame(lines),
    )

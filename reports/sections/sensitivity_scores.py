"""Which scores predict exact removal and the true object, and what pruning by them costs."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.figures.canvas import (
    GUIDE,
    Style,
    by_block,
    legend_below,
    level,
    line,
    new_figure,
    paper_style,
)
from reports.figures.tokens import stacked
from reports.report_data import ReportData
from reports.section import Drawing, Frames, Section, Table, stored
from reports.sensitivity_common import (
    OVERALL,
    REFERENCES,
    BackbonePart,
    by_backbone,
    cost_panels,
    format_interval,
    grid_maps,
    ranked,
    ranking_name,
    ranking_table,
    select_rows,
)
from reports.style import INK, SOFT
from suite.stats.score_words import Predictor, score_answer

NEEDS = stored("sensitivity_scores")
OPTIONAL = stored("sensitivity_map", "sensitivity_groups")
# Scores that are a quantity of the scan itself, and their symbols.
TRACES = {"delta": "mean Δ", "b": "mean |B|", "c": "mean |C|"}
# What a score is compared with: words, the measure of agreement, and its value by chance.
TARGETS = {
    "removal_kl": ("how far removal moves the answer", "rank correlation", 0.0),
    "removal_loss": ("what removal costs", "rank correlation", 0.0),
    "foreground": ("which tokens show the object", "area under the ROC", 0.5),
}
# The rankings drawn as lines. Those that are no score are grey or black, and most are dashed.
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


def section(report: ReportData, frames: Frames) -> Section | None:
    """Build the figures and tables of what scores predict and what pruning by them costs."""
    parts = by_backbone(frames["sensitivity_scores"])
    groups, maps = frames.get("sensitivity_groups"), frames.get("sensitivity_map")
    figures = []
    for part in parts:
        figures += [_ranking_figure(part), _block_figure(part)]
        if groups is not None:
            figures.append(_pruning_figure(part.of(groups)))
        if maps is not None:
            figures += _trace_maps(part.of(maps))
    tables = [_score_table(parts)]
    if groups is not None:
        tables.append(_pruning_table([part.of(groups) for part in parts]))
    return Section(
        key="scores",
        part="why",
        title="Which scores predict what matters",
        sentence=" ".join(filter(None, map(_sentence, parts))),
        figures=tuple(figures),
        tables=tuple(tables),
        brief=" ".join(filter(None, map(_brief, parts))),
    )


def _brief(part: BackbonePart) -> str:
    """The score that predicts best how far removal moves the answer, beside the blind one."""
    rows = select_rows(part.rows, block=OVERALL, target="removal_kl")
    best = ranked(rows[~rows["score"].isin(list(REFERENCES))], ascending=False)
    place = select_rows(rows, score="place")
    words = score_answer(
        [Predictor.of(row) for _, row in best.iterrows()],
        Predictor.of(place.iloc[0]) if len(place) else None,
        ranking_name,
    )
    return f"{part.prefix}{words}" if words else ""


def _sentence(part: BackbonePart) -> str:
    overall = select_rows(part.rows, block=OVERALL)
    # Exact effects and the true object are references: no method could rank by them.
    scores = overall[~overall["score"].isin(list(REFERENCES))]
    findings = []
    for target, (words, measure, _) in TARGETS.items():
        best = ranked(select_rows(scores, target=target), ascending=False)
        # The object is known in data sets with masks only.
        if len(best):
            name = ranking_name(best.iloc[0]["score"])
            findings.append(f"{words}: {name}, {measure} {format_interval(best.iloc[0])}")
    sentences = []
    if findings:
        sentences.append(f"The best score on {part.backbone} for {'; for '.join(findings)}.")
    # What a score must exceed to have read anything of the image.
    place = select_rows(overall, target="removal_kl", score="place")
    if len(place):
        sentences.append(
            "The mean map of the other images, which never looks at this one, reaches "
            f"{format_interval(place.iloc[0])} for the first."
        )
    return " ".join(sentences)


def _ranking_figure(part: BackbonePart) -> Drawing:
    targets = ", ".join(words for words, *_ in TARGETS.values())
    return part.drawing(
        "sensitivity-scores",
        partial(score_dots, select_rows(part.rows, block=OVERALL)),
        f"How well each score predicts {targets}: mean over the blocks before which it can be "
        "read, with its 95 % interval over images. Both scan directions, and each alone. Hollow: "
        "no score but a reference; “place” is the mean map of the other images.",
        "Dot chart of the scores by how well each agrees with exact removal and with the true "
        "object.",
    )


def _block_figure(part: BackbonePart) -> Drawing:
    return part.drawing(
        "sensitivity-scores-by-block",
        partial(score_lines, part.rows[part.rows["block"] != OVERALL]),
        "The same by block, for scores of both directions together; the reference “place” dotted.",
        "Line charts of how well each score agrees with exact removal and with the true object, "
        "by block.",
    )


def _pruning_figure(part: BackbonePart) -> Drawing:
    return part.drawing(
        "sensitivity-groups",
        partial(pruning_lines, select_rows(part.rows, window=0)),
        "What it costs to remove many tokens at once before one block, those that a ranking puts "
        "last, nothing merged. Exact removal one at a time is a ranking too, and no bound: two "
        "tokens that can each be spared need not be spared together. The table has the intervals.",
        "Line charts of the rise of the loss and of flipped predictions when a ranking prunes "
        "before one block.",
    )


def _pruning_table(parts: Sequence[BackbonePart]) -> Table:
    """Tabulate flips by ranking and block, in per cent."""
    # Without protected windows, which have a figure of their own.
    rows_by_part = [select_rows(part.rows, window=0, quantity="flip") for part in parts]
    blocks = sorted(pd.concat(rows_by_part)["block"].unique())
    heads = {f"block {block}": {"block": block} for block in blocks}
    lines = []
    for part, rows in zip(parts, rows_by_part, strict=True):
        bounds = ["mean", "low", "high"]
        rows = rows.assign(**{name: 100 * rows[name] for name in bounds})
        # Before block 0 no score can be read, so that it would favour the references.
        means = rows[rows["block"] > 0].groupby("ranking", as_index=False)["mean"].mean()
        order = ranked(means, ascending=True)
        lines += ranking_table(replace(part, rows=rows), "ranking", order, heads, digits=0)
    return Table(
        "sensitivity-groups-table",
        "Per cent of the predictions that flip when the tokens that a ranking puts last are "
        "removed at once before one block, with 95 % intervals over images; fewest flips first.",
        pd.DataFrame(lines),
    )


def _trace_maps(part: BackbonePart) -> list[Drawing]:
    """Return the figure of mean timescale, B and C; none where no trace of them is stored."""
    kinds = {}
    for name, words in TRACES.items():
        for direction in ("forward", "backward"):
            column = f"score_{name}:{direction}"
            if column in part.rows:
                kinds[f"{words}, {direction} scan"] = column
    # Attention backbones have no scan.
    if not kinds:
        return []
    # Before block 0 there is no trace; one of the columns tells where all are missing.
    rows = part.rows.dropna(subset=list(kinds.values())[:1])
    if rows.empty:
        return []
    # A score before a block is read from the trace of the block before.
    rows = rows.assign(block=rows["block"] - 1)
    maps = grid_maps(rows, kinds, "mean over images, channels or states")
    drawing = part.drawing(
        "sensitivity-traces",
        partial(stacked, maps),
        "What a block's scans show of each place: the timescale Δ, and the size of B (what a token "
        "writes) and C (what it reads), in both directions. Each kind of map has a colour scale of "
        "its own, the same in all blocks.",
        "Maps on the image grid, by block, of mean timescale, B and C in both scan directions.",
        maps,
    )
    return [drawing]


def _score_table(parts: Sequence[BackbonePart]) -> Table:
    heads = {words: {"target": target} for target, (words, *_) in TARGETS.items()}
    lines = []
    for part in parts:
        overall = select_rows(part.rows, block=OVERALL)
        # Best first by the first target; rankings without a value for it follow.
        order = ranked(select_rows(overall, target="removal_kl"), ascending=False)
        lines += ranking_table(replace(part, rows=overall), "score", order, heads)
    return Table(
        "sensitivity-scores-table",
        "How well each ranking predicts the targets, mean over the blocks from 1 on, with 95 % "
        "intervals over images: rank correlation with exact removal, and the area under the ROC "
        "curve for the true object (0.5 is blind).",
        pd.DataFrame(lines),
    )


def score_dots(rows: pd.DataFrame, width: float) -> Figure:
    """Draw a panel for each target and a line for each score, best on top by the first target."""
    targets = _measured_targets(rows)
    order: list[str] = []
    if targets:
        order = list(ranked(select_rows(rows, target=targets[0]), ascending=True)["score"])
    # Scores without a value for the first target go to the bottom.
    order = [name for name in rows["score"].unique() if name not in order] + order
    with paper_style():
        figure = new_figure(width, 0.6 + 0.165 * len(order))
        panels = figure.subplots(1, max(1, len(targets)), squeeze=False, sharey=True)[0]
        for axes, target in zip(panels, targets, strict=False):
            for row in select_rows(rows, target=target).to_dict("records"):
                height = order.index(row["score"])
                # A mean over one image has no interval.
                if np.isfinite(row["low"]):
                    axes.hlines(height, row["low"], row["high"], color=SOFT["light"], linewidth=1.4)
                fill = "white" if row["score"] in REFERENCES else INK["light"]
                dot: Style = {"color": INK["light"], "markersize": 3.8, "markerfacecolor": fill}
                axes.plot(row["mean"], height, "o", **dot)
            words, measure, blind = TARGETS[target]
            axes.axvline(blind, **GUIDE)
            axes.set_title(textwrap.fill(words, 18), fontsize=7.5)
            axes.set_xlabel(measure)
        names = [ranking_name(name) for name in order]
        panels[0].set_yticks(range(len(order)), names, fontsize=7)
        panels[0].set_ylim(-0.7, len(order) - 0.3)
        return figure


def _measured_targets(rows: pd.DataFrame) -> list[str]:
    # Data sets without masks lack the object.
    measured = set(rows["target"])
    return [target for target in TARGETS if target in measured]


def score_lines(rows: pd.DataFrame, width: float) -> Figure:
    """Draw a panel for each target, a line for each score by block."""
    targets = _measured_targets(rows)
    # Of the references only `place` is drawn: the others would crowd the scores.
    hidden = [name for name in REFERENCES if name != "place"]
    rows = rows[~rows["score"].isin(hidden)]
    with paper_style():
        figure = new_figure(width, 3.3)
        panels = figure.subplots(1, max(1, len(targets)), squeeze=False)[0]
        for axes, target in zip(panels, targets, strict=False):
            _draw_lines(axes, select_rows(rows, target=target), "score", band=True)
            words, measure, blind = TARGETS[target]
            level(axes, blind)
            axes.set_title(textwrap.fill(words, 22), fontsize=7.5)
            axes.set_ylabel(measure)
        legend_below(figure, panels[:1], most=4, handlelength=3)
        return figure


def _draw_lines(axes: Axes, rows: pd.DataFrame, column: str, band: bool) -> None:
    """Draw a line by block for each ranking in `column` that has a style."""
    for name, style in STYLES.items():
        part = rows[rows[column] == name]
        if len(part):
            line(axes, part, "block", ranking_name(name), band=band, **style)
    by_block(axes)


def pruning_lines(groups: pd.DataFrame, width: float) -> Figure:
    """Draw the rise of the loss and flips by block, a line for each ranking."""

    def draw(axes: Axes, rows: pd.DataFrame) -> None:
        # The bands of fifteen lines would hide them.
        _draw_lines(axes, rows, "ranking", band=False)

    return cost_panels(groups, width, 3.6, draw, most=4, handlelength=3)

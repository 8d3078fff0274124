"""Which scores predict exact removal and the true object, and what pruning by them costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import pandas as pd

from reports.figures.scores import TARGETS, pruning_lines, score_dots, score_lines
from reports.figures.stacks import stacked
from reports.report_data import ReportData
from reports.section import Drawing, Section, Table
from reports.sensitivity_common import (
    INTERVAL,
    OVERALL,
    REFERENCES,
    BackbonePart,
    by_backbone,
    format_interval,
    grid_maps,
    interval_cells,
    ranked,
    ranking_name,
    select_rows,
)

NEEDS = {"sensitivity_scores": ("backbone", "target", "score", *INTERVAL)}
OPTIONAL = {
    "sensitivity_map": ("backbone", "block", "row", "col"),
    "sensitivity_groups": ("backbone", "ranking", "window", "quantity", *INTERVAL),
}
# Scores that are a quantity of the scan itself, and their symbols.
TRACES = {"delta": "mean Δ", "b": "mean |B|", "c": "mean |C|"}


def section(report: ReportData, frames: Mapping[str, pd.DataFrame]) -> Section | None:
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
    )


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
        order = ranked(means, ascending=True)["ranking"]
        for name in dict.fromkeys([*order, *rows["ranking"]]):
            cells = interval_cells(select_rows(rows, ranking=name), heads, digits=0)
            lines.append({"Ranking": f"{part.prefix}{ranking_name(name)}", **cells})
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
        order = ranked(select_rows(overall, target="removal_kl"), ascending=False)["score"]
        for name in dict.fromkeys([*order, *overall["score"]]):
            cells = interval_cells(select_rows(overall, score=name), heads)
            lines.append({"Ranking": f"{part.prefix}{ranking_name(name)}", **cells})
    return Table(
        "sensitivity-scores-table",
        "How well each ranking predicts the targets, mean over the blocks from 1 on, with 95 % "
        "intervals over images: rank correlation with exact removal, and the area under the ROC "
        "curve for the true object (0.5 is blind).",
        pd.DataFrame(lines),
    )

"""Static figures of a run, each with the name of its files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from reports import aggregate
from reports.figures.canvas import COLUMN, WIDTH
from reports.figures.gallery import gallery, layers
from reports.figures.lead import lead_figure
from reports.figures.tokens import foreground, kept_maps
from reports.figures.tradeoff import agreement, groups, one_budget, pareto
from reports.formatting import budget_name
from reports.page_panels import last_block, one_seed
from reports.report_data import ReportData
from reports.run import SMALLER
from reports.section import Section

MANY = 9  # more methods than these are also shown group by group
GALLERY_ROWS, MAP_ROWS, LAYER_ROWS = 4, 12, 6


@dataclass(frozen=True)
class Room:
    """Room of a figure of this width: methods of the gallery, blocks of maps and of layers."""

    width: float
    methods: int
    blocks: int
    layers: int


PAGE = Room(WIDTH, 7, 7, 6)
ONE_COLUMN = Room(COLUMN, 3, 3, 3)


def drawn(
    report: ReportData, sections: Sequence[Section] = (), room: Room = PAGE
) -> Iterator[tuple[str, Figure]]:
    """Draw every figure that the run has data for, at the width of `room` or wider if needed.

    They are ``pareto``, ``groups`` (if there are many methods), ``lead`` (if a blind baseline ran),
    ``agreement``, ``foreground``, ``kept``, ``gallery`` and ``gallery-layers``, then those of
    `sections`. Figures of one backbone have its name if there are several. The first four are left
    out if there is no trade-off to draw (`ReportData.trades`).
    """
    if report.trades and not report.frame.empty:
        yield from _tradeoffs(report, room)
    if not report.blocks.empty:
        budget = report.focus(report.blocks)
        yield "foreground", foreground(report.blocks, report.looks, budget, room.width)
    for backbone in report.backbones:
        yield from _maps(report, backbone, room)
        yield from _pictures(report, backbone, room)
    for section in sections:
        for drawing in section.figures:
            yield drawing.name, drawing.draw(room.width)


def _tradeoffs(report: ReportData, room: Room) -> Iterator[tuple[str, Figure]]:
    """Draw accuracy against cost, as a whole, by group, beside the baselines, and agreement."""
    convention, chance = report.run.convention, report.run.chance
    figure = pareto(report.frame, report.looks, convention, report.marks, chance, room.width)
    yield "pareto", figure
    for backbone in report.backbones:
        part = report.frame[report.frame["backbone"] == backbone]
        if part["label"].nunique() > MANY and not one_budget(part):
            figure = groups(part, report.looks, convention, backbone, room.width)
            yield named("groups", backbone, report), figure
        marks = [mark for (name, _), mark in sorted(report.marks.items()) if name == backbone]
        if marks:
            title = f"{backbone}: beside the best blind baseline"
            yield (
                named("lead", backbone, report),
                lead_figure(marks, report.looks, title, report.run.metric, room.width),
            )
    # A smaller model has no agreement with the dense one.
    agreeing = report.frame[report.frame["method"] != SMALLER]
    if (agreeing["method"] != "none").any():
        yield "agreement", agreement(agreeing, report.looks, convention, room.width)


def named(stem: str, backbone: str, report: ReportData) -> str:
    """Return the file stem of a figure that each backbone has."""
    if len(report.backbones) == 1:
        return stem
    return f"{stem}-{re.sub(r'[^A-Za-z0-9]+', '-', backbone)}"


def _maps(report: ReportData, backbone: str, room: Room) -> Iterator[tuple[str, Figure]]:
    """Draw where on the image tokens are kept, at the budget in focus."""
    kept = report.run.kept_tokens[report.run.kept_tokens["backbone"] == backbone]
    if kept.empty:
        return
    budget = report.focus(kept)
    kept = kept[kept["budget"] == budget]
    blocks = aggregate.blocks_of(kept)
    blocks = aggregate.chosen_blocks(blocks, room.blocks)
    keys = ["label", "block", "row", "col"]
    mean = aggregate.averaged(kept[kept["block"].isin(blocks)], keys, "kept")
    title = f"{backbone}: tokens kept, {budget_name(budget)} of FLOPs removed"
    labels = report.ordered(mean)[:MAP_ROWS]
    titles = {label: report.title(label) for label in labels}
    figure = kept_maps(mean, titles, blocks, title, room.width, report.run.kind)
    yield named("kept", backbone, report), figure


def _pictures(report: ReportData, backbone: str, room: Room) -> Iterator[tuple[str, Figure]]:
    """Draw the fate of tokens on pictures, and on one picture block by block."""
    rows = report.run.gallery[report.run.gallery["backbone"] == backbone]
    if rows.empty or report.shape is None or not report.pictures:
        return
    budget = report.focus(rows)
    rows = rows[rows["budget"] == budget]
    words = f"{budget_name(budget)} of FLOPs removed"
    labels, wide = report.ordered(rows), room.methods
    # -1, before all blocks, takes the place of the first, which is never shown
    blocks = aggregate.chosen_blocks([-1, *aggregate.blocks_of(rows)], room.layers)
    rows = rows[rows["image"].isin(list(report.pictures)[:GALLERY_ROWS])]
    title = f"{backbone}: what became of the tokens, {words}"
    answers = gallery(report, last_block(rows), labels[:wide], title, room.width, labels[wide:])
    yield named("gallery", backbone, report), answers
    if len(blocks) > 1:
        image = next(iter(report.pictures))
        title = f"{backbone}: one picture block by block, {words}"
        mine, high = one_seed(rows[rows["image"] == image]), min(wide, LAYER_ROWS)
        layered = layers(report, mine, labels[:high], blocks, title, room.width, labels[high:])
        yield named("gallery-layers", backbone, report), layered

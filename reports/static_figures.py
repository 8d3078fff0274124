"""Static figures of a run, each with the name of its files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from reports import aggregate as points
from reports.figures.canvas import COLUMN, WIDTH
from reports.figures.gallery import gallery, layers
from reports.figures.lead import lead_figure
from reports.figures.tokens import foreground, kept_maps
from reports.figures.tradeoff import agreement, groups, one_budget, pareto
from reports.formatting import budget_name
from reports.page_panels import last_block, one_seed
from reports.report_data import Sheet
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
    sheet: Sheet, sections: Sequence[Section] = (), room: Room = PAGE
) -> Iterator[tuple[str, Figure]]:
    """Draw every figure that the run has data for, at the width of `room` or wider if needed.

    They are ``pareto``, ``groups`` (if there are many methods), ``lead`` (if a blind baseline ran),
    ``agreement``, ``foreground``, ``kept``, ``gallery`` and ``gallery-layers``, then those of
    `sections`. Figures of one backbone have its name if there are several. The first four are left
    out if there is no trade-off to draw (`Sheet.trades`).
    """
    if sheet.trades and not sheet.frame.empty:
        yield from _tradeoffs(sheet, room)
    if not sheet.blocks.empty:
        budget = sheet.focus(sheet.blocks)
        yield "foreground", foreground(sheet.blocks, sheet.looks, budget, room.width)
    for house in sheet.houses:
        yield from _maps(sheet, house, room)
        yield from _pictures(sheet, house, room)
    for section in sections:
        for drawing in section.figures:
            yield drawing.name, drawing.draw(room.width)


def _tradeoffs(sheet: Sheet, room: Room) -> Iterator[tuple[str, Figure]]:
    """Draw accuracy against cost, as a whole, by group, beside the baselines, and agreement."""
    convention, chance = sheet.run.convention, sheet.run.chance
    figure = pareto(sheet.frame, sheet.looks, convention, sheet.marks, chance, room.width)
    yield "pareto", figure
    for house in sheet.houses:
        part = sheet.frame[sheet.frame["backbone"] == house]
        if part["label"].nunique() > MANY and not one_budget(part):
            figure = groups(part, sheet.looks, convention, house, room.width)
            yield named("groups", house, sheet), figure
        marks = [mark for (backbone, _), mark in sorted(sheet.marks.items()) if backbone == house]
        if marks:
            title = f"{house}: beside the best blind baseline"
            yield named("lead", house, sheet), lead_figure(marks, sheet.looks, title, room.width)
    if (sheet.frame["method"] != "none").any():
        yield "agreement", agreement(sheet.frame, sheet.looks, convention, room.width)


def named(stem: str, house: str, sheet: Sheet) -> str:
    """Return the file stem of a figure that each backbone has."""
    if len(sheet.houses) == 1:
        return stem
    return f"{stem}-{re.sub(r'[^A-Za-z0-9]+', '-', house)}"


def _maps(sheet: Sheet, house: str, room: Room) -> Iterator[tuple[str, Figure]]:
    """Draw where on the image tokens are kept, at the budget in focus."""
    kept = sheet.run.kept_tokens[sheet.run.kept_tokens["backbone"] == house]
    if kept.empty:
        return
    budget = sheet.focus(kept)
    kept = kept[kept["budget"] == budget]
    blocks = sorted(int(block) for block in kept["block"].unique())
    blocks = points.chosen_blocks(blocks, room.blocks)
    keys = ["label", "block", "row", "col"]
    mean = points.averaged(kept[kept["block"].isin(blocks)], keys, "kept")
    title = f"{house}: tokens kept, {budget_name(budget)} of FLOPs removed"
    labels = sheet.ordered(mean)[:MAP_ROWS]
    yield named("kept", house, sheet), kept_maps(mean, labels, blocks, title, room.width)


def _pictures(sheet: Sheet, house: str, room: Room) -> Iterator[tuple[str, Figure]]:
    """Draw the fate of tokens on pictures, and on one picture block by block."""
    rows = sheet.run.gallery[sheet.run.gallery["backbone"] == house]
    if rows.empty or sheet.shape is None or not sheet.pictures:
        return
    budget = sheet.focus(rows)
    rows = rows[rows["budget"] == budget]
    shown = dict(list(sheet.pictures.items())[:GALLERY_ROWS])
    title = f"{house}: what became of the tokens, {budget_name(budget)} of FLOPs removed"
    labels = sheet.ordered(rows)
    columns, others = labels[: room.methods], labels[room.methods :]
    answers = gallery(
        sheet.run, last_block(rows), shown, sheet.shape, columns, title, room.width, others
    )
    yield named("gallery", house, sheet), answers
    # -1, before all blocks, takes the place of the first, which is never shown
    blocks = [-1, *sorted(int(block) for block in rows["block"].unique())]
    blocks = points.chosen_blocks(blocks, room.layers)
    if len(blocks) > 1:
        image, pixels = next(iter(shown.items()))
        title = f"{house}: one picture block by block, {budget_name(budget)} of FLOPs removed"
        mine = one_seed(rows[rows["image"] == image])
        lines = columns[:LAYER_ROWS]
        layered = layers(
            sheet.run,
            mine,
            pixels,
            sheet.shape,
            lines,
            blocks,
            title,
            room.width,
            labels[len(lines) :],
        )
        yield named("gallery-layers", house, sheet), layered

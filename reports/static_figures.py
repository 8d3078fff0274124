"""The static figures of a run, each under the name of its files."""

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
    """How much a figure of this width has room for: methods of the gallery, blocks of the maps and of the layers."""

    width: float
    methods: int
    blocks: int
    layers: int


PAGE = Room(WIDTH, 7, 7, 6)
ONE_COLUMN = Room(COLUMN, 3, 3, 3)


def drawn(
    sheet: Sheet, sections: Sequence[Section] = (), room: Room = PAGE
) -> Iterator[tuple[str, Figure]]:
    """Every figure that this run has the data for, at the width of `room` or at its own where it needs more.

    ``pareto``, ``groups`` (where there are many methods), ``lead`` (where a blind baseline ran), ``agreement``,
    ``foreground``, ``kept``, ``gallery``, ``gallery-layers``; some of them for each backbone, whose name they bear when
    there are several. Those of `sections` follow. The first four are left out where there is no trade-off
    (`Sheet.trades`).
    """
    if sheet.trades and not sheet.frame.empty:
        yield from _tradeoffs(sheet, room)
    if not sheet.blocks.empty:
        yield (
            "foreground",
            foreground(sheet.blocks, sheet.looks, sheet.focus(sheet.blocks), room.width),
        )
    for house in sheet.houses:
        yield from _maps(sheet, house, room)
        yield from _pictures(sheet, house, room)
    for section in sections:
        for drawing in section.figures:
            yield drawing.name, drawing.draw(room.width)


def _tradeoffs(sheet: Sheet, room: Room) -> Iterator[tuple[str, Figure]]:
    convention = sheet.run.convention
    yield (
        "pareto",
        pareto(sheet.frame, sheet.looks, convention, sheet.marks, sheet.run.chance, room.width),
    )
    for house in sheet.houses:
        part = sheet.frame[sheet.frame["backbone"] == house]
        if part["label"].nunique() > MANY and not one_budget(part):
            yield (
                named("groups", house, sheet),
                groups(part, sheet.looks, convention, house, room.width),
            )
        marks = [mark for (backbone, _), mark in sorted(sheet.marks.items()) if backbone == house]
        if marks:
            title = f"{house}: beside the best blind baseline"
            yield named("lead", house, sheet), lead_figure(marks, sheet.looks, title, room.width)
    if (sheet.frame["method"] != "none").any():
        yield "agreement", agreement(sheet.frame, sheet.looks, convention, room.width)


def named(stem: str, house: str, sheet: Sheet) -> str:
    """File stem of a figure that is drawn once for each backbone."""
    return stem if len(sheet.houses) == 1 else f"{stem}-{re.sub(r'[^A-Za-z0-9]+', '-', house)}"


def _maps(sheet: Sheet, house: str, room: Room) -> Iterator[tuple[str, Figure]]:
    kept = sheet.run.kept_tokens[sheet.run.kept_tokens["backbone"] == house]
    if kept.empty:
        return
    budget = sheet.focus(kept)
    kept = kept[kept["budget"] == budget]
    blocks = points.chosen_blocks(
        sorted(int(block) for block in kept["block"].unique()), room.blocks
    )
    mean = points.averaged(
        kept[kept["block"].isin(blocks)], ["label", "block", "row", "col"], "kept"
    )
    title = f"{house}: tokens kept, {budget_name(budget)} of FLOPs removed"
    yield (
        named("kept", house, sheet),
        kept_maps(mean, sheet.ordered(mean)[:MAP_ROWS], blocks, title, room.width),
    )


def _pictures(sheet: Sheet, house: str, room: Room) -> Iterator[tuple[str, Figure]]:
    rows = sheet.run.gallery[sheet.run.gallery["backbone"] == house]
    if rows.empty or sheet.shape is None or not sheet.pictures:
        return
    budget = sheet.focus(rows)
    rows = rows[rows["budget"] == budget]
    shown = dict(list(sheet.pictures.items())[:GALLERY_ROWS])
    title = f"{house}: what became of the tokens, {budget_name(budget)} of FLOPs removed"
    known = sheet.ordered(rows)
    columns, others = known[: room.methods], known[room.methods :]
    answers = gallery(
        sheet.run, last_block(rows), shown, sheet.shape, columns, title, room.width, others
    )
    yield named("gallery", house, sheet), answers
    blocks = points.chosen_blocks(
        [-1, *sorted(int(block) for block in rows["block"].unique())], room.layers
    )
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
            known[len(lines) :],
        )
        yield named("gallery-layers", house, sheet), layered

"""Which pixels change when one token is removed, of segmentation: by their place beside it."""

from __future__ import annotations

from functools import partial

import numpy as np

from reports.figures.tokens import stacked
from reports.formatting import number, percent
from reports.report_data import ReportData
from reports.section import Drawing, Frames, Maps, Section, Table, stored
from reports.sensitivity_common import (
    OVERALL,
    BackbonePart,
    block_table,
    by_backbone,
    grid_maps,
    select_rows,
)

NEEDS = stored("sensitivity_pixels", "sensitivity_reach")
UNIT = "share of the pixels there that change"
# Columns of the table of where changed pixels lie, by their quantity.
REACH = {
    "Pixels that change": "changed",
    "In its own patch": "own",
    "In the eight around it": "around",
    "Farther away": "farther",
}
NOTE = (
    "A pixel changes where another class is named than without the removal. In place of the "
    "removed token the head sees the features that it had before it went; so what changes in its "
    "own patch changes by what the blocks behind make of the others. Pixels without a class count "
    "nowhere."
)


def section(report: ReportData, frames: Frames) -> Section | None:
    """Build the maps by offset and the table of where changed pixels lie."""
    parts = by_backbone(frames["sensitivity_reach"])
    offsets = frames["sensitivity_pixels"]
    return Section(
        key="pixels",
        part="why",
        title="Which pixels a token changes",
        sentence=" ".join(_sentence(part, report.run.kind) for part in parts),
        figures=tuple(_offset_maps(part.of(offsets)) for part in parts),
        tables=(_reach(parts),),
        notes=(NOTE,),
        brief=" ".join(map(_brief, parts)),
    )


def _shares(part: BackbonePart, block: int) -> dict[str, str]:
    """Per cent of each quantity before a block."""
    rows = select_rows(part.rows, block=block)
    return {row.quantity: percent(row.mean) for row in rows.itertuples(index=False)}


def _where(shares: dict[str, str]) -> str:
    if "own" not in shares:
        return ""
    return (
        f"; of these {shares['own']} % lie in its own patch, {shares['around']} % in the eight "
        f"around it and {shares['farther']} % farther away"
    )


def _brief(part: BackbonePart) -> str:
    shares = _shares(part, OVERALL)
    changed = select_rows(part.rows, block=OVERALL, quantity="changed").iloc[0]
    return (
        f"{part.prefix}Removing one token changes {number(100 * changed['mean'], 2)} % of the "
        f"pixels{_where(shares)}."
    )


def _sentence(part: BackbonePart, kind: str) -> str:
    blocks = sorted(block for block in part.rows["block"].unique() if block != OVERALL)
    words = []
    for block in dict.fromkeys((blocks[0], blocks[-1])):
        row = select_rows(part.rows, block=block, quantity="changed").iloc[0]
        words.append(
            f"before block {block} it changes {number(100 * row['mean'], 2)} % of the pixels"
            f"{_where(_shares(part, block))}"
        )
    images = int(part.rows["images"].max())
    text = ". ".join(f"{word[0].upper()}{word[1:]}" for word in words)
    return f"One token of {part.backbone} is removed at a time, on {images} {kind}. {text}."


def _offset_maps(part: BackbonePart) -> Drawing:
    """Return maps with the removed token in the middle, a block each."""
    rows = part.rows
    # The offsets that are known lie round the middle, as many on either side.
    reach = [int(rows[name].abs().max()) for name in ("down", "right")]
    placed = rows.assign(row=rows["down"] + reach[0], col=rows["right"] + reach[1])
    maps = grid_maps(placed, {"all tokens": "changed"}, UNIT)
    values = np.full((1, len(maps.layers), 2 * reach[0] + 1, 2 * reach[1] + 1), np.nan)
    values[:, :, : maps.values.shape[2], : maps.values.shape[3]] = maps.values
    middle = (reach[0], reach[1])
    centred = Maps(maps.rows, maps.layers, values, UNIT, middle=middle)
    return part.drawing(
        "sensitivity-pixels",
        partial(stacked, centred),
        "Where pixels change when one token is removed before this block. The removed token is in "
        "the middle, and a square is a patch so many rows and columns away from it: the share of "
        "its pixels whose class changes, mean over tokens and images.",
        "Maps round the removed token, by block, of the share of pixels that change.",
        centred,
    )


def _reach(parts: list[BackbonePart]) -> Table:
    heads = {head: {"quantity": quantity} for head, quantity in REACH.items()}
    in_percent = []
    for part in parts:
        rows = part.rows.copy()
        rows[["mean", "low", "high"]] *= 100
        in_percent.append(BackbonePart(part.backbone, rows, part.prefix, part.suffix))
    return Table(
        "sensitivity-reach",
        "Per cent of an image's pixels that change when one token is removed, mean over its "
        "tokens, and where those that change lie; 95 % intervals over images.",
        block_table(in_percent, heads, "all"),
    )

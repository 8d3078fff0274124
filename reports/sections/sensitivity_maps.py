"""Where a backbone depends on single tokens: maps by block, and profiles along several axes."""

from __future__ import annotations

from functools import partial

import pandas as pd
from matplotlib.figure import Figure

from reports.figures.canvas import legend_below, level, new_figure, paper_style
from reports.figures.tokens import stacked
from reports.formatting import number
from reports.report_data import ReportData
from reports.section import Drawing, Frames, Section, Table, stored
from reports.sensitivity_common import (
    BackbonePart,
    block_table,
    by_backbone,
    draw_blocks,
    grid_maps,
    select_rows,
    spread_blocks,
)

NEEDS = {
    "sensitivity_map": (
        "backbone",
        "block",
        "row",
        "col",
        "removal_loss",
        "removal_flip",
        "removal_kl",
        "removal_rank",
    )
}
OPTIONAL = stored("sensitivity_profile", "sensitivity_distance")
# Axes of the profiles and their labels.
AXES = {
    "row": "row of the image",
    "col": "column of the image",
    "frame": "frame of the clip",
    "centre": "patches from the centre",
    "sequence": "steps from the class token",
}
# Quantities of the profiles, a row of panels each.
PROFILED = {
    "removal_rank": "mean percentile, 0 to 1",
    "removal_kl": "KL to the unchanged\nanswer, nats",
    "removal_loss": "rise of the loss, nats",
}
# Kinds of effects that have maps, a row each.
KINDS = {"removal": "removed", "zeroing": "zeroed", "estimate": "gradient × activation"}
# Effect -> unit, whether zero is the middle of the colour scale, and title of its maps.
MAPPED = {
    "rank": (
        "mean percentile within the image, 0 (matters least) to 1 (most)",
        False,
        "Which tokens matter",
    ),
    "loss": ("rise of the loss, nats", True, "What the loss of one token costs"),
    "kl": (
        "KL to the unchanged answer, nats",
        False,
        "How far the loss of one token moves the answer",
    ),
    "margin": (
        "change of the true class's margin, logits",
        True,
        "What the loss of one token does to the margin",
    ),
    "flip": (
        "share of images whose prediction flips",
        False,
        "How often the loss of one token flips the prediction",
    ),
}
PIXELS = (
    "share of pixels whose class changes",
    False,
    "How many pixels the loss of one token changes",
)
# Columns of the table of correlations with nearness.
NEARNESS = {
    "Near the centre": {"nearness": "centre", "given": ""},
    "Near the class token": {"nearness": "sequence", "given": ""},
    "Near the class token, the centre held fixed": {"nearness": "sequence", "given": "centre"},
}
READING = (
    "By the place of the token and the block before which it was removed; each kind of map has a "
    "colour scale of its own, the same in all blocks."
)
NOTE = (
    "Each token was removed alone, before one block, and the rest of the network was run: only "
    "what is called an estimate is estimated. A zeroed token stays in the sequence, so that a "
    "scan's state still decays there."
)
OF_PIXELS = (
    "The loss and the KL are means over an image's pixels, and the answer is that of its pixels: "
    "a prediction, wherever predictions are counted, is the class of a pixel."
)


def section(report: ReportData, frames: Frames) -> Section | None:
    """Build maps, profiles and the table of nearness; None if no token was removed."""
    # After the last block, and where no token was tried, the table has scores only.
    maps = frames["sensitivity_map"].dropna(subset=["removal_loss"])
    if maps.empty:
        return None
    parts = by_backbone(maps)
    figures = []
    for part in parts:
        figures += _effect_maps(part, report.run.task)
    if "sensitivity_profile" in frames:
        profile = frames["sensitivity_profile"]
        figures += [_profile_figure(part.of(profile)) for part in parts]
    tables = []
    if "sensitivity_distance" in frames:
        tables.append(_nearness_table(frames["sensitivity_distance"]))
    return Section(
        key="sensitivity",
        part="why",
        title="Where tokens matter",
        sentence=" ".join(map(_sentence, parts)),
        figures=tuple(figures),
        tables=tuple(tables),
        notes=(NOTE, *([OF_PIXELS] if report.run.task == "segmentation" else [])),
        brief=" ".join(map(_brief, parts)),
    )


def _brief(part: BackbonePart) -> str:
    most = part.rows.loc[part.rows["removal_kl"].idxmax()]
    return (
        f"{part.prefix}Removing one token moves the answer most at row {int(most.row)}, column "
        f"{int(most.col)} before block {int(most.block)}: {number(most.removal_kl, 3)} nats (KL)."
    )


def _sentence(part: BackbonePart) -> str:
    mean = part.rows.groupby("block")[["removal_loss", "removal_kl"]].mean()
    first, last = mean.iloc[0], mean.iloc[-1]
    most = part.rows.loc[part.rows["removal_kl"].idxmax()]
    return (
        f"On {part.backbone} removing one token moves the answer by {number(first.removal_kl, 4)} "
        f"nats (KL) on average before block {mean.index[0]} and by {number(last.removal_kl, 4)} "
        f"before block {mean.index[-1]}; the loss changes by {number(first.removal_loss, 4)} and "
        f"{number(last.removal_loss, 4)}. The largest effect is at row {int(most.row)}, column "
        f"{int(most.col)} before block {int(most.block)} ({number(most.removal_kl, 4)})."
    )


def _effect_maps(part: BackbonePart, task: str) -> list[Drawing]:
    """Return a figure of maps for each effect that was measured."""
    figures: list[Drawing] = []
    mapped = MAPPED | {"flip": PIXELS} if task == "segmentation" else MAPPED
    for effect, (unit, diverging, title) in mapped.items():
        # Classes of pixels have no margin.
        if f"removal_{effect}" not in part.rows:
            continue
        # Which rows of maps this effect has.
        kinds = {}
        for kind, name in KINDS.items():
            # Zeroing and the estimates are not measured for every effect.
            if f"{kind}_{effect}" in part.rows:
                kinds[name] = f"{kind}_{effect}"
        # Percentiles have no unit, so that the bound and the object can stand beside them.
        if effect == "rank" and "bound_rank" in part.rows:
            kinds["|gradient| × |activation|"] = "bound_rank"
        if effect == "rank" and "foreground" in part.rows:
            kinds["share of images with the object there"] = "foreground"
        maps = grid_maps(part.rows, kinds, unit, diverging)
        drawing = part.drawing(
            f"sensitivity-{effect}",
            partial(stacked, maps),
            # What holds for all of them stands once, at the first.
            f"{title}, mean over the images.{f' {READING}' if not figures else ''}",
            f"Maps on the image grid, by block, of the {unit} when one token is removed.",
            maps,
        )
        figures.append(drawing)
    return figures


def _profile_figure(part: BackbonePart) -> Drawing:
    along, chart = "rows, columns and the distance from the centre", "rows, columns and distance"
    if "sequence" in set(part.rows["axis"]):
        along = (
            "rows, columns, the distance from the centre and the steps from the class token in the "
            "sequence (negative: before it, read by the forward scan on its way there; positive: "
            "behind it, read by the backward scan)"
        )
        chart = "rows, columns, distance and sequence"
    return part.drawing(
        "sensitivity-profiles",
        partial(profiles, part.rows),
        f"The same along {along}. Bands are 95 % intervals over images.",
        f"Line charts of the effect of removing one token along {chart}, by block.",
    )


def profiles(rows: pd.DataFrame, width: float) -> Figure:
    """Draw the profiles of one backbone: a panel per quantity and axis, a line per block."""
    measured = set(rows["axis"])
    shown = [axis for axis in AXES if axis in measured]
    # A line for every block would be too many to follow.
    blocks = spread_blocks(rows)
    with paper_style():
        figure = new_figure(width, 5.6)
        grid = figure.subplots(len(PROFILED), len(shown), squeeze=False, sharex="col", sharey="row")
        for panels, (quantity, name) in zip(grid, PROFILED.items(), strict=True):
            for axes, axis in zip(panels, shown, strict=True):
                part = select_rows(rows, axis=axis, quantity=quantity)
                draw_blocks(axes, part, "at", blocks, "block")
                # The loss alone can change either way; it is also the bottom row.
                if quantity == "removal_loss":
                    level(axes)
                    axes.set_xlabel(AXES[axis], fontsize=7)
            panels[0].set_ylabel(name)
        legend_below(figure, grid[0][:1])
        return figure


def _nearness_table(distance: pd.DataFrame) -> Table:
    """Tabulate by block the correlation with nearness, alone and with the other held fixed."""
    # The loss is in the stored table as well; one quantity is enough to read.
    parts = by_backbone(distance[distance["quantity"] == "removal_kl"])
    measured, more = set(distance["nearness"]), ""
    if "sequence" in measured:
        more = " and, in the sequence, to the class token"
    heads = {head: keys for head, keys in NEARNESS.items() if keys["nearness"] in measured}
    return Table(
        "sensitivity-nearness",
        "Rank correlation, within an image, between how far a token's removal moves the answer "
        f"(KL) and how near the token is to the centre of the image{more}; 95 % intervals over "
        "images.",
        block_table(parts, heads, "mean"),
    )

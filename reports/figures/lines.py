"""Lines with intervals: a quantity by block, or along an axis for some blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from reports.figures.canvas import GUIDE, stroke
from reports.style import Look

BLOCKS = "crest"  # pale for the first block, dark for the last, in grey print too


def block_colours(blocks: Sequence[int]) -> dict[int, Any]:
    """Return a colour for each block, darker for later ones."""
    shades = sns.color_palette(BLOCKS, max(2, len(blocks)))
    return dict(zip(sorted(blocks), shades, strict=False))


def line(
    axes: Axes,
    rows: pd.DataFrame,
    x: str,
    name: str,
    look: Look | None = None,
    band: bool = True,
    **style: Any,
) -> None:
    """Draw ``mean`` of `rows` against `x`, with a `band` from ``low`` to ``high``.

    The line has the look of a method if `look` is given, else the matplotlib `style`.
    """
    rows = rows.sort_values(x)
    drawn: Mapping[str, Any] = stroke(look) if look else style
    axes.plot(rows[x], rows["mean"], label=name, **drawn)
    if band and rows["low"].notna().any():
        colour = drawn["color"]
        axes.fill_between(rows[x], rows["low"], rows["high"], color=colour, alpha=0.15, linewidth=0)


def level(axes: Axes, value: float = 0.0) -> None:
    """Draw a quiet horizontal line at `value`."""
    axes.axhline(value, **GUIDE)


def by_block(axes: Axes) -> None:
    """Label the x axis with blocks, in whole numbers."""
    axes.set_xlabel("block before which it happens")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))

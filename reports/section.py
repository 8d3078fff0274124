"""What an analysis adds to the report: the contract between the page and `reports.sections`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure

from suite.store.schema import TABLES

Frames = Mapping[str, pd.DataFrame]
# The parts of the page that sections belong to, in its order.
Part = Literal["answer", "why", "cost", "gallery"]


def stored(*tables: str) -> dict[str, tuple[str, ...]]:
    """Return the columns of tables of the run folder, by table."""
    return {name: TABLES[name].columns for name in tables}


@dataclass(frozen=True)
class Maps:
    """Values on the image grid, one map at a time behind a slider over the layers.

    ``rows``       what each row of maps shows, such as the names of scores or methods
    ``layers``     block numbers, ascending; the slider's stops
    ``values``     (rows, layers, height, width), NaN where unknown
    ``unit``       what a value is, as the colour scale says it: "rise of the loss, nats"
    ``diverging``  zero is the middle of the colour scale
    ``shared``     one colour scale for all rows; else each row has its own, over all its layers
    ``names``      where a map is no image but a square table, such as of methods: the names of its
                   rows and columns
    ``middle``     where places are offsets, the row and column of the one that is none
    """

    rows: tuple[str, ...]
    layers: tuple[int, ...]
    values: npt.NDArray[np.float64]
    unit: str
    diverging: bool = False
    shared: bool = True
    names: tuple[str, ...] = ()
    middle: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        """Refuse shapes that contradict each other."""
        # The page's script would index beyond the values without a message.
        if self.values.ndim != 4 or self.values.shape[:2] != (len(self.rows), len(self.layers)):
            raise ValueError(
                f"values of shape {self.values.shape} for {len(self.rows)} rows, "
                f"{len(self.layers)} layers"
            )

    def bounds(self) -> list[tuple[float, float]]:
        """Ends of each row's colour scale, which covers all its values."""
        return [_bounds(self.values if self.shared else row, self.diverging) for row in self.values]


def _bounds(values: npt.NDArray[np.float64], diverging: bool) -> tuple[float, float]:
    # Maps that are unknown everywhere still need ends.
    known = values[np.isfinite(values)]
    low, high = 0.0, 1.0
    if known.size:
        low, high = float(known.min()), float(known.max())
    if diverging:
        # Symmetric, so that zero has the neutral colour.
        high = max(abs(low), abs(high))
        low = -high
    # A scale of no extent would divide by zero in the page's script.
    return (low, high) if high > low else (low - 0.5, low + 0.5)


@dataclass(frozen=True)
class Drawing:
    """One figure of a section.

    ``name``     stem of its files, unique in the report: lower-case letters, digits, hyphens
    ``draw``     returns the figure at a width in inches: `canvas.WIDTH` on the page and across a
                 paper's two columns, `canvas.COLUMN` in one; a figure that needs the room may
                 always use `canvas.WIDTH`
    ``caption``  what to look at and what it means
    ``alt``      what the figure shows, for those who cannot see it
    ``maps``     the same data behind a slider, shown instead of the figure where scripts run
    ``backbone`` the one that it is of, where the others have a figure like it
    """

    name: str
    draw: Callable[[float], Figure]
    caption: str
    alt: str
    # The figure stays: on paper, in the files and where scripts do not run.
    maps: Maps | None = None
    backbone: str = ""


@dataclass(frozen=True)
class FigureGroup:
    """Figures of several backbones that share a caption, of which the page shows one."""

    caption: str
    figures: tuple[Drawing, ...]

    @property
    def maps(self) -> bool:
        """Whether sliders stand for them."""
        return any(figure.maps for figure in self.figures)


def by_caption(figures: Sequence[Drawing]) -> list[FigureGroup]:
    """Group the figures of a section that have one caption, in the order of the first of each."""
    groups: dict[str, list[Drawing]] = {}
    for figure in figures:
        groups.setdefault(figure.caption, []).append(figure)
    return [FigureGroup(caption, tuple(those)) for caption, those in groups.items()]


@dataclass(frozen=True)
class Table:
    """One table of a section: on the page, and as CSV (every digit), Markdown and LaTeX.

    ``name``    stem of its files, unique in the report
    ``frame``   the rows; its columns are the heads as a reader sees them, the first names the row
    ``digits``  decimals of a column of numbers, where not 3
    """

    name: str
    caption: str
    frame: pd.DataFrame
    digits: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Section:
    """One analysis on the page: its finding, then figures, tables and notes in this order.

    ``key``       its anchor on the page, unique in the report: lower-case letters, digits, hyphens
    ``part``      the part of the page it belongs to: the ``answer`` to what the run asked, which
                  comes first; ``why`` a method wins; what it ``cost``s; or the ``gallery``
    ``sentence``  the finding
    ``brief``     the finding in few words, where the sentence is long
    ``nothing``   that there is nothing to see, in a line behind which the section is folded

    All texts are plain: the page escapes them.
    """

    key: str
    part: Part
    title: str
    sentence: str
    figures: tuple[Drawing, ...] = ()
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()
    brief: str = ""
    nothing: str = ""

    @property
    def lead(self) -> str:
        """What stands below the title; empty where everything is folded."""
        return "" if self.nothing else self.brief or self.sentence

    @property
    def words(self) -> tuple[str, ...]:
        """What is folded under "In words"."""
        return tuple(text for text in (self.sentence, *self.notes) if text and text != self.lead)


def scaled_table(
    rows: pd.DataFrame,
    heads: Mapping[str, str],
    percentages: set[str],
) -> pd.DataFrame:
    """Return columns of `rows` under the heads that a reader sees.

    `heads` maps columns to heads, in their order; `percentages` are the columns of fractions that
    are shown times 100.
    """
    # Heads may repeat no column: those of the two ends of an interval are "from" and "to".
    table = {}
    for column, head in heads.items():
        values = rows[column]
        table[head] = 100 * values if column in percentages else values
    return pd.DataFrame(table).reset_index(drop=True)

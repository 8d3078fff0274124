"""What an analysis adds to the report: the contract between the page and the modules of `reports.sections`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure

Part = Literal["answer", "why", "cost", "gallery"]


@dataclass(frozen=True)
class Maps:
    """Values on the image grid, one map at a time by a slider over the layers; the page draws them itself.

    ``rows``       what each row of maps shows, such as the names of scores or methods
    ``layers``     block numbers, ascending; the slider's stops
    ``values``     (rows, layers, height, width), NaN where nothing is known
    ``unit``       what a value is, as the colour scale says it: "rise of the loss, nats"
    ``diverging``  zero is the middle of the colour scale
    ``shared``     one colour scale for all rows; else each row has its own, over all its layers
    ``names``      where a map is no image but a square table, such as of methods: what its rows and columns are called
    """

    rows: tuple[str, ...]
    layers: tuple[int, ...]
    values: npt.NDArray[np.float64]
    unit: str
    diverging: bool = False
    shared: bool = True
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse shapes that contradict each other."""
        if self.values.ndim != 4 or self.values.shape[:2] != (len(self.rows), len(self.layers)):
            raise ValueError(
                f"values of shape {self.values.shape} for {len(self.rows)} rows, {len(self.layers)} layers"
            )

    def bounds(self) -> list[tuple[float, float]]:
        """Ends of each row's colour scale: it holds all its values, zero in its middle if `diverging`."""
        return [_bounds(self.values if self.shared else row, self.diverging) for row in self.values]


def _bounds(values: npt.NDArray[np.float64], diverging: bool) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    if diverging:
        low, high = -max(abs(low), abs(high)), max(abs(low), abs(high))
    return (low, high) if high > low else (low - 0.5, low + 0.5)


@dataclass(frozen=True)
class Drawing:
    """One figure of a section.

    ``name``     stem of its files, unique in the report: lower-case letters, digits, hyphens
    ``draw``     gives the figure at a width in inches: `canvas.WIDTH` on the page and across a paper's two columns,
                 `canvas.COLUMN` in one; one that needs the room may always take `canvas.WIDTH`
    ``caption``  what to look at and what it means
    ``alt``      what the figure shows, for those who cannot see it
    ``maps``     the same data behind a slider, shown in place of the figure where scripts run
    """

    name: str
    draw: Callable[[float], Figure]
    caption: str
    alt: str
    maps: Maps | None = None


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
    """One analysis on the page: what it found in a sentence, then its figures, tables and notes in this order.

    ``key``   its anchor on the page, unique in the report: lower-case letters, digits, hyphens
    ``part``  which part of the page it belongs to: the ``answer`` to what the run asked, which comes first; ``why`` a
              method wins; what it ``cost``s; or the ``gallery``

    All texts are plain: the page escapes them.
    """

    key: str
    part: Part
    title: str
    sentence: str
    figures: tuple[Drawing, ...] = ()
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()

"""Names written beside their lines and points, in place of a legend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from matplotlib.axes import Axes
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from reports.figures.canvas import Array, panel_width
from reports.formatting import fold, spread

SIZE = 7.0  # points
FOLD = 26  # characters of a line, at most
LETTERS = 6  # of a line, for each inch of a panel
FAN = 0.16  # inches between the last point and the names, in which leader lines fan out
PAD = 0.12  # of the size, round a name
ENDS = (-1, 0)  # of a line: the right one first, where readers look first


@dataclass(frozen=True)
class Tag:
    """A name, its colour, and its line: points (n, 2) in data coordinates, by cost."""

    text: str
    colour: str
    line: Array


def beside(
    axes: Axes, tags: Sequence[Tag], others: Array, ends: Sequence[int] = ENDS
) -> list[Annotation]:
    """Write names in a column beside the ends of their lines, each joined to its own.

    The column is at the one of `ends` where names move least from their lines; the x axis grows to
    hold it. `others` (n, 2) are points that the column keeps clear of. The figure must be laid out.
    Names overlap if they are too many for the height.
    """
    if not tags:
        return []
    boxes = [_extent(axes, tag) for tag in tags]
    frame = axes.get_window_extent()
    heights = {end: _heights(axes, tags, end) for end in ends}
    end, middles = column_end(heights, [box.height for box in boxes], frame.y0, frame.y1)
    right = end == -1
    inch = axes.get_figure(root=True).dpi  # type: ignore[union-attr]
    widest = max(box.width for box in boxes)
    column = _column(axes, [tag.line[end, 0] for tag in tags], others, right, widest, inch)
    # the column may have stretched the axis, so pixels are turned back into data only now
    upright = axes.transData.inverted()
    notes = []
    for tag, middle in zip(tags, middles, strict=True):
        at = column, float(upright.transform((frame.x0, middle))[1])
        notes.append(_note(axes, tag, end, at, "left" if right else "right"))
    return notes


def moved(axes: Axes, tags: Sequence[Tag], end: int) -> float:
    """Return the pixels that names move from this end of their lines, all together."""
    frame, wanted = axes.get_window_extent(), _heights(axes, tags, end)
    sizes = [_extent(axes, tag).height for tag in tags]
    return float(np.abs(np.subtract(wanted, spread(wanted, sizes, frame.y0, frame.y1))).sum())


def _heights(axes: Axes, tags: Sequence[Tag], end: int) -> list[float]:
    """Return the heights of this end of the lines, in pixels."""
    return [float(axes.transData.transform(tag.line[end])[1]) for tag in tags]


def column_end(
    ends: Mapping[int, Sequence[float]], sizes: float | Sequence[float], low: float, high: float
) -> tuple[int, list[float]]:
    """Return the end of the lines that a column of names is at, and the heights of the names.

    `ends` are the heights of the lines at each end; names of `sizes` move least from them.
    """
    best: tuple[float, int, list[float]] | None = None
    for end, wanted in ends.items():
        heights = spread(wanted, sizes, low, high)
        moved = float(np.abs(np.subtract(wanted, heights)).sum())
        # of equals the first wins: the right end, where readers look first
        if best is None or moved < best[0]:
            best = moved, end, heights
    assert best is not None
    return best[1:]


def near(axes: Axes, tags: Sequence[Tag], others: Array) -> list[Annotation]:
    """Write each name near the last point of its line, where it covers least.

    For points that lie apart. `others` (n, 2) are points to keep clear of. The figure must be laid
    out.
    """
    if not tags:
        return []
    inch = axes.get_figure(root=True).dpi  # type: ignore[union-attr]
    lines = [*(tag.line for tag in tags), others.reshape(-1, 2)]
    points = axes.transData.transform(np.concatenate(lines))
    ends = axes.transData.transform(np.stack([tag.line[-1] for tag in tags]))
    sizes = np.array([_extent(axes, tag).size for tag in tags])
    pixels = clear_places(ends, sizes, points, axes.get_window_extent(), inch)
    middles = axes.transData.inverted().transform(pixels)
    notes = []
    for tag, middle in zip(tags, middles, strict=True):
        notes.append(_note(axes, tag, -1, tuple(middle), "center"))
    return notes


def clear_places(
    ends: Array,
    sizes: Array,
    points: Array,
    frame: Bbox,
    inch: float,
) -> Array:
    """Place names of `sizes` (n, 2) near their `ends` (n, 2); returns their middles (n, 2).

    All are in pixels, y upwards, with `inch` pixels to the inch. From left to right each name takes
    the place round its point that covers least: no name before it, none of `points` (m, 2),
    nothing beyond `frame`; among equals the nearest.
    """
    taken: list[Bbox] = []
    placed = np.empty_like(ends)
    for index in np.lexsort((ends[:, 1], ends[:, 0])):
        point = ends[index]
        costs = []
        places = _around(point, sizes[index], inch)
        for place in places:
            costs.append(_cost(place, point, frame, taken, points, inch))
        best = places[int(np.argmin(costs))]
        taken.append(best)
        placed[index] = (best.x0 + best.x1) / 2, (best.y0 + best.y1) / 2
    return placed


def _folded(axes: Axes, tag: Tag) -> str:
    """Return a name in lines that leave most of a narrow panel to what it names."""
    return fold(tag.text, min(FOLD, int(LETTERS * panel_width(axes))))


def _extent(axes: Axes, tag: Tag) -> Bbox:
    """Return the box of a name with its padding, in pixels."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    # only the renderer knows how wide letters are, so the name is drawn and taken off again
    text = axes.text(0, 0, _folded(axes, tag), fontsize=SIZE, linespacing=1.0)
    box = text.get_window_extent(figure.canvas.get_renderer())  # type: ignore[attr-defined]
    text.remove()
    pad = 2 * PAD * SIZE / 72 * figure.dpi
    return Bbox.from_bounds(0, 0, box.width + pad, box.height + pad)


def _column(
    axes: Axes,
    ends: Sequence[float],
    others: Array,
    right: bool,
    width: float,
    inch: float,
) -> float:
    """Return where the column of names begins, in data coordinates; stretches the axis for it."""
    low, high = axes.get_xlim()
    room = axes.get_window_extent().width
    need = width + FAN * inch
    outer = max(ends) if right else min(ends)
    xs = others[:, 0] if len(others) else np.empty(0)
    beyond = xs[xs > outer] if right else xs[xs < outer]
    # pixels up to the next point that the names must not cover
    gap = np.abs(beyond - outer).min() / (high - low) * room if len(beyond) else 0.0
    if gap < need + 0.1 * inch:
        # too narrow: the names go beyond the last point, and the axis grows
        outer = (max if right else min)([outer, *beyond])
        share = min(need / room, 0.6)
        if right:
            high = max(high, low + (outer - low) / (1 - share))
        else:
            low = min(low, high - (high - outer) / (1 - share))
        axes.set_xlim(low, high)
    return float(outer + (1 if right else -1) * FAN * inch / room * (high - low))


def _around(point: Array, size: Array, inch: float) -> list[Bbox]:
    """Return places for a name at growing distances round a point, in pixels."""
    boxes = []
    for radius, turn in product((0.07, 0.12, 0.2, 0.3, 0.42, 0.56), np.arange(0, 16) * np.pi / 8):
        away = np.array([np.cos(turn), np.sin(turn)])
        corner = point + away * (radius * inch + size / 2) - size / 2
        boxes.append(Bbox.from_bounds(*corner, *size))
    return boxes


def _cost(
    place: Bbox,
    point: Array,
    frame: Bbox,
    taken: Sequence[Bbox],
    points: Array,
    inch: float,
) -> float:
    """Return the cost of a place: what it covers counts first, then the distance to its point."""
    hidden = place.padded(0.03 * inch).count_contains(points)
    overlaps = place.count_overlaps(taken)
    outside = np.less(place.min, frame.min).any() or np.greater(place.max, frame.max).any()
    distance = float(np.hypot(*(np.clip(point, place.min, place.max) - point))) / inch
    # a name outside the frame is cut off, one over another unreadable, one over a point misleading
    return 1000 * outside + 100 * overlaps + 10 * hidden + distance


def _note(axes: Axes, tag: Tag, end: int, place: tuple[float, float], ha: str) -> Annotation:
    """Write a name at `place` with a leader to an `end` of its line."""
    note = axes.annotate(
        _folded(axes, tag),
        xy=tuple(tag.line[end]),
        xytext=place,
        color=tag.colour,
        fontsize=SIZE,
        # below the lines and their marks
        linespacing=1.0,
        ha=ha,
        va="center",
        zorder=2.5,
        annotation_clip=False,
        # no level shows through
        bbox={"boxstyle": f"square,pad={PAD}", "facecolor": "white", "edgecolor": "none"},
        arrowprops={
            "arrowstyle": "-",
            "color": tag.colour,
            "alpha": 0.65,
            "linewidth": 0.6,
            "shrinkA": 0,
            "shrinkB": 3,
            "relpos": ({"left": 0.0, "right": 1.0}.get(ha, 0.5), 0.5),
        },
    )
    # otherwise the layout would shrink the axes to make room, and move what was placed
    note.set_in_layout(False)
    return note

"""Names written at the lines and points they belong to, so that no legend has to be looked up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import cos, pi, sin

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from reports.formatting import fold, spread

SIZE = 7.0  # points
FOLD = 26  # characters of a line
FAN = 0.16  # inches between the last point and the column of names, for the leader lines to fan out
PAD = 0.12  # of the size, round a name


@dataclass(frozen=True)
class Tag:
    """A name, its colour, and the line it belongs to: places (n, 2) in data coordinates, by cost."""

    text: str
    colour: str
    line: npt.NDArray[np.float64]


def beside(axes: Axes, tags: Sequence[Tag], others: npt.NDArray[np.float64]) -> list[Annotation]:
    """Write the names in a column beside the lines' ends, each joined to its own; the x axis grows to hold them.

    The column stands on the side where the names move least from their lines. `others` (n, 2) are
    points that the column keeps clear of. The figure must be laid out; names that are too many for
    the height overlap.
    """
    if not tags:
        return []
    boxes = [_extent(axes, tag) for tag in tags]
    heights = [box.height for box in boxes]
    frame = axes.get_window_extent()
    sides = {}
    for end in (
        -1,
        0,
    ):  # the last point first: where both cost the same, the names stand at the right
        middles = [float(axes.transData.transform(tag.line[end])[1]) for tag in tags]
        placed = spread(middles, heights, frame.y0, frame.y1)
        sides[end] = (
            sum(abs(one - other) for one, other in zip(middles, placed, strict=True)),
            placed,
        )
    end = min((-1, 0), key=lambda side: sides[side][0])
    inch = axes.get_figure(root=True).dpi  # type: ignore[union-attr]
    column = _column(
        axes,
        [tag.line[end, 0] for tag in tags],
        others,
        end == -1,
        max(box.width for box in boxes),
        inch,
    )
    upright = axes.transData.inverted()
    notes = []
    for tag, middle in zip(tags, sides[end][1], strict=True):
        height = float(upright.transform((frame.x0, middle))[1])
        notes.append(
            _note(
                axes, tag, tuple(tag.line[end]), (column, height), "left" if end == -1 else "right"
            )
        )
    return notes


def near(axes: Axes, tags: Sequence[Tag], others: npt.NDArray[np.float64]) -> list[Annotation]:
    """Write each name near the last point of its line, where it covers least: for points that stand apart.

    `others` (n, 2) are points to keep clear of. The figure must be laid out.
    """
    if not tags:
        return []
    inch = axes.get_figure(root=True).dpi  # type: ignore[union-attr]
    points = axes.transData.transform(
        np.concatenate([*(tag.line for tag in tags), others.reshape(-1, 2)])
    )
    ends = axes.transData.transform(np.stack([tag.line[-1] for tag in tags]))
    sizes = np.array([_extent(axes, tag).size for tag in tags])
    middles = axes.transData.inverted().transform(
        clear_places(ends, sizes, points, axes.get_window_extent(), inch)
    )
    return [
        _note(axes, tag, tuple(tag.line[-1]), tuple(middle), "center")
        for tag, middle in zip(tags, middles, strict=True)
    ]


def clear_places(
    ends: npt.NDArray[np.float64],
    sizes: npt.NDArray[np.float64],
    points: npt.NDArray[np.float64],
    frame: Bbox,
    inch: float,
) -> npt.NDArray[np.float64]:
    """Middles (n, 2) for names of `sizes` (n, 2) near their `ends` (n, 2), all in pixels with y upwards.

    From the left to the right each name takes the place round its point that covers least: no name
    before it, no point of `points` (m, 2), nothing beyond `frame`; then the nearest one. `inch` is
    pixels to the inch.
    """
    taken: list[Bbox] = []
    placed = np.empty_like(ends)
    for index in np.lexsort((ends[:, 1], ends[:, 0])):
        point = float(ends[index, 0]), float(ends[index, 1])
        choices = _around(point, (float(sizes[index, 0]), float(sizes[index, 1])), inch)
        best = min(choices, key=lambda place: _cost(place, point, frame, taken, points, inch))
        taken.append(best)
        placed[index] = (best.x0 + best.x1) / 2, (best.y0 + best.y1) / 2
    return placed


def _extent(axes: Axes, tag: Tag) -> Bbox:
    """Size of a name with its padding, in pixels."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    text = axes.text(0, 0, fold(tag.text, FOLD), fontsize=SIZE, linespacing=1.0)
    box = text.get_window_extent(figure.canvas.get_renderer())  # type: ignore[attr-defined]
    text.remove()
    pad = 2 * PAD * SIZE / 72 * figure.dpi
    return Bbox.from_bounds(0, 0, box.width + pad, box.height + pad)


def _column(
    axes: Axes,
    ends: Sequence[float],
    others: npt.NDArray[np.float64],
    right: bool,
    width: float,
    inch: float,
) -> float:
    """Where the column of names begins, in data coordinates; the axis is stretched until it ends inside the frame."""
    low, high = axes.get_xlim()
    room = axes.get_window_extent().width
    need = width + FAN * inch
    outer = max(ends) if right else min(ends)
    beyond = [x for x in others[:, 0] if (x > outer if right else x < outer)] if len(others) else []
    gap = (
        (abs(min(beyond, key=lambda x: abs(x - outer)) - outer) if beyond else 0.0)
        / (high - low)
        * room
    )
    if (
        gap < need + 0.1 * inch
    ):  # the names do not fit before the next point: they stand beyond the last
        outer = (max if right else min)([outer, *beyond])
        share = min(need / room, 0.6)
        if right:
            high = max(high, low + (outer - low) / (1 - share))
        else:
            low = min(low, high - (high - outer) / (1 - share))
        axes.set_xlim(low, high)
    return float(outer + (1 if right else -1) * FAN * inch / room * (high - low))


def _around(point: tuple[float, float], size: tuple[float, float], inch: float) -> list[Bbox]:
    """Places for a name at growing distances round a point, in pixels."""
    (x, y), (width, height) = point, size
    found = []
    for radius, turn in product((0.07, 0.12, 0.2, 0.3, 0.42, 0.56), np.arange(0, 16) * pi / 8):
        across, up = cos(turn), sin(turn)
        middle = x + across * (radius * inch + width / 2), y + up * (radius * inch + height / 2)
        found.append(Bbox.from_bounds(middle[0] - width / 2, middle[1] - height / 2, width, height))
    return found


def _cost(
    place: Bbox,
    point: tuple[float, float],
    frame: Bbox,
    taken: Sequence[Bbox],
    points: npt.NDArray[np.float64],
    inch: float,
) -> float:
    """How bad a place is: what it covers first, then how far it is from its point."""
    grown = place.padded(0.03 * inch)
    hidden = sum(bool(grown.contains(*other)) for other in points)
    overlaps = sum(bool(place.overlaps(other)) for other in taken)
    outside = (
        place.x0 < frame.x0 or place.x1 > frame.x1 or place.y0 < frame.y0 or place.y1 > frame.y1
    )
    nearest = np.clip(point, (place.x0, place.y0), (place.x1, place.y1))
    return (
        100 * overlaps + 10 * hidden + 1000 * outside + float(np.hypot(*(nearest - point))) / inch
    )


def _note(
    axes: Axes, tag: Tag, point: tuple[float, ...], place: tuple[float, ...], ha: str
) -> Annotation:
    note = axes.annotate(
        fold(tag.text, FOLD), xy=(point[0], point[1]), xytext=(place[0], place[1]), color=tag.colour, fontsize=SIZE,
        # below the lines and their marks
        linespacing=1.0, ha=ha, va="center", zorder=2.5, annotation_clip=False,
        # no level shows through
        bbox={"boxstyle": f"square,pad={PAD}", "facecolor": "white", "edgecolor": "none"},
        arrowprops={"arrowstyle": "-", "color": tag.colour, "alpha": 0.65, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 3,
                    "relpos": ({"left": 0.0, "right": 1.0}.get(ha, 0.5), 0.5)},
    )  # fmt: skip
    note.set_in_layout(False)
    return note

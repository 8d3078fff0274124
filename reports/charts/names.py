"""Names of methods beside the lines of a chart.

Heights are computed here. The page computes the column, since it knows its own width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.transforms import Bbox

from reports.charts.canvas import HEIGHT, Chart, safe, token
from reports.figures.names import clear_places
from reports.formatting import spread
from reports.style import DENSE, Look

NAME = 34  # longest name, characters
LINE = 17  # pixels between names
LETTER = 6.8  # pixels of a letter of a name, at most on average
NOMINAL = 1000  # pixels: the width of a chart that names near points are placed for
Line = tuple[Look, Chart]


def short(label: str) -> str:
    """Shorten a label to the longest name that fits beside a line."""
    return label if len(label) <= NAME else label[: NAME - 1] + "…"


def line_names(shape: Chart, data: Sequence[Chart], looks: Mapping[str, Look]) -> Chart | None:
    """Name the methods at the ends of their lines, or near their points if most have only one.

    Adds annotations to the layout `shape`. Returns what the page needs to place the column of
    names: its side, the cost at which it begins, and the cost of the dense model; None if there is
    no column.
    """
    values = []
    for line in data:
        values += [value for value in line["y"] if value is not None]
    low, high = min(values), max(values)
    pad = 0.07 * (high - low or 1.0)
    low, high = low - pad, high + pad
    shape["yaxis"]["range"] = [low, high]
    room = HEIGHT - shape["margin"]["t"] - shape["margin"]["b"]
    dense, lines = _dense_and_others(data, looks)
    shape["annotations"] = [_dense_name(line) for line in dense]
    if not lines:
        return None
    single = [line for _, line in lines if len(line["x"]) == 1]
    if len(single) > len(lines) / 2:
        # a column of names far from lone points could not be matched to them
        shape["annotations"] += _near(lines, dense, (low, high), room)
        return None
    heights, end = _column(lines, LINE * (high - low) / room, low, high)
    for (look, line), height in zip(lines, heights, strict=True):
        at = {"axref": "x", "ayref": "y", "ay": height, "xanchor": "left" if end else "right"}
        shape["annotations"].append(_name(look.label, line, end) | at)
    costs = [line["x"][end] for _, line in lines]
    return {
        "right": bool(end),
        "from": max(costs) if end else min(costs),
        "dense": [line["x"][-1] for line in dense],
    }


def _dense_and_others(
    data: Sequence[Chart], looks: Mapping[str, Look]
) -> tuple[list[Chart], list[Line]]:
    """Split the named lines of a chart into those of the dense model and those of methods."""
    listed = list(looks.values())
    dense, lines = [], []
    for line in data:
        # bands and backdrops have no name
        if "name" not in line:
            continue
        look = listed[line["meta"]["label"]]
        if look.group == DENSE:
            dense.append(line)
        else:
            lines.append((look, line))
    return dense, lines


def _dense_name(line: Chart) -> Chart:
    """Return the name above the dense model's point."""
    return {
        "text": "dense",
        "x": line["x"][-1],
        "y": line["y"][-1],
        "showarrow": False,
        "yshift": 14,
        "font": {"color": "@ink", "size": 12},
        "name": str(line["meta"]["label"]),
    }


def _column(lines: Sequence[Line], gap: float, low: float, high: float) -> tuple[list[float], int]:
    """Return the heights of a column of names, and the end of the lines it is at (-1 or 0).

    The end is the one at which names move least from the ends of their lines.
    """
    best: tuple[float, list[float], int] | None = None
    for end in (-1, 0):
        wanted = [line["y"][end] for _, line in lines]
        heights = spread(wanted, gap, low, high)
        moved = sum(abs(one - other) for one, other in zip(wanted, heights, strict=True))
        # at equal cost the right end wins, since readers look there first
        if best is None or moved < best[0]:
            best = moved, heights, end
    assert best is not None
    return best[1], best[2]


def _near(
    lines: Sequence[Line], dense: Sequence[Chart], bounds: tuple[float, float], room: float
) -> list[Chart]:
    """Place names near their points, for a chart of the nominal width."""
    low, high = bounds
    costs = []
    for line in [*dense, *(line for _, line in lines)]:
        costs += line["x"]
    left, wide = min(costs), (max(costs) - min(costs)) or 1.0

    def pixels(line: Chart) -> list[tuple[float, float]]:
        points = []
        for x, y in zip(line["x"], line["y"], strict=True):
            points.append((NOMINAL * (x - left) / wide, room * (y - low) / (high - low)))
        return points

    positions = [pixels(line) for _, line in lines]
    ends = np.array([points[-1] for points in positions])
    sizes = np.array([(LETTER * min(len(look.label), NAME), LINE) for look, _ in lines])
    # names avoid every point, the dense model's included
    taken = np.concatenate([np.array(points) for points in [*positions, *map(pixels, dense)]])
    middles = clear_places(ends, sizes, taken, Bbox.from_extents(-60, 0, NOMINAL + 60, room), 100)
    names = []
    for (look, line), end, middle in zip(lines, ends, middles, strict=True):
        # Plotly counts pixels downwards
        shift = {"ax": float(middle[0] - end[0]), "ay": float(end[1] - middle[1])}
        names.append(_name(look.label, line, -1) | shift)
    return names


def _name(label: str, line: Chart, end: int) -> Chart:
    """Return a method's name with a leader to the `end` of its line."""
    index = line["meta"]["label"]
    return {
        "text": safe(short(label)),
        "x": line["x"][end],
        "y": line["y"][end],
        "showarrow": True,
        "arrowhead": 0,
        "arrowwidth": 0.7,
        "bgcolor": "@paper",
        "borderpad": 1,
        "arrowcolor": f"@{token(index)}/0.6",
        "standoff": 6,
        "font": {"color": f"@{token(index)}", "size": 12.5},
        "name": str(index),
    }

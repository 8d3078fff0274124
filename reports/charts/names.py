"""Names of methods beside the lines of a chart.

Heights are computed here. The page computes the column, since it knows its own width.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.transforms import Bbox

from reports.charts.canvas import HEIGHT, Chart, safe, token
from reports.figures.names import clear_places, column_end
from reports.style import DENSE, Look, Looks

NAME = 34  # longest name, characters
LINE = 17  # pixels between names
LETTER = 6.8  # pixels of a letter of a name, at most on average
NOMINAL = 1000  # pixels: the width of a chart that names near points are placed for
INCH = 130  # pixels, so that the box of a name does not cover half of its mark
Line = tuple[Look, Chart]


def short(title: str) -> str:
    """Shorten a title to the longest name that fits beside a line."""
    return title if len(title) <= NAME else title[: NAME - 1] + "…"


def line_names(shape: Chart, data: Sequence[Chart], looks: Looks) -> Chart | None:
    """Name the methods at the ends of their lines, or near the point of one that has only one.

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
    listed = list(looks.values())
    dense: list[Chart] = []
    lines: list[Line] = []
    shape["annotations"] = []
    for line in data:
        # bands and backdrops have no name
        if "name" not in line:
            continue
        look = listed[line["meta"]["label"]]
        if look.group != DENSE:
            lines.append((look, line))
            continue
        dense.append(line)
        name = {"text": "dense", "x": line["x"][-1], "y": line["y"][-1], "showarrow": False}
        name |= {"yshift": 14, "font": {"color": "@ink", "size": 12}}
        shape["annotations"].append(name | {"name": str(line["meta"]["label"])})
    if not lines:
        return None
    single = [(look, line) for look, line in lines if len(line["x"]) == 1]
    if len(single) > len(lines) / 2:
        # a column of names far from lone points could not be matched to them
        shape["annotations"] += _near(lines, dense, (low, high), room)
        return None
    lines = [(look, line) for look, line in lines if len(line["x"]) > 1]
    others = [*dense, *(line for _, line in lines)]
    shape["annotations"] += _near(single, others, (low, high), room)
    ends = {end: [line["y"][end] for _, line in lines] for end in (-1, 0)}
    end, heights = column_end(ends, LINE * (high - low) / room, low, high)
    for (look, line), height in zip(lines, heights, strict=True):
        at = {"axref": "x", "ayref": "y", "ay": height, "xanchor": "left" if end else "right"}
        shape["annotations"].append(_name(look.title, line, end) | at)
    costs = [line["x"][end] for _, line in lines]
    return {
        "right": bool(end),
        "from": max(costs) if end else min(costs),
        "dense": [line["x"][-1] for line in dense],
    }


def _near(
    lines: Sequence[Line], others: Sequence[Chart], bounds: tuple[float, float], room: float
) -> list[Chart]:
    """Place names near their points, clear of `others`, for a chart of the nominal width."""
    if not lines:
        return []
    low, high = bounds
    placed = []
    drawn = [*(line for _, line in lines), *others]
    costs = np.concatenate([line["x"] for line in drawn])
    left, wide = costs.min(), np.ptp(costs) or 1.0
    for line in drawn:
        across = NOMINAL * (np.array(line["x"]) - left) / wide
        placed.append(np.column_stack([across, room * (np.array(line["y"]) - low) / (high - low)]))
    ends = np.array([points[-1] for points in placed[: len(lines)]])
    sizes = np.array([(LETTER * min(len(look.title), NAME), LINE) for look, _ in lines])
    # names avoid every point, the dense model's included
    frame = Bbox.from_extents(-60, 0, NOMINAL + 60, room)
    middles = clear_places(ends, sizes, np.concatenate(placed), frame, INCH)
    names = []
    for (look, line), end, middle in zip(lines, ends, middles, strict=True):
        # Plotly counts pixels downwards
        shift = {"ax": float(middle[0] - end[0]), "ay": float(end[1] - middle[1])}
        names.append(_name(look.title, line, -1) | shift)
    return names


def _name(title: str, line: Chart, end: int) -> Chart:
    """Return a method's name with a leader to the `end` of its line."""
    index = line["meta"]["label"]
    return {
        "text": safe(short(title)),
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

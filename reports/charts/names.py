"""Names beside the lines of a chart: their heights from here, their column from the page, which knows its width."""

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


def short(label: str) -> str:
    """A method text as a name beside a line."""
    return label if len(label) <= NAME else label[: NAME - 1] + "…"


def line_names(shape: Chart, data: Sequence[Chart], looks: Mapping[str, Look]) -> Chart | None:
    """Names of the methods at their lines, in a column, or near their points where most have only one.

    The column is laid out in height here and in width by the page, which knows how wide it is:
    gives the cost at which it begins, on the right or the left, and the cost of the dense model.
    """
    values = [value for line in data for value in line["y"] if value is not None]
    low, high = min(values), max(values)
    pad = 0.07 * (high - low or 1.0)
    low, high = low - pad, high + pad
    shape["yaxis"]["range"] = [low, high]
    room = HEIGHT - shape["margin"]["t"] - shape["margin"]["b"]
    listed = list(looks.values())
    lines = [(listed[line["meta"]["label"]], line) for line in data if "name" in line]
    dense = [line for look, line in lines if look.group == DENSE]
    lines = [(look, line) for look, line in lines if look.group != DENSE]
    shape["annotations"] = [
        {"text": "dense", "x": line["x"][-1], "y": line["y"][-1], "showarrow": False, "yshift": 14,
         "font": {"color": "@ink", "size": 12}, "name": str(line["meta"]["label"])} for line in dense
    ]  # fmt: skip
    if not lines:
        return None
    if sum(len(line["x"]) == 1 for _, line in lines) > len(lines) / 2:
        shape["annotations"] += _near(lines, dense, (low, high), room)
        return None
    sides = {}
    for end in (-1, 0):
        heights = [line["y"][end] for _, line in lines]
        placed = spread(heights, LINE * (high - low) / room, low, high)
        sides[end] = (
            sum(abs(one - other) for one, other in zip(heights, placed, strict=True)),
            placed,
        )
    end = min((-1, 0), key=lambda side: sides[side][0])
    for (look, line), height in zip(lines, sides[end][1], strict=True):
        shape["annotations"].append(
            _name(look.label, line, end)
            | {"axref": "x", "ayref": "y", "ay": height, "xanchor": "left" if end else "right"}
        )
    costs = [line["x"][end] for _, line in lines]
    return {
        "right": bool(end),
        "from": max(costs) if end else min(costs),
        "dense": [line["x"][-1] for line in dense],
    }


def _near(
    lines: Sequence[tuple[Look, Chart]],
    dense: Sequence[Chart],
    bounds: tuple[float, float],
    room: float,
) -> list[Chart]:
    """Names near their points, placed for a chart of the nominal width."""
    low, high = bounds
    costs = [x for line in [*dense, *(line for _, line in lines)] for x in line["x"]]
    left, wide = min(costs), (max(costs) - min(costs)) or 1.0

    def pixels(line: Chart) -> list[tuple[float, float]]:
        return [
            (NOMINAL * (x - left) / wide, room * (y - low) / (high - low))
            for x, y in zip(line["x"], line["y"], strict=True)
        ]

    places = [pixels(line) for _, line in lines]
    ends = np.array([place[-1] for place in places])
    sizes = np.array([(LETTER * min(len(look.label), NAME), LINE) for look, _ in lines])
    taken = np.array([place for line in [*places, *map(pixels, dense)] for place in line])
    middles = clear_places(ends, sizes, taken, Bbox.from_extents(-60, 0, NOMINAL + 60, room), 100)
    return [
        _name(look.label, line, -1)
        | {"ax": float(middle[0] - end[0]), "ay": float(end[1] - middle[1])}
        for (look, line), end, middle in zip(lines, ends, middles, strict=True)
    ]


def _name(label: str, line: Chart, end: int) -> Chart:
    index = line["meta"]["label"]
    return {
        "text": safe(short(label)), "x": line["x"][end],
        "y": line["y"][end], "showarrow": True, "arrowhead": 0, "arrowwidth": 0.7, "bgcolor": "@paper",
        "borderpad": 1, "arrowcolor": f"@{token(index)}/0.6", "standoff": 6,
        "font": {"color": f"@{token(index)}", "size": 12.5}, "name": str(index),
    }  # fmt: skip

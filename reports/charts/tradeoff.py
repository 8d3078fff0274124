"""Charts of accuracy, and of agreement with the dense model, against FLOPs per image."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from reports.charts.canvas import Chart, layout, level, plain, safe, title, token, trace
from reports.charts.cells import add_intervals, hover
from reports.charts.dots import ranking
from reports.charts.names import line_names
from reports.figures.tradeoff import Marks, one_budget, shaded, ticks
from reports.formatting import CONVENTIONS, unit
from reports.style import Look

SHADED = 40  # pixels above a chart whose shaded budgets say why


def pareto(
    part: pd.DataFrame,
    looks: Mapping[str, Look],
    convention: str,
    marks: Marks,
    chance: float | None = None,
) -> Chart:
    """Draw top-1 against FLOPs for one backbone, or the ranking of methods at a single budget.

    A budget at which no method was shown to beat a blind baseline is shaded. A dotted line marks
    `chance`, the top-1 of a guess, if the axis reaches down to it. The page can switch on error
    bars.
    """
    if one_budget(part):
        return ranking(part, looks, chance)
    unbeaten = shaded(part, marks)
    chart = _curves(part, looks, convention, "top1", 100.0, top=SHADED if unbeaten else None)
    chart["layout"]["yaxis"]["title"] = title("top-1 accuracy, %")
    dense = part.loc[part["method"] == "none", "top1"].dropna()
    chart["layout"]["shapes"] = [level(value * 100) for value in dense]
    _level_of_chance(chart["layout"], chance)
    for place, width, baseline in unbeaten:
        chart["layout"]["shapes"].append(
            {
                "type": "rect",
                "yref": "paper",
                "y0": 0,
                "y1": 1,
                "x0": place - width / 2,
                "x1": place + width / 2,
                "layer": "below",
                "line": {"width": 0},
                "fillcolor": "@soft/0.14",
            }
        )
        chart["layout"].setdefault("annotations", []).append(
            {
                "text": f"no method shown<br>to beat {safe(baseline)}",
                "x": place,
                "yref": "paper",
                "y": 1,
                "yanchor": "bottom",
                "showarrow": False,
                "font": {"color": "@soft", "size": 11},
                "name": "shade",
            }
        )
    return chart


def _level_of_chance(shape: Chart, chance: float | None) -> None:
    """Mark the top-1 of a guess, if it lies within the axis."""
    low, high = shape["yaxis"].get("range", (1.0, 0.0))
    if chance is None or not low <= chance * 100 <= high:
        return
    shape["shapes"].append(level(chance * 100))
    shape.setdefault("annotations", []).append(
        {
            "text": "chance",
            "xref": "paper",
            "x": 1,
            "xanchor": "right",
            "y": chance * 100,
            "yanchor": "bottom",
            "showarrow": False,
            "font": {"color": "@soft", "size": 11.5},
        }
    )


def agreement(part: pd.DataFrame, looks: Mapping[str, Look], convention: str) -> Chart:
    """Draw the share of images with the dense model's prediction against FLOPs."""
    chart = _curves(part[part["method"] != "none"], looks, convention, "agreement", 100.0)
    chart["layout"]["yaxis"]["title"] = title("same prediction as dense, %")
    return chart


def divergence(part: pd.DataFrame, looks: Mapping[str, Look], convention: str) -> Chart:
    """Draw KL(dense || reduced), in nats, against FLOPs."""
    # a logarithmic axis has no place for a divergence of zero
    part = part[part["method"] != "none"]
    chart = _curves(part, looks, convention, "kl", 1.0, log=bool((part["kl"].dropna() > 0).all()))
    chart["layout"]["yaxis"]["title"] = title("KL(dense, reduced), nats")
    return chart


def _curves(
    part: pd.DataFrame,
    looks: Mapping[str, Look],
    convention: str,
    column: str,
    scale: float,
    log: bool = False,
    top: int | None = None,
) -> Chart:
    order = {label: index for index, label in enumerate(looks)}
    size, prefix = unit(part["total"].dropna().tolist())
    data: list[Chart] = []
    for label, rows in part.groupby("label", sort=False):
        rows = rows.dropna(subset=["total", column]).sort_values("total")
        if rows.empty:
            continue
        look, index = looks[str(label)], order[str(label)]
        if column == "top1" and (rows["seeds"] > 1).any():
            data.append(_band(rows, index))
        words = [hover(row, size, prefix) for row in rows.to_dict("records")]
        line = trace(look, index, rows["total"], rows[column] * scale, words)
        if column == "top1":
            add_intervals(line, rows, index)
        data.append(line)
    shape = layout()
    shape["margin"]["t"] = top or shape["margin"]["t"]
    if log:
        values = part[column].dropna()
        shape["yaxis"]["type"] = "log"
        # ticks at powers of ten, unless the axis holds fewer than two of them
        if values.max() > 10 * values.min():
            shape["yaxis"]["dtick"] = 1
    _cost_axis(shape, part, convention, size, prefix)
    names = line_names(shape, data, looks) if column == "top1" and data else None
    # the axis title for pages too narrow for the long one
    narrow = {"title": f"{prefix}{safe(_unit_of(convention))} per image"}
    return {"data": data, "layout": shape, "narrow": narrow, "names": names}


def _unit_of(convention: str) -> str:
    """Return the unit that a FLOPs convention counts in."""
    return CONVENTIONS.get(convention, (convention, ""))[0]


def _band(rows: pd.DataFrame, index: int) -> Chart:
    """Return the range over seeds as a filled band."""
    x = plain(rows["total"])
    return {
        "type": "scatter",
        "mode": "lines",
        "x": x + x[::-1],
        "line": {"width": 0},
        "hoverinfo": "skip",
        "y": plain(rows["seed_low"] * 100) + plain(rows["seed_high"] * 100)[::-1],
        "fill": "toself",
        "fillcolor": f"@{token(index)}/0.2",
        "meta": {"label": index},
    }


def _cost_axis(shape: Chart, part: pd.DataFrame, convention: str, size: float, prefix: str) -> None:
    """Label the cost axis with FLOPs and, at chosen ticks, the share removed."""
    unit_name, convention_name = safe(_unit_of(convention)), safe(convention)
    words = f"{prefix}{unit_name} per image, convention “{convention_name}”, and share removed"
    shape["xaxis"]["title"] = title(words)
    costs = part[(part["removed"] < 0.999) & part["total"].notna()]
    if not costs.empty:
        # every cell implies the dense cost; the median is robust to rounding
        dense = float((costs["total"] / (1 - costs["removed"])).median())
        places, names = ticks(dense, float(costs["total"].min()), size)
        shape["xaxis"] |= {
            "tickvals": places,
            "ticktext": [name.replace("\n", "<br>") for name in names],
        }

"""Charts of accuracy, and of agreement with the dense model, against FLOPs per image."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from reports.aggregate import metric_of
from reports.charts.canvas import (
    Chart,
    band,
    layout,
    level,
    note,
    plain,
    safe,
    title,
    token,
    trace,
)
from reports.charts.names import line_names, short
from reports.figures.dots import ranking, share_off
from reports.figures.tradeoff import Marks, one_budget, shaded, ticks
from reports.formatting import (
    budget_name,
    convention_words,
    interval,
    number,
    p_value,
    percent,
    points,
    present,
    unit,
)
from reports.style import Looks, above_band, title_of
from suite.stats.compare import same_answers
from suite.stats.correctness import sample_name
from suite.stats.metric import TOP1

SHADED = 40  # pixels above a chart whose shaded budgets say why


def pareto(
    part: pd.DataFrame,
    looks: Looks,
    convention: str,
    marks: Marks,
    chance: float | None = None,
) -> Chart:
    """Draw top-1 against FLOPs for one backbone, or the ranking of methods at a single budget.

    A budget at which no method was shown to beat a blind baseline is shaded. A dotted line marks
    `chance`, the top-1 of a guess, if the axis reaches down to it. ``at`` is the cost of each
    budget, at which the page marks the chosen one.
    """
    if one_budget(part):
        return dots(part, looks, chance)
    unbeaten = shaded(part, marks)
    at = part[part["budget"].notna()].groupby("budget")["total"].median()
    chart = _curves(part, looks, convention, "top1", 100.0, top=SHADED if unbeaten else None)
    shape = chart["layout"]
    shape["yaxis"]["title"] = title(f"{metric_of(part).axis}, %")
    dense = part.loc[part["method"] == "none", "top1"].dropna()
    shape["shapes"] = [level(value * 100) for value in dense]
    notes = shape.setdefault("annotations", [])
    low, high = shape["yaxis"].get("range", (1.0, 0.0))
    if chance is not None and low <= chance * 100 <= high:
        shape["shapes"].append(level(chance * 100))
        notes.append(note("chance", xref="paper", x=1, xanchor="right", y=chance * 100))
    for place, width, baseline in unbeaten:
        shape["shapes"].append(
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
        words = f"no method shown<br>to beat {safe(above_band(baseline, looks))}"
        notes.append(note(words, 11, x=place, yref="paper", y=1, name="shade"))
    return chart | {"at": {f"{budget:g}": float(cost) for budget, cost in at.items()}}


def agreement(part: pd.DataFrame, looks: Looks, convention: str) -> Chart:
    """Draw the share of images with the dense model's prediction against FLOPs."""
    chart = _curves(part[part["method"] != "none"], looks, convention, "agreement", 100.0)
    chart["layout"]["yaxis"]["title"] = title("same prediction as dense, %")
    return chart


def divergence(part: pd.DataFrame, looks: Looks, convention: str) -> Chart:
    """Draw KL(dense || reduced), in nats, against FLOPs."""
    # a logarithmic axis has no place for a divergence of zero
    part = part[part["method"] != "none"]
    chart = _curves(part, looks, convention, "kl", 1.0, log=bool((part["kl"].dropna() > 0).all()))
    chart["layout"]["yaxis"]["title"] = title("KL(dense, reduced), nats")
    return chart


def _curves(
    part: pd.DataFrame,
    looks: Looks,
    convention: str,
    column: str,
    scale: float,
    log: bool = False,
    top: int | None = None,
) -> Chart:
    order = {label: index for index, label in enumerate(looks)}
    size, prefix = unit(part["total"])
    data: list[Chart] = []
    for label, rows in part.dropna(subset=["total", column]).groupby("label", sort=False):
        rows = rows.sort_values("total")
        look, index = looks[str(label)], order[str(label)]
        if column == "top1" and (rows["seeds"] > 1).any():
            low, high = rows["seed_low"] * 100, rows["seed_high"] * 100
            costs = plain(rows["total"])
            data.append(band(costs, low, high, f"@{token(index)}/0.2", label=index))
        words = [hover(row, looks, size, prefix) for row in rows.to_dict("records")]
        line = trace(look, index, rows["total"], rows[column] * scale, words)
        if column == "top1":
            # by which the page sets points side by side that would hide each other
            line["customdata"] = plain(rows["budget"])
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
    sample = sample_name(next(iter(part["kind"]), "images"))
    counted = f"{prefix}{safe(convention_words(convention)[0])} per {sample}"
    axis = f"{counted}, convention “{safe(convention)}”, and share removed"
    shape["xaxis"]["title"] = title(axis)
    places, stops = ticks(part)
    if places:
        lines = [stop.replace("\n", "<br>") for stop in stops]
        shape["xaxis"] |= {"tickvals": places, "ticktext": lines}
    names = line_names(shape, data, looks) if column == "top1" and data else None
    # the axis title for pages too narrow for the long one
    return {"data": data, "layout": shape, "narrow": {"title": counted}, "names": names}


def hover(row: Mapping[Hashable, Any], looks: Looks, size: float, prefix: str) -> str:
    """Return the hover text of a cell; FLOPs in units of `size`, called `prefix`."""
    metric = row.get("metric", TOP1).name
    # the dense model has no budget, reference or agreement to report
    lines = [
        f"<b>{safe(title_of(row['label'], looks))}</b>",
        f"{metric} {percent(row['top1'])} % {interval(row['top1_low'], row['top1_high'])}",
        f"{number(row['total'] / size, 3)} {prefix}FLOPs, {percent(row['removed'])} % removed"
        + (f" (asked {budget_name(row['budget'])})" if present(row["budget"]) else ""),
    ]
    if row["seeds"] > 1:
        between = f"{percent(row['seed_low'])} to {percent(row['seed_high'])} %"
        lines.append(f"{int(row['seeds'])} seeds: {between}")
    if present(row["difference"]) and present(row["reference"]):
        bounds = interval(row["difference_low"], row["difference_high"], signed=True)
        gap = f"{points(row['difference'])} {bounds}"
        if present(row["p_holm"]):
            gap += f", Holm p {p_value(row['p_holm'])}"
        if row["only_method_correct"] == row["only_reference_correct"] == 0:
            gap = same_answers(int(row["images"]), row["kind"])
        lines.append(f"against {safe(title_of(row['reference'], looks))}: {gap}")
    if present(row["agreement"]) and row["method"] != "none":
        lines.append(f"agrees with dense {percent(row['agreement'])} %, KL {number(row['kl'], 3)}")
    return "<br>".join(line.strip() for line in lines)


def add_intervals(line: Chart, rows: pd.DataFrame, index: int) -> None:
    """Add the 95 % intervals of `rows` to `line` as error bars."""
    up, down = (rows["top1_high"] - rows["top1"]) * 100, (rows["top1"] - rows["top1_low"]) * 100
    if up.notna().any():
        line["error_y"] = {
            "type": "data",
            "symmetric": False,
            "array": plain(up),
            "arrayminus": plain(down),
            "color": f"@{token(index)}/0.55",
            "thickness": 1.1,
            "width": 0,
        }


def dots(part: pd.DataFrame, looks: Looks, chance: float | None) -> Chart:
    """Rank the methods of one budget, a dot with its 95 % interval for each.

    Dense accuracy and `chance` (None if unknown) are dotted levels.
    """
    size, prefix = unit(part["total"])
    order = {label: index for index, label in enumerate(looks)}
    methods, budget = ranking(part)
    data, names = [], []
    # the lowest row of the chart is the worst method
    for height, row in enumerate(methods.to_dict("records")):
        label = str(row["label"])
        frame = pd.DataFrame([row])
        values, heights = frame["top1"] * 100, pd.Series([height])
        dot = trace(looks[label], order[label], values, heights, [hover(row, looks, size, prefix)])
        add_intervals(dot, frame, order[label])
        # accuracy is on the x axis here, so its interval lies along x
        if "error_y" in dot:
            dot["error_x"] = dot.pop("error_y")
        data.append(dot)
        names.append(safe(short(looks[label].title)) + share_off(row, budget))
    shape = layout()
    shape["height"] = 110 + 24 * len(names)
    shape["margin"] |= {"t": 34, "b": 60}
    shape["xaxis"] |= {
        "title": title(f"{metric_of(part).name}, % at {budget_name(budget)} fewer FLOPs"),
        "showgrid": True,
    }
    shape["yaxis"] |= {
        "tickvals": list(range(len(names))),
        "ticktext": names,
        "range": [-0.7, len(names) - 0.3],
        "showgrid": False,
        "ticks": "",
        "showline": False,
    }
    levels = []
    for value in part.loc[part["method"] == "none", "top1"].dropna():
        levels.append((float(value), "dense"))
    low, high = 0.0, 1.0
    if len(methods):
        low, high = float(methods["top1"].min()), float(methods["top1"].max())
    # chance far to the left would squeeze all methods into a corner
    if chance is not None and chance >= low - 0.25 * (high - low):
        levels.append((chance, "chance"))
    shape["shapes"], shape["annotations"] = [], []
    for value, name in levels:
        at = {"x0": value * 100, "x1": value * 100, "y0": 0, "y1": 1}
        shape["shapes"].append(level(0) | {"xref": "x", "yref": "paper"} | at)
        words = f"{name} {percent(value)}"
        shape["annotations"].append(note(words, x=value * 100, yref="paper", y=1))
    return {"data": data, "layout": shape, "names": None}

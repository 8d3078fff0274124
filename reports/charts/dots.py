"""Chart that ranks the methods of one budget."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from reports.charts.canvas import Chart, layout, level, safe, title, trace
from reports.charts.cells import add_intervals, hover
from reports.charts.names import short
from reports.formatting import budget_name, percent, present, unit
from reports.style import Look
from suite.stats.compare import other_work


def ranking(part: pd.DataFrame, looks: Mapping[str, Look], chance: float | None) -> Chart:
    """Rank the methods of one budget, a dot with its 95 % interval for each.

    Dense accuracy and `chance` (None if unknown) are dotted levels.
    """
    size, prefix = unit(part["total"].dropna().tolist())
    order = {label: index for index, label in enumerate(looks)}
    ranked = (
        part[part["method"] != "none"].dropna(subset=["top1"]).sort_values("top1", kind="stable")
    )
    budget = float(part["budget"].dropna().iloc[0])
    data, names = [], []
    # the lowest row of the chart is the worst method
    for height, row in enumerate(ranked.to_dict("records")):
        label = str(row["label"])
        frame = pd.DataFrame([row])
        values, heights = frame["top1"] * 100, pd.Series([height])
        dot = trace(looks[label], order[label], values, heights, [hover(row, size, prefix)])
        add_intervals(dot, frame, order[label])
        # accuracy is on the x axis here, so its interval lies along x
        if "error_y" in dot:
            dot["error_x"] = dot.pop("error_y") | {"visible": True}
        data.append(dot)
        name = short(label)
        away = present(row["removed"]) and other_work(row["removed"], budget)
        names.append(safe(name) + (f" (−{percent(row['removed'], 0)} %)" if away else ""))
    shape = layout()
    shape["height"] = 110 + 24 * len(names)
    shape["margin"] |= {"t": 34, "b": 60}
    shape["xaxis"] |= {
        "title": title(f"top-1 accuracy, %, with {budget_name(budget)} of FLOPs removed"),
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
    if len(ranked):
        low, high = float(ranked["top1"].min()), float(ranked["top1"].max())
    # chance far to the left would squeeze all methods into a corner
    if chance is not None and chance >= low - 0.25 * (high - low):
        levels.append((chance, "chance"))
    shape["shapes"], shape["annotations"] = [], []
    for value, name in levels:
        at = {"x0": value * 100, "x1": value * 100, "y0": 0, "y1": 1}
        shape["shapes"].append(level(0) | {"xref": "x", "yref": "paper"} | at)
        shape["annotations"].append(
            {
                "text": f"{name} {percent(value)}",
                "x": value * 100,
                "yref": "paper",
                "y": 1,
                "yanchor": "bottom",
                "showarrow": False,
                "font": {"color": "@soft", "size": 11.5},
            }
        )
    return {"data": data, "layout": shape, "names": None}

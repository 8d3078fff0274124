"""Foreground kept, or its lift over all tokens, block by block."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from reports.charts.canvas import Chart, layout, level, plain, safe, title, trace
from reports.formatting import budget_name, number, percent
from reports.style import Look


def by_block(part: pd.DataFrame, looks: Mapping[str, Look], column: str) -> Chart:
    """`column` (``foreground_kept`` or ``lift``) by block for one backbone, a trace for each method and budget."""
    order = {label: index for index, label in enumerate(looks)}
    share = column == "foreground_kept"
    data: list[Chart] = []
    for budget, rows in part.groupby("budget"):
        if share:
            data.append(_all_tokens(rows, float(str(budget))))
        for label, line in sorted(rows.groupby("label"), key=lambda item: order[str(item[0])]):
            line = line.sort_values("block")
            words = [
                f"<b>{safe(label)}</b>, {budget_name(budget)}<br>block {int(row.block)}: foreground "
                f"{percent(row.foreground_kept)} %, all tokens {percent(row.kept)} %, lift {number(row.lift, 2)}"
                for row in line.itertuples()
            ]
            drawn = trace(
                looks[str(label)],
                order[str(label)],
                line["block"],
                line[column] * (100 if share else 1),
                words,
            )
            drawn["meta"]["budget"] = float(str(budget))
            data.append(drawn)
    shape = layout()
    shape["margin"]["b"] = 52
    step = max(1, int(part["block"].max()) // 8)
    shape["xaxis"] |= {"title": title("block that the tokens enter"), "dtick": step}
    shape["yaxis"]["title"] = title(
        "true foreground still there, %" if share else "lift over all tokens"
    )
    if share:
        shape["yaxis"]["range"] = [0, 104]
    else:
        shape["shapes"] = [level(1)]
    return {"data": data, "layout": shape}


def _all_tokens(rows: pd.DataFrame, budget: float) -> Chart:
    base = rows.groupby("block")["kept"].agg(["min", "max"]) * 100
    blocks = base.index.tolist()
    return {
        "type": "scatter", "mode": "lines", "x": blocks + blocks[::-1], "fill": "toself", "fillcolor": "@soft/0.22",
        "y": plain(base["min"]) + plain(base["max"] + 0.6)[::-1], "line": {"width": 0}, "hoverinfo": "skip",
        "meta": {"budget": budget},
    }  # fmt: skip

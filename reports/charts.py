"""Plotly figures as plain data: what the page's interactive charts draw.

Colours are tokens such as ``@tome`` that the page looks up in the palette of the reader's theme. Every trace carries
``meta`` with its label and, where a chart has several, its budget; the page shows and hides by it.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

import pandas as pd

from reports import style
from reports.figures.tradeoff import Marks, shaded, ticks
from reports.style import Look
from reports.text import CONVENTIONS, budget_name, interval, number, p_value, percent, points, present, spread, unit

HEIGHT = 480
NAME = 34  # longest name beside a line, characters
SIZES = {"star": 13, "up": 11, "down": 11}  # pixels; a triangle of the same size looks smaller than a square
Chart = dict[str, Any]


def palette(looks: Mapping[str, Look], theme: str) -> dict[str, str]:
    """Colour of each token in `theme`, ``light`` or ``dark``."""
    basic = {"ink": style.INK, "soft": style.SOFT, "grid": style.GRID, "paper": style.PAPER}
    colours = {name: pair[theme] for name, pair in basic.items()}
    return colours | {token(index): getattr(look, theme) for index, look in enumerate(looks.values())}


def token(index: int) -> str:
    """Name of the palette entry of the `index`-th label: labels are foreign text and never become keys."""
    return f"m{index}"


def pareto(
    part: pd.DataFrame, looks: Mapping[str, Look], convention: str, marks: Marks, chance: float | None = None
) -> Chart:
    """Top-1 against FLOPs for one backbone; error bars wait to be switched on.

    A budget at which no method was shown to beat a blind baseline is shaded; a dotted line marks `chance`, the top-1
    of a guess, where the axis reaches down to it.
    """
    chart = _curves(part, looks, convention, "top1", 100.0)
    chart["layout"]["yaxis"]["title"] = _title("top-1 accuracy, %")
    dense = part.loc[part["method"] == "none", "top1"].dropna()
    chart["layout"]["shapes"] = [_level(value * 100) for value in dense]
    _level_of_chance(chart["layout"], chance)
    for place, width, baseline in shaded(part, marks):
        chart["layout"]["shapes"].append(
            {"type": "rect", "yref": "paper", "y0": 0, "y1": 1, "x0": place - width / 2, "x1": place + width / 2,
             "layer": "below", "line": {"width": 0}, "fillcolor": "@soft/0.14"}
        )  # fmt: skip
        chart["layout"].setdefault("annotations", []).append(
            {"text": f"no method shown to beat {_safe(baseline)}", "x": place, "yref": "paper", "y": 0.02,
             "yanchor": "bottom", "textangle": -90, "showarrow": False, "font": {"color": "@soft", "size": 11.5}}
        )  # fmt: skip
    return chart


def _level(value: float) -> Chart:
    return {
        "type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": value, "y1": value, "layer": "below",
        "line": {"color": "@soft", "width": 1, "dash": "dot"},
    }  # fmt: skip


def _level_of_chance(layout: Chart, chance: float | None) -> None:
    low, high = layout["yaxis"].get("range", (1.0, 0.0))
    if chance is None or not low <= chance * 100 <= high:
        return
    layout["shapes"].append(_level(chance * 100))
    layout.setdefault("annotations", []).append(
        {"text": "chance", "xref": "paper", "x": 1, "xanchor": "right", "y": chance * 100, "yanchor": "bottom",
         "showarrow": False, "font": {"color": "@soft", "size": 11.5}}
    )  # fmt: skip


def agreement(part: pd.DataFrame, looks: Mapping[str, Look], convention: str) -> Chart:
    """Share of images with the dense model's prediction against FLOPs for one backbone."""
    chart = _curves(part[part["method"] != "none"], looks, convention, "agreement", 100.0)
    chart["layout"]["yaxis"]["title"] = _title("same prediction as dense, %")
    return chart


def divergence(part: pd.DataFrame, looks: Mapping[str, Look], convention: str) -> Chart:
    """KL(dense || reduced) against FLOPs for one backbone, logarithmic where every value is positive."""
    part = part[part["method"] != "none"]
    chart = _curves(part, looks, convention, "kl", 1.0, log=bool((part["kl"].dropna() > 0).all()))
    chart["layout"]["yaxis"]["title"] = _title("KL(dense, reduced), nats")
    return chart


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
                f"<b>{_safe(label)}</b>, {budget_name(budget)}<br>block {int(row.block)}: foreground "
                f"{percent(row.foreground_kept)} %, all tokens {percent(row.kept)} %, lift {number(row.lift, 2)}"
                for row in line.itertuples()
            ]
            trace = _trace(
                looks[str(label)], order[str(label)], line["block"], line[column] * (100 if share else 1), words
            )
            trace["meta"]["budget"] = float(str(budget))
            data.append(trace)
    layout = _layout()
    layout["margin"]["b"] = 52
    step = max(1, int(part["block"].max()) // 8)
    layout["xaxis"] |= {"title": _title("block that the tokens enter"), "dtick": step}
    layout["yaxis"]["title"] = _title("true foreground still there, %" if share else "lift over all tokens")
    if share:
        layout["yaxis"]["range"] = [0, 104]
    else:
        layout["shapes"] = [_level(1)]
    return {"data": data, "layout": layout}


def _all_tokens(rows: pd.DataFrame, budget: float) -> Chart:
    base = rows.groupby("block")["kept"].agg(["min", "max"]) * 100
    blocks = base.index.tolist()
    return {
        "type": "scatter", "mode": "lines", "x": blocks + blocks[::-1], "fill": "toself", "fillcolor": "@soft/0.22",
        "y": _plain(base["min"]) + _plain(base["max"] + 0.6)[::-1], "line": {"width": 0}, "hoverinfo": "skip",
        "meta": {"budget": budget},
    }  # fmt: skip


def _curves(
    part: pd.DataFrame, looks: Mapping[str, Look], convention: str, column: str, scale: float, log: bool = False
) -> Chart:
    order = {label: index for index, label in enumerate(looks)}
    size, prefix = unit(part["total"].dropna().tolist())
    data: list[Chart] = []
    ends: list[tuple[str, float, float]] = []
    for label, rows in part.groupby("label", sort=False):
        rows = rows.dropna(subset=["total", column]).sort_values("total")
        if rows.empty:
            continue
        look, index = looks[str(label)], order[str(label)]
        if column == "top1" and (rows["seeds"] > 1).any():
            data.append(_band(rows, index))
        trace = _trace(
            look, index, rows["total"], rows[column] * scale, [_hover(row, size, prefix) for row in _each(rows)]
        )
        if column == "top1":
            _bars(trace, rows, index)
        data.append(trace)
        ends.append((str(label), float(rows["total"].iloc[0]), float(rows[column].iloc[0]) * scale))
    layout = _layout()
    if log:
        values = part[column].dropna()
        layout["yaxis"] |= {"type": "log"} | ({"dtick": 1} if values.max() > 10 * values.min() else {})
    _cost_axis(layout, part, convention, size, prefix)
    if column == "top1" and ends:
        _names(layout, data, ends, order, part)
    narrow = {"title": f"{prefix}{_safe(CONVENTIONS.get(convention, (convention, ''))[0])} per image"}
    return {"data": data, "layout": layout, "narrow": narrow}


def _each(rows: pd.DataFrame) -> list[dict[str, Any]]:
    return [dict(row) for row in rows.to_dict("records")]


def _hover(row: dict[str, Any], size: float, prefix: str) -> str:
    lines = [
        f"<b>{_safe('dense' if row['method'] == 'none' else row['label'])}</b>",
        f"top-1 {percent(row['top1'])} % {interval(row['top1_low'], row['top1_high'])}",
        f"{number(row['total'] / size, 3)} {prefix}FLOPs, {percent(row['removed'])} % removed"
        + (f" (asked {budget_name(row['budget'])})" if present(row["budget"]) else ""),
    ]
    if row["seeds"] > 1:
        lines.append(f"{int(row['seeds'])} seeds: {percent(row['seed_low'])} to {percent(row['seed_high'])} %")
    if present(row["difference"]) and present(row["reference"]):
        gap = f"{points(row['difference'])} {interval(row['difference_low'], row['difference_high'], signed=True)}"
        holm = f", Holm p {p_value(row['p_holm'])}" if present(row["p_holm"]) else ""
        lines.append(f"against {_safe(row['reference'])}: {gap}{holm}")
    if row["method"] != "none":
        lines.append(f"agrees with dense {percent(row['agreement'])} %, KL {number(row['kl'], 3)}")
    return "<br>".join(line.strip() for line in lines)


def _trace(look: Look, index: int, x: pd.Series, y: pd.Series, words: list[str]) -> Chart:
    colour = f"@{token(index)}"
    return {
        "type": "scatter", "mode": "lines+markers", "name": _safe(look.label), "x": _plain(x), "y": _plain(y),
        "text": words, "hovertemplate": "%{text}<extra></extra>", "meta": {"label": index},
        "line": {"color": colour, "width": 2.2, "dash": look.dash},
        "cliponaxis": False,
        "marker": {"color": colour if look.filled else "@paper", "size": SIZES.get(look.marker, 9),
                   "symbol": look.symbol,
                   "line": {"color": "@paper" if look.filled else colour, "width": 1 if look.filled else 2}},
    }  # fmt: skip


def _bars(trace: Chart, rows: pd.DataFrame, index: int) -> None:
    up, down = (rows["top1_high"] - rows["top1"]) * 100, (rows["top1"] - rows["top1_low"]) * 100
    if up.notna().any():
        trace["error_y"] = {
            "type": "data", "symmetric": False, "array": _plain(up), "arrayminus": _plain(down), "visible": False,
            "color": f"@{token(index)}", "thickness": 1, "width": 4,
        }  # fmt: skip


def _band(rows: pd.DataFrame, index: int) -> Chart:
    x = _plain(rows["total"])
    return {
        "type": "scatter", "mode": "lines", "x": x + x[::-1], "line": {"width": 0}, "hoverinfo": "skip",
        "y": _plain(rows["seed_low"] * 100) + _plain(rows["seed_high"] * 100)[::-1],
        "fill": "toself", "fillcolor": f"@{token(index)}/0.2", "meta": {"label": index},
    }  # fmt: skip


def _names(
    layout: Chart, data: list[Chart], ends: list[tuple[str, float, float]], order: dict[str, int], part: pd.DataFrame
) -> None:
    """Names of the methods left of their cheapest points, moved apart; the page drops them where it is narrow."""
    values = [value for trace in data for value in trace["y"] if value is not None]
    low, high = min(values), max(values)
    pad = 0.07 * (high - low or 1.0)
    low, high = low - pad, high + pad
    layout["yaxis"]["range"] = [low, high]
    dense = set(part.loc[part["method"] == "none", "label"])
    names = [end for end in ends if end[0] not in dense]
    room = HEIGHT - layout["margin"]["t"] - layout["margin"]["b"]
    gap = 17 * (high - low) / room
    left, right = min(x for _, x, _ in ends), max(x for _, x, _ in ends)
    width = right - left or abs(right) or 1.0
    layout["annotations"] = [
        _name(label, order[label], (x, y), (left - 0.035 * width, place))
        for (label, x, y), place in zip(names, spread([y for *_, y in names], gap, low + gap / 2, high), strict=True)
    ] + [
        {"text": "dense", "x": x, "y": y, "showarrow": False, "yshift": 14, "font": {"color": "@ink", "size": 12},
         "name": str(order[label])} for label, x, y in ends if label in dense
    ]  # fmt: skip
    longest = max((len(label) for label, *_ in names), default=0)
    layout["xaxis"]["range"] = [left - width * (0.08 + 0.0145 * min(longest, NAME)), right + 0.05 * width]


def _name(label: str, index: int, point: tuple[float, float], place: tuple[float, float]) -> Chart:
    return {
        "text": _safe(label if len(label) <= NAME else label[: NAME - 1] + "…"), "x": point[0], "y": point[1],
        "ax": place[0], "ay": place[1], "axref": "x", "ayref": "y", "xanchor": "right", "showarrow": True,
        "arrowhead": 0, "arrowwidth": 0.7, "arrowcolor": f"@{token(index)}/0.6", "standoff": 6,
        "font": {"color": f"@{token(index)}", "size": 12.5}, "name": str(index),
    }  # fmt: skip


def _cost_axis(layout: Chart, part: pd.DataFrame, convention: str, size: float, prefix: str) -> None:
    short = CONVENTIONS.get(convention, (convention, ""))[0]
    title = f"{prefix}{_safe(short)} per image, convention “{_safe(convention)}”, and share removed"
    layout["xaxis"]["title"] = _title(title)
    known = part[(part["removed"] < 0.999) & part["total"].notna()]
    if not known.empty:
        dense = float((known["total"] / (1 - known["removed"])).median())
        places, names = ticks(dense, float(known["total"].min()), size)
        layout["xaxis"] |= {"tickvals": places, "ticktext": [name.replace("\n", "<br>") for name in names]}


def _layout() -> Chart:
    axis = {
        "gridcolor": "@grid", "linecolor": "@soft", "zeroline": False, "ticks": "outside", "ticklen": 4,
        "tickcolor": "@soft", "automargin": True, "fixedrange": True,
    }  # fmt: skip
    return {
        "height": HEIGHT, "margin": {"l": 56, "r": 12, "t": 14, "b": 76}, "showlegend": False, "hovermode": "closest",
        "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)", "dragmode": False,
        "font": {"family": "system-ui, sans-serif", "size": 12.5, "color": "@soft"},
        "hoverlabel": {"bgcolor": "@paper", "bordercolor": "@soft", "align": "left",
                       "font": {"color": "@ink", "size": 12.5, "family": "system-ui, sans-serif"}},
        "xaxis": {**axis, "showgrid": False}, "yaxis": dict(axis),
    }  # fmt: skip


def _title(text: str) -> Chart:
    return {"text": text, "standoff": 9, "font": {"size": 13}}


def _plain(values: pd.Series) -> list[float | None]:
    return [float(value) if present(value) else None for value in values]


def _safe(value: Any) -> str:
    """Foreign text for plotly, which reads a subset of HTML and ``%{...}`` templates."""
    return html.escape(str(value)).replace("%{", "%&#123;")

"""Hover text and intervals of the points of a chart."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from reports.charts.canvas import Chart, plain, safe, token
from reports.formatting import budget_name, interval, number, p_value, percent, points, present


def hover(row: Mapping[Hashable, Any], size: float, prefix: str) -> str:
    """Return the hover text of a cell; FLOPs in units of `size`, called `prefix`."""
    # the dense model has no budget, reference or agreement to report
    lines = [
        f"<b>{safe('dense' if row['method'] == 'none' else row['label'])}</b>",
        f"top-1 {percent(row['top1'])} % {interval(row['top1_low'], row['top1_high'])}",
        f"{number(row['total'] / size, 3)} {prefix}FLOPs, {percent(row['removed'])} % removed"
        + (f" (asked {budget_name(row['budget'])})" if present(row["budget"]) else ""),
    ]
    if row["seeds"] > 1:
        between = f"{percent(row['seed_low'])} to {percent(row['seed_high'])} %"
        lines.append(f"{int(row['seeds'])} seeds: {between}")
    if present(row["difference"]) and present(row["reference"]):
        bounds = interval(row["difference_low"], row["difference_high"], signed=True)
        gap = f"{points(row['difference'])} {bounds}"
        holm = f", Holm p {p_value(row['p_holm'])}" if present(row["p_holm"]) else ""
        lines.append(f"against {safe(row['reference'])}: {gap}{holm}")
    if row["method"] != "none":
        lines.append(f"agrees with dense {percent(row['agreement'])} %, KL {number(row['kl'], 3)}")
    return "<br>".join(line.strip() for line in lines)


def add_intervals(line: Chart, rows: pd.DataFrame, index: int) -> None:
    """Add the 95 % intervals of `rows` to `line` as error bars that the page can switch on."""
    up, down = (rows["top1_high"] - rows["top1"]) * 100, (rows["top1"] - rows["top1_low"]) * 100
    if up.notna().any():
        line["error_y"] = {
            "type": "data",
            "symmetric": False,
            "array": plain(up),
            "arrayminus": plain(down),
            "visible": False,
            "color": f"@{token(index)}",
            "thickness": 1,
            "width": 4,
        }

"""Chart of the foreground tokens that survive, block by block."""

from __future__ import annotations

import pandas as pd

from reports.charts.canvas import Chart, band, layout, level, safe, title, trace
from reports.formatting import budget_name, number, percent
from reports.style import Looks, title_of


def by_block(part: pd.DataFrame, looks: Looks, column: str) -> Chart:
    """Draw `column` against the block for one backbone, a trace for each method and budget.

    `column` is ``foreground_kept``, a share, or ``lift``, its ratio to the share of all tokens.
    """
    order = {label: index for index, label in enumerate(looks)}
    share = column == "foreground_kept"
    data: list[Chart] = []
    for budget, rows in part.groupby("budget"):
        if share:
            # the shares of all tokens that methods keep, as a backdrop; half a point of height
            # keeps it visible where all keep the same
            base = rows.groupby("block")["kept"].agg(["min", "max"]) * 100
            ends = base["min"], base["max"] + 0.6
            data.append(band(base.index.tolist(), *ends, "@soft/0.22", budget=float(str(budget))))
        for label, line in sorted(rows.groupby("label"), key=lambda item: order[str(item[0])]):
            line = line.sort_values("block")
            words = []
            for row in line.itertuples():
                words.append(
                    f"<b>{safe(title_of(label, looks))}</b>, {budget_name(budget)}<br>"
                    f"block {int(row.block)}: "
                    f"foreground {percent(row.foreground_kept)} %, "
                    f"all tokens {percent(row.kept)} %, lift {number(row.lift, 2)}"
                )
            values = line[column] * (100 if share else 1)
            drawn = trace(looks[str(label)], order[str(label)], line["block"], values, words)
            # the page's budget slider shows the traces whose budget is chosen
            drawn["meta"]["budget"] = float(str(budget))
            data.append(drawn)
    shape = layout()
    # an axis title of one line needs less room than the default of two
    shape["margin"]["b"] = 52
    step = max(1, int(part["block"].max()) // 8)
    shape["xaxis"] |= {"title": title("block that the tokens enter"), "dtick": step}
    shape["yaxis"]["title"] = title(
        "true foreground still there, %" if share else "lift over all tokens"
    )
    if share:
        # room above 100 % for the marks of methods that lose nothing
        shape["yaxis"]["range"] = [0, 104]
    else:
        # a lift of 1: no better than dropping tokens at random
        shape["shapes"] = [level(1)]
    return {"data": data, "layout": shape}

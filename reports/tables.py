"""Tables of results as CSV (every digit), and as Markdown and LaTeX (rounded)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from reports.aggregate import corrected_for, metric_of, references
from reports.formatting import (
    budget_name,
    convention_words,
    interval,
    latex,
    markdown,
    number,
    p_value,
    percent,
    points,
    setting_name,
    shown,
    unit,
)
from reports.run import KINDS, SMALLER, SPREAD
from reports.section import Table
from suite.stats.compare import other_work
from suite.stats.metric import Metric
from suite.store.schema import NOT_STATIC, PAIRED, SAME

RESULT_COLUMNS = (
    "backbone",
    "label",
    "method",
    "family",
    "schedule",
    "cls_window",
    "budget",
    "removed",
    *SPREAD,
    "total",
    "token_ratio",
    "top1",
    "top1_low",
    "top1_high",
    "seed_low",
    "seed_high",
    "seeds",
    "images",
    "reference",
    *PAIRED.split(),
    "top5",
    "loss",
    "margin",
    "agreement",
    "kl",
    *KINDS,
    "images_per_second",
)

DAGGER = r"$^{\dagger}$"
# characters that begin a formula in a spreadsheet, with their wide forms
FORMULA = frozenset("=+-@\uff1d\uff0b\uff0d\uff20")


def results_csv(frame: pd.DataFrame) -> str:
    """Return a row for each backbone, method and budget, with fractions and nothing rounded.

    A text that a spreadsheet would run as a formula begins with an apostrophe.
    """
    rows = frame.loc[:, list(RESULT_COLUMNS)]
    return csv(rows.rename(columns=metric_of(frame).column_of))


def cells_csv(frame: pd.DataFrame, metric: Metric) -> str:
    """Return a row a cell, with everything that figures are drawn from."""
    # The figures of another task stand there twice: under the name that all share, too.
    twice = [name for name in frame.columns if metric.column_of(name) != name]
    return csv(frame.drop(columns=twice))


def heads(frame: pd.DataFrame, convention: str) -> dict[str, str | None]:
    """Return the heads of the printed table, with the column that each is sorted by.

    Speed is the last column, if it was measured.
    """
    prefix, short = unit(frame["total"])[1], convention_words(convention)[0]
    names: dict[str, str | None] = {
        "Backbone": "backbone",
        "Method": "label",
        "Setting": "schedule",
        "Asked": "budget",
        "Removed, %": "removed",
        f"{prefix}{short}": "total",
        "Tokens removed, %": "token_ratio",
        f"{metric_of(frame).title}, %": "top1",
        "95 % interval": None,
        "Difference, points": "difference",
        "Holm p": "p_holm",
        "Agreement, %": "agreement",
        "KL": "kl",
    }
    timed = frame["images_per_second"].notna().any()
    return names | ({"Images/s": "images_per_second"} if timed else {})


def printed(frame: pd.DataFrame, convention: str) -> tuple[dict[str, str | None], list[list[str]]]:
    """Return the printed table: its `heads`, and the cells of each row."""
    columns = heads(frame, convention)
    size = unit(frame["total"])[0]
    return columns, [_row(row, size)[: len(columns)] for row in frame.to_dict("records")]


def _row(row: dict[Any, Any], size: float) -> list[str]:
    """Return the cells of one row; the dense model is compared with nothing."""
    dense = row["method"] == "none"
    bounds = interval(row["difference_low"], row["difference_high"], signed=True)
    gap = f"{points(row['difference'])} {bounds}".strip()
    if row["only_method_correct"] == row["only_reference_correct"] == 0:
        gap = "right on the same"
    reference = row["label"] == row["reference"]
    return [
        str(row["backbone"]),
        "dense" if dense else str(row["label"]),
        _setting(row),
        budget_name(row["budget"]),
        f"{percent(row['removed'])} {_spread(row)}".strip(),
        number(row["total"] / size, 1 if row["total"] / size >= 100 else 2),
        percent(row["token_ratio"]),
        percent(row["top1"]),
        interval(row["top1_low"], row["top1_high"]) or number(None, 0),
        "reference" if reference and not dense else number(None, 0) if dense else gap,
        number(None, 0) if dense else p_value(row["p_holm"]),
        number(None, 0) if dense else percent(row["agreement"]),
        number(None, 0) if dense else number(row["kl"], 3),
        number(row["images_per_second"], 1),
    ]


def _setting(row: Mapping[Any, Any]) -> str:
    name = setting_name(row["schedule"], row["cls_window"])
    return f"{name}, {NOT_STATIC}" if _spread(row) else name


def _spread(row: Mapping[Any, Any]) -> str:
    """Return between which shares nine images in ten lie, where each decides on its own."""
    return interval(row["removed_low"], row["removed_high"])


def results_md(frame: pd.DataFrame, convention: str) -> str:
    """Return the printed table in Markdown."""
    columns, rows = printed(frame, convention)
    aligned = ["---"] * 3 + ["---:"] * (len(columns) - 3)
    return _markdown_table(list(columns), aligned, rows)


def _markdown_table(heads: list[str], aligned: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table; `aligned` is its second line."""
    lines = [[markdown(head) for head in heads], aligned]
    for row in rows:
        lines.append([markdown(cell) for cell in row])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _tex_row(cells: Iterable[str]) -> str:
    """Return a row of a LaTeX table from escaped cells."""
    return " & ".join(cells) + " \\\\"


def _tex_table(
    caption: str, alignment: str, head: Iterable[str], rows: Sequence[str], wide: bool = False
) -> str:
    """Return a LaTeX table with booktabs, as wide as the page or as a column of it at most."""
    star, width = ("*", "textwidth") if wide else ("", "columnwidth")
    lines = [
        "% needs \\usepackage{booktabs} and \\usepackage{adjustbox}",
        f"\\begin{{table{star}}}",
        "\\centering",
        f"\\caption{{{caption}}}",
        f"\\begin{{adjustbox}}{{max width=\\{width}}}",
        f"\\begin{{tabular}}{{{alignment}}}",
        "\\toprule",
        _tex_row(map(latex, head)),
        "\\midrule",
        *rows,
        "\\bottomrule",
        "\\end{tabular}",
        "\\end{adjustbox}",
        f"\\end{{table{star}}}",
        "",
    ]
    return "\n".join(lines)


def results_tex(frame: pd.DataFrame, convention: str, caption: str) -> str:
    """Return the printed table in LaTeX, with a space between budgets and the best top-1 bold."""
    columns, rows = printed(frame, convention)
    lines: list[str] = []
    before = None
    place, best = list(columns.values()).index("top1"), _best(frame)
    for index, row in zip(frame.index, rows, strict=True):
        if before is not None and before != (row[0], row[3]):
            lines.append("\\addlinespace")
        before = (row[0], row[3])
        cells = [latex(cell) for cell in row]
        if index in best:
            cells[place] = _bold(cells[place])
        lines.append(_tex_row(cells))
    return _tex_table(latex(caption), f"lll{'r' * (len(columns) - 3)}", columns, lines, wide=True)


def _best(frame: pd.DataFrame) -> set[Any]:
    """Return the rows with the highest top-1 of a backbone and budget, as it is printed.

    Cells that remove another share of FLOPs, such as those of a smaller image, are not among them.
    """
    best: set[Any] = set()
    equal = [not other_work(row.removed, row.budget, row.coarse) for row in frame.itertuples()]
    rows = frame[frame["budget"].notna() & pd.Series(equal, index=frame.index, dtype=bool)]
    for _, those in rows.groupby(["backbone", "budget"]):
        shown = those["top1"].map(percent)
        best |= set(those.index[shown == percent(those["top1"].max())])
    return best


def _bold(text: str) -> str:
    return f"\\textbf{{{text}}}"


def compact_tex(frame: pd.DataFrame, backbone: str, caption: str) -> str:
    """Return top-1 of one backbone in LaTeX for one column, methods by budgets.

    The best of a column is bold. A star marks a significant difference from the reference. A dagger
    marks a cell whose share of FLOPs is more than half a point off its column, or 0.2 where whole
    rows and columns leave; such cells are not tested.
    """
    part = frame[frame["backbone"] == backbone]
    budgets = sorted(part["budget"].dropna().unique())
    reference = references(part)
    star = ""
    if reference and corrected_for(part):
        star = (
            f" *: differs from {reference} (5 %, Holm's correction for {corrected_for(part)} at a "
            "budget; interval without zero)."
        )
    off_budget = part.loc[
        [other_work(row.removed, row.budget, row.coarse) for row in part.itertuples()]
    ]
    dagger = ""
    if len(off_budget):
        dagger = f"{DAGGER}: at another share of FLOPs ({_shares(off_budget)}), not tested. "
    words = f"{metric_of(frame).title} (%) of {backbone} by the share of FLOPs removed.{star}"
    for row in part.to_dict("records"):
        if _spread(row):
            words += (
                f" {row['label']} at {budget_name(row['budget'])}: {NOT_STATIC}, nine images in "
                f"ten lose {percent(row['removed_low'])} to {percent(row['removed_high'])} %."
            )
    lines, best = [], _best(part)
    for label, rows in part.groupby("label", sort=False):
        records = rows.to_dict("records")
        by_budget = {
            row["budget"]: row | {"best": index in best}
            for index, row in zip(rows.index, records, strict=True)
        }
        if budgets and rows["budget"].isna().all():
            # a dense model has no budget: one value across all of them
            value, name = percent(rows["top1"].iloc[0]), "dense"
            if (rows["method"] == SMALLER).all():
                name = str(label)
                value += f" at {percent(rows['removed'].iloc[0], 0)} % fewer FLOPs"
            across = f"\\multicolumn{{{len(budgets)}}}{{c}}{{{latex(value)}}}"
            lines.append(_tex_row([latex(name), across]))
            if name == "dense":
                lines.append("\\addlinespace")
            continue
        cells = [_starred(by_budget.get(budget)) for budget in budgets]
        lines.append(_tex_row([latex(str(label).split(SAME)[0]), *cells]))
    head = ["Method", *map(budget_name, budgets)]
    caption = f"{latex(words)} {dagger}{latex(caption)}"
    return _tex_table(caption, f"l{'r' * len(budgets)}", head, lines)


def _starred(row: dict[Any, Any] | None) -> str:
    """Return top-1 in LaTeX with its mark."""
    if row is None:
        return latex(number(None, 0))
    mark = "$^{*}$" if row["significant"] else ""
    if other_work(row["removed"], row["budget"], row["coarse"]):
        mark = DAGGER
    text = latex(percent(row["top1"]))
    return (_bold(text) if row["best"] else text) + mark


def _shares(rows: pd.DataFrame) -> str:
    """Return the shares of FLOPs that each method removes, in LaTeX."""
    parts = []
    for label, own in rows.groupby("label", sort=False):
        shares = dict.fromkeys(percent(share) for share in own["removed"])
        parts.append(f"{latex(str(label).split(SAME)[0])}: {', '.join(shares)}")
    return "; ".join(parts) + " \\%"


def table_cells(table: Table) -> list[list[str]]:
    """Return the printed cells of an analysis's table, with the decimals of each column."""
    rows = []
    for row in table.frame.to_dict("records"):
        cells = [_printed(value, table.digits.get(str(head), 3)) for head, value in row.items()]
        rows.append(cells)
    return rows


def is_numeric(table: Table) -> list[bool]:
    """Return which columns of an analysis's table are numbers."""
    numeric = []
    for kind in table.frame.dtypes:
        # pandas counts booleans as numbers
        numeric.append(is_numeric_dtype(kind) and not is_bool_dtype(kind))
    return numeric


def table_md(table: Table) -> str:
    """Return an analysis's table in Markdown."""
    names = [str(head) for head in table.frame.columns]
    aligned = ["---:" if numeric else "---" for numeric in is_numeric(table)]
    return _markdown_table(names, aligned, table_cells(table))


def table_tex(table: Table) -> str:
    """Return an analysis's table in LaTeX, at most one column of a paper wide."""
    alignment = "".join("r" if numeric else "l" for numeric in is_numeric(table))
    rows = [_tex_row(map(latex, row)) for row in table_cells(table)]
    return _tex_table(latex(table.caption), alignment, map(str, table.frame.columns), rows)


def _printed(value: Any, digits: int) -> str:
    """Return a value of an analysis's table as text."""
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, int):
        return str(value).replace("-", "\u2212")
    return number(value, digits) if isinstance(value, float) or value is None else str(value)


def csv(frame: pd.DataFrame) -> str:
    """Return a table as CSV that nothing interprets, with the same bytes on every platform."""
    return frame.map(inert).to_csv(index=False, lineterminator="\n")


def inert(value: Any) -> Any:
    """Return a value that neither a spreadsheet nor a terminal interprets."""
    if not isinstance(value, str):
        return value
    text = shown(value)
    return f"'{text}" if text.lstrip()[:1] in FORMULA else text

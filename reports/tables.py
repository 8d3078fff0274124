"""The results as CSV (every digit), Markdown and LaTeX (what a reader needs)."""

from __future__ import annotations

import io
from typing import Any

import pandas as pd

from reports.formatting import (
    CONVENTIONS,
    budget_name,
    interval,
    latex,
    markdown,
    number,
    p_value,
    percent,
    points,
    shown,
    unit,
)
from reports.run import Run
from reports.section import Table
from suite.stats.compare import other_work

RESULT_COLUMNS = (
    "backbone", "label", "method", "family", "budget", "removed", "total", "token_ratio", "top1", "top1_low",
    "top1_high", "seed_low", "seed_high", "seeds", "images", "reference", "difference", "difference_low",
    "difference_high", "p", "p_holm", "significant", "only_method_correct", "only_reference_correct", "top5", "loss", "margin",
    "agreement", "kl", "gemm", "conv", "scan", "elementwise", "reduction", "images_per_second",
)  # fmt: skip

DAGGER = r"$^{\dagger}$"
FORMULA = frozenset(
    "=+-@\uff1d\uff0b\uff0d\uff20"
)  # what a spreadsheet takes for the beginning of one, wide forms too


def results_csv(frame: pd.DataFrame) -> str:
    """One row for each (backbone, method text, budget), fractions as fractions, nothing rounded.

    A text that a spreadsheet would run as a formula is led by an apostrophe.
    """
    return _csv(frame.loc[:, list(RESULT_COLUMNS)].map(inert))


def cells_csv(run: Run) -> str:
    """One row for each cell of the run, skipped and failed ones included."""
    return _csv(run.cells.map(inert))


def heads(frame: pd.DataFrame, convention: str) -> list[str]:
    """Column heads of the printed table."""
    prefix = unit(frame["total"].dropna().tolist())[1]
    short = CONVENTIONS.get(convention, (convention, ""))[0]
    names = [
        "Backbone", "Method", "Asked", "Removed, %", f"{prefix}{short}", "Tokens removed, %", "Top-1, %",
        "95 % interval", "Difference, points", "Holm p", "Agreement, %", "KL", "Images/s",
    ]  # fmt: skip
    return names[: columns(frame)]


def columns(frame: pd.DataFrame) -> int:
    """How many columns the printed table has: the last, speed, only where it was measured."""
    return 13 if frame["images_per_second"].notna().any() else 12


def body(frame: pd.DataFrame) -> list[list[str]]:
    """Rows of the printed table under `heads`; the dense model is called dense."""
    size = unit(frame["total"].dropna().tolist())[0]
    return [_row(row, size)[: columns(frame)] for row in frame.to_dict("records")]


def _row(row: dict[Any, Any], size: float) -> list[str]:
    dense = row["method"] == "none"
    gap = f"{points(row['difference'])} {interval(row['difference_low'], row['difference_high'], signed=True)}".strip()
    reference = row["label"] == row["reference"]
    return [
        str(row["backbone"]),
        "dense" if dense else str(row["label"]),
        budget_name(row["budget"]),
        percent(row["removed"]),
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


def results_md(frame: pd.DataFrame, convention: str) -> str:
    """The printed table in Markdown."""
    lines = [heads(frame, convention), ["---"] * 2 + ["---:"] * (columns(frame) - 2), *body(frame)]
    cells = [
        [cell if set(cell) <= set("-:") else markdown(cell) for cell in line] for line in lines
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


def results_tex(frame: pd.DataFrame, convention: str, caption: str) -> str:
    """The printed table in LaTeX: booktabs, a space between budgets, ready to be input."""
    lines = [
        "% needs \\usepackage{booktabs} and \\usepackage{adjustbox}",
        "\\begin{table*}", "\\centering", f"\\caption{{{latex(caption)}}}",
        "\\begin{adjustbox}{max width=\\textwidth}",
        "\\begin{tabular}{ll" + "r" * (columns(frame) - 2) + "}", "\\toprule",
        " & ".join(latex(head) for head in heads(frame, convention)) + " \\\\", "\\midrule",
    ]  # fmt: skip
    before = None
    for row in body(frame):
        if before is not None and before != (row[0], row[2]):
            lines.append("\\addlinespace")
        before = (row[0], row[2])
        lines.append(" & ".join(latex(cell) for cell in row) + " \\\\")
    return "\n".join(
        [*lines, "\\bottomrule", "\\end{tabular}", "\\end{adjustbox}", "\\end{table*}", ""]
    )


def compact_tex(frame: pd.DataFrame, house: str, caption: str) -> str:
    """Top-1 of one backbone in LaTeX for one column: methods down, budgets across, the dense model above.

    A star marks what was told apart from the reference method, a dagger what removes another share
    of FLOPs than its column says, by more than half a point, and was not tested.
    """
    part = frame[frame["backbone"] == house]
    budgets = sorted(part["budget"].dropna().unique())
    references = " or ".join(part.loc[part["budget"].notna(), "reference"].dropna().unique())
    star = (
        f" *: differs from {references} (5 %, Holm's correction; interval without zero)."
        if references
        else ""
    )
    astray = part.loc[[other_work(row.removed, row.budget) for row in part.itertuples()]]
    dagger = (
        f"{DAGGER}: at another share of FLOPs ({_shares(astray)}), not tested. "
        if len(astray)
        else ""
    )
    words = f"Top-1 accuracy (%) of {house} by the share of FLOPs removed.{star}"
    lines = [
        "% needs \\usepackage{booktabs} and \\usepackage{adjustbox}",
        "\\begin{table}", "\\centering", f"\\caption{{{latex(words)} {dagger}{latex(caption)}}}",
        "\\begin{adjustbox}{max width=\\columnwidth}", f"\\begin{{tabular}}{{l{'r' * len(budgets)}}}", "\\toprule",
        " & ".join(["Method", *(latex(budget_name(budget)) for budget in budgets)]) + " \\\\", "\\midrule",
    ]  # fmt: skip
    for label, rows in part.groupby("label", sort=False):
        found = {row["budget"]: row for row in rows.to_dict("records")}
        if budgets and (rows["method"] == "none").all():
            dense = (
                f"\\multicolumn{{{len(budgets)}}}{{c}}{{{latex(percent(rows['top1'].iloc[0]))}}}"
            )
            lines += [f"dense & {dense} \\\\", "\\addlinespace"]
            continue
        cells = [_starred(found.get(budget)) for budget in budgets]
        lines.append(" & ".join([latex(str(label).split(" = ")[0]), *cells]) + " \\\\")
    return "\n".join(
        [*lines, "\\bottomrule", "\\end{tabular}", "\\end{adjustbox}", "\\end{table}", ""]
    )


def _starred(row: dict[Any, Any] | None) -> str:
    if row is None:
        return latex(number(None, 0))
    astray = other_work(row["removed"], row["budget"])
    return latex(percent(row["top1"])) + (
        DAGGER if astray else "$^{*}$" if row["significant"] else ""
    )


def _shares(astray: pd.DataFrame) -> str:
    """What each method removes instead, in LaTeX."""
    parts = [
        f"{latex(str(label).split(' = ')[0])}: {', '.join(dict.fromkeys(percent(share) for share in rows['removed']))}"
        for label, rows in astray.groupby("label", sort=False)
    ]
    return "; ".join(parts) + " \\%"


def table_cells(table: Table) -> list[list[str]]:
    """The rows of an analysis's table as they are printed: numbers with their column's decimals, the rest as it is."""
    return [
        [_printed(value, table.digits.get(str(head), 3)) for head, value in row.items()]
        for row in table.frame.to_dict("records")
    ]


def is_numeric(table: Table) -> list[bool]:
    """Which columns of an analysis's table hold numbers."""
    kinds = table.frame.dtypes
    return [
        bool(pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_bool_dtype(kind))
        for kind in kinds
    ]


def table_csv(table: Table) -> str:
    """An analysis's table with every digit."""
    return _csv(table.frame.map(inert))


def table_md(table: Table) -> str:
    """An analysis's table in Markdown."""
    heads = [markdown(str(head)) for head in table.frame.columns]
    rule = ["---:" if number else "---" for number in is_numeric(table)]
    lines = [heads, rule, *([markdown(cell) for cell in row] for row in table_cells(table))]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def table_tex(table: Table) -> str:
    """An analysis's table in LaTeX, as wide as one column of a paper at most."""
    lines = [
        "% needs \\usepackage{booktabs} and \\usepackage{adjustbox}",
        "\\begin{table}", "\\centering", f"\\caption{{{latex(table.caption)}}}",
        "\\begin{adjustbox}{max width=\\columnwidth}",
        f"\\begin{{tabular}}{{{''.join('r' if number else 'l' for number in is_numeric(table))}}}", "\\toprule",
        " & ".join(latex(str(head)) for head in table.frame.columns) + " \\\\", "\\midrule",
        *(" & ".join(latex(cell) for cell in row) + " \\\\" for row in table_cells(table)),
        "\\bottomrule", "\\end{tabular}", "\\end{adjustbox}", "\\end{table}", "",
    ]  # fmt: skip
    return "\n".join(lines)


def _printed(value: Any, digits: int) -> str:
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, int):
        return str(value).replace("-", "\u2212")
    return number(value, digits) if isinstance(value, float) or value is None else str(value)


def _csv(frame: pd.DataFrame) -> str:
    buffer = io.StringIO()
    frame.to_csv(buffer, index=False, lineterminator="\n")
    return buffer.getvalue()


def inert(value: Any) -> Any:
    """`value` as a spreadsheet and a terminal only show it."""
    if not isinstance(value, str):
        return value
    text = shown(value)
    return f"'{text}" if text.lstrip()[:1] in FORMULA else text

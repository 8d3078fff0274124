"""Mamba beside attention on the page: the same reduction on backbones of both families."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import pandas as pd

from reports import aggregate as points
from reports.figures.families import families_figure
from reports.formatting import budget_name, interval, percent
from reports.formatting import points as signed
from reports.report_data import Sheet
from reports.section import Drawing, Section, Table
from reports.style import PLAIN, group

ORDER = 10
NEEDS = {
    "mamba_vs_attention": (
        "backbone", "mixer", "method", "budget", "removed", "images", "seeds", "dense_top1", "kept", "kept_low", "kept_high",
    ),
    "mamba_minus_attention": ("method", "budget", "backbone", "against", "difference", "difference_low", "difference_high"),
}  # fmt: skip
READING = (
    "Top-1 as a share of the same backbone's dense top-1, against the share of its own FLOPs that was removed; shaded: "
    "95 % intervals over images, for stochastic methods their envelope over seeds. Each method has its own form on "
    "each family: on attention ToMe and EViT read keys and class-token attention between attention and MLP, on a scan "
    "what stands for them. Only methods that ran on all backbones are drawn."
)
ALT = "Share of dense accuracy kept against share of FLOPs removed; one panel a method, one line a backbone."


def section(sheet: Sheet, frames: Mapping[str, pd.DataFrame]) -> Section | None:
    """One figure, one table, and a sentence for each method."""
    kept, contrasts = frames["mamba_vs_attention"], frames["mamba_minus_attention"]
    budget = points.focus(sorted(kept["budget"].unique()))
    methods = list(dict.fromkeys(kept["method"]))
    told = [text for method in methods if (text := _words(method, budget, kept, contrasts))]
    named = [method for method in methods if group(method) != PLAIN] or methods
    first = _words(named[0], budget, kept, contrasts) or READING
    figure = Drawing("families", partial(families_figure, kept), READING, ALT)
    return Section(
        key="families",
        part="why",
        title="Mamba beside attention",
        sentence=first,
        figures=(figure,),
        tables=(_table(kept), _contrast_table(contrasts)),
        notes=tuple([text for text in told if text != first] + _missing(sheet, methods)),
    )


def _words(method: str, budget: float, kept: pd.DataFrame, contrasts: pd.DataFrame) -> str:
    """What a method leaves of each backbone's accuracy at one budget, and the differences between the families."""
    here = kept[(kept["method"] == method) & (kept["budget"] == budget)]
    if here.empty:
        return ""
    shares = ", ".join(
        f"{percent(row.kept)} % of its dense top-1 on {row.backbone} {interval(row.kept_low, row.kept_high)}"
        for row in here.itertuples()
    )
    pairs = contrasts[(contrasts["method"] == method) & (contrasts["budget"] == budget)]
    gaps = "; ".join(
        f"{row.backbone} against {row.against} {signed(row.difference)} points "
        f"{interval(row.difference_low, row.difference_high, signed=True)}"
        for row in pairs.itertuples()
    )
    return f"With {budget_name(budget)} of FLOPs removed, {method} keeps {shares}; {gaps}."


def _missing(sheet: Sheet, methods: list[str]) -> list[str]:
    """Methods that did not run everywhere, with the reason of the first cell that was skipped."""
    lost = sheet.run.cells[(sheet.run.cells["status"] != "ok") & (sheet.run.cells["reason"] != "")]
    lost = lost[~lost["spec"].isin(methods)].drop_duplicates(["spec", "backbone"])
    return [
        f"Not drawn: {row.spec}, because on {row.backbone} it {_verb(row.reason)}."
        for row in lost.itertuples()
    ]


def _verb(reason: str) -> str:
    return reason if reason.startswith(("needs", "cannot", "hands")) else f"was not run ({reason})"


def _table(kept: pd.DataFrame) -> Table:
    shown = pd.DataFrame(
        {
            "Method": kept["method"],
            "Backbone": kept["backbone"],
            "Family": kept["mixer"],
            "Budget, %": 100 * kept["budget"],
            "FLOPs removed, %": 100 * kept["removed"],
            "Accuracy kept, %": 100 * kept["kept"],
            "from": 100 * kept["kept_low"],
            "to": 100 * kept["kept_high"],
            "Dense top-1, %": 100 * kept["dense_top1"],
            "Seeds": kept["seeds"],
        }
    )
    digits = {
        "Budget, %": 0,
        "FLOPs removed, %": 1,
        "Accuracy kept, %": 1,
        "from": 1,
        "to": 1,
        "Dense top-1, %": 1,
    }
    caption = f"Accuracy kept, {int(kept['images'].max()):,} images: top-1 over the same backbone's dense top-1."
    return Table("families", caption, shown.reset_index(drop=True), {**digits, "Seeds": 0})


def _contrast_table(contrasts: pd.DataFrame) -> Table:
    shown = pd.DataFrame(
        {
            "Method": contrasts["method"],
            "Budget, %": 100 * contrasts["budget"],
            "Mamba": contrasts["backbone"],
            "Attention": contrasts["against"],
            "Difference, points": 100 * contrasts["difference"],
            "from": 100 * contrasts["difference_low"],
            "to": 100 * contrasts["difference_high"],
        }
    )
    caption = "Accuracy kept by Mamba less that kept by attention, in points of a share; the same images for both."
    digits = {"Budget, %": 0, "Difference, points": 1, "from": 1, "to": 1}
    return Table("family-contrasts", caption, shown.reset_index(drop=True), digits)

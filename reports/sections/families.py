"""Mamba beside attention: the same reduction on backbones of both families."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from reports.figures.canvas import COLUMN, THIN, Style, columns, panel_rows, paper_style
from reports.formatting import budget_name, fold, interval, percent
from reports.formatting import points as signed_points
from reports.report_data import ReportData
from reports.section import Drawing, Frames, Section, Table, scaled_table, stored
from reports.style import PLAIN, SOFT, group
from suite.stats.correctness import counted
from suite.stats.metric import Metric
from suite.stats.ranking import focus

NEEDS = stored("mamba_vs_attention", "mamba_minus_attention")
# Columns of the two tables and their heads; an interval follows its value.
KEPT_HEADS = {
    "method": "Method",
    "backbone": "Backbone",
    "mixer": "Family",
    "budget": "Budget, %",
    "removed": "FLOPs removed, %",
    "kept": "Accuracy kept, %",
    "kept_low": "from",
    "kept_high": "to",
    "dense_top1": "Dense {metric}, %",
    "seeds": "Seeds",
}
CONTRAST_HEADS = {
    "method": "Method",
    "budget": "Budget, %",
    "backbone": "Mamba",
    "against": "Attention",
    "difference": "Difference, points",
    "difference_low": "from",
    "difference_high": "to",
}
# Heads that either table has.
DIGITS = {
    "Budget, %": 0,
    "FLOPs removed, %": 1,
    "Accuracy kept, %": 1,
    "Difference, points": 1,
    "from": 1,
    "to": 1,
    "Seeds": 0,
}
# Columns of either table that are stored as fractions.
PERCENTAGES = {
    "budget",
    "removed",
    "kept",
    "kept_low",
    "kept_high",
    "dense_top1",
    "difference",
    "difference_low",
    "difference_high",
}
READING = (
    "{metric.title} as a share of the same backbone's dense {metric.name}, against the share of "
    "its own FLOPs that was removed; shaded: 95 % intervals over {kind}, for stochastic methods "
    "their envelope over seeds. Each method has its own form on each family: on attention ToMe and "
    "EViT read keys and class-token attention between attention and MLP, on a scan their "
    "counterparts. Only methods that ran on all backbones are drawn."
)
ALT = (
    "Share of dense accuracy kept against share of FLOPs removed; one panel a method, one line a "
    "backbone."
)
ATTENTION = "attention"
# warm for attention, cool for Mamba, as the hues of the methods made for each
HUES = {
    ATTENTION: ("#d1291c", "#6f2601", "#98033e"),
    "Mamba": ("#0c6ab6", "#0b758a", "#8f44c1", "#053758"),
}
MARKERS = {ATTENTION: "s^h", "Mamba": "oDvp"}
DASHES = ("-", (0, (4, 2)), (0, (1.2, 1.6)), (0, (5, 1, 1, 1)))
PANEL = 1.9  # inches


def section(report: ReportData, frames: Frames) -> Section | None:
    """Build the figure, its tables, and a sentence for each method."""
    kept, contrasts = frames["mamba_vs_attention"], frames["mamba_minus_attention"]
    kind = report.run.kind
    # Sentences are about one budget; the figure and the tables have all.
    budget = focus(sorted(kept["budget"].unique()))
    methods = list(kept["method"].unique())
    images = counted(int(kept["images"].max()), kind)
    sentences = {}
    for method in methods:
        sentences[method] = _sentence(method, budget, images, kept, contrasts, report.run.metric)
    # The section opens with a method that chooses, not with a blind baseline.
    choosing = [method for method in methods if group(method) != PLAIN] or methods
    # That method may lack this budget.
    metric = report.run.metric
    reading = READING.format(kind=kind, metric=metric)
    heads = {name: head.format(metric=metric.name) for name, head in KEPT_HEADS.items()}
    first = sentences[choosing[0]] or reading
    notes = [text for text in sentences.values() if text not in ("", first)]
    return Section(
        key="families",
        part="why",
        title="Mamba beside attention",
        sentence=first,
        figures=(Drawing("families", partial(families_figure, kept, report.title), reading, ALT),),
        tables=(
            Table(
                "families",
                f"Accuracy kept, {images}: {metric.name} over that of the same backbone, dense.",
                scaled_table(kept, heads, PERCENTAGES),
                DIGITS | {heads["dense_top1"]: 1},
            ),
            Table(
                "family-contrasts",
                "Accuracy kept by Mamba less that kept by attention, in points of a share; the "
                f"same {kind} for both.",
                scaled_table(contrasts, CONTRAST_HEADS, PERCENTAGES),
                DIGITS,
            ),
        ),
        notes=(*notes, *_missing(report, methods)),
    )


def _sentence(
    method: str,
    budget: float,
    images: str,
    kept: pd.DataFrame,
    contrasts: pd.DataFrame,
    metric: Metric,
) -> str:
    """Say what accuracy a method keeps on each backbone, and how the families differ."""
    rows = kept[(kept["method"] == method) & (kept["budget"] == budget)]
    if rows.empty:
        return ""
    shares = []
    for row in rows.itertuples():
        bounds = interval(row.kept_low, row.kept_high)
        shares.append(
            f"{percent(row.kept)} % of its dense {metric.name} on {row.backbone} {bounds}"
        )
    # One row per Mamba backbone and attention backbone.
    pairs = contrasts[(contrasts["method"] == method) & (contrasts["budget"] == budget)]
    gaps = []
    for row in pairs.itertuples():
        bounds = interval(row.difference_low, row.difference_high, signed=True)
        gap = signed_points(row.difference)
        gaps.append(f"{row.backbone} against {row.against} {gap} points {bounds}")
    return (
        f"On {images}, with {budget_name(budget)} of FLOPs removed, {method} keeps "
        f"{', '.join(shares)}; "
        f"{'; '.join(gaps)}."
    )


def _missing(report: ReportData, methods: list[str]) -> list[str]:
    """Name the methods that did not run everywhere, with the first skipped cell's reason."""
    # A method is drawn only if it ran on all backbones, or the panels could not be compared.
    cells = report.run.cells
    skipped = cells[(cells["status"] != "ok") & (cells["reason"] != "")]
    skipped = skipped[~skipped["spec"].isin(methods)].drop_duplicates(["spec", "backbone"])
    notes = []
    for row in skipped.itertuples():
        reason = row.reason
        # Reasons are predicates of the method, or else a clause of their own.
        if not reason.startswith(("needs", "cannot", "hands")):
            reason = f"was not run ({reason})"
        notes.append(f"Not drawn: {row.spec}, because on {row.backbone} it {reason}.")
    return notes


def families_figure(frame: pd.DataFrame, title: Callable[[str], str], width: float) -> Figure:
    """Draw accuracy kept against FLOPs removed: a panel a method, a line a backbone.

    95 % intervals are shaded. `title` is what figures call a method.
    """
    methods = list(dict.fromkeys(frame["method"]))
    strokes = backbone_strokes(frame)
    with paper_style():
        across = columns(len(methods), 2 if width <= COLUMN else 4)
        figure, panels = panel_rows(
            len(methods), across, width, PANEL, 0.7, sharex=True, sharey=True
        )
        for axes, method in zip(panels, methods, strict=True):
            axes.set_title(fold(title(method), 24))
            axes.axhline(100, **THIN)
            own = frame[frame["method"] == method]
            for name, part in own.groupby("backbone", sort=False):
                stroke, part = strokes[str(name)], part.sort_values("removed")
                # each line begins at the dense model, which removes nothing and keeps everything
                removed = [0.0, *(part["removed"] * 100)]
                kept, low, high = (
                    [100.0, *(part[column] * 100)] for column in ("kept", "kept_low", "kept_high")
                )
                axes.plot(removed, kept, markevery=range(1, len(removed)), zorder=3, **stroke)
                shade: Style = {"color": stroke["color"], "alpha": 0.16, "linewidth": 0}
                axes.fill_between(removed, low, high, zorder=1, **shade)
        # matplotlib labels the last row alone, which may have empty panels
        for index, axes in enumerate(panels):
            axes.tick_params(labelbottom=index + across >= len(methods))
        figure.supxlabel("FLOPs removed, % of the backbone's own", fontsize=8, color=SOFT["light"])
        figure.supylabel("accuracy kept, % of dense", fontsize=8, color=SOFT["light"])
        handles = [Line2D([], [], **stroke) for stroke in strokes.values()]
        names = [f"{name} ({_family(frame, name)})" for name in strokes]
        ncols = columns(len(names), 3 if width > COLUMN else 1)
        # long enough to show a whole period of the dashes
        figure.legend(handles, names, loc="outside upper center", ncols=ncols, handlelength=2.8)
        return figure


def backbone_strokes(frame: pd.DataFrame) -> dict[str, Style]:
    """Return line and marker of every backbone in `frame`, as arguments of `Axes.plot`."""
    strokes: dict[str, Style] = {}
    counts: dict[str, int] = {}
    for name in dict.fromkeys(frame["backbone"]):
        family = _family(frame, name)
        index = counts[family] = counts.get(family, -1) + 1
        hues, markers = HUES.get(family, HUES["Mamba"]), MARKERS.get(family, MARKERS["Mamba"])
        strokes[str(name)] = {
            "color": hues[index % len(hues)],
            "marker": markers[index % len(markers)],
            "linestyle": DASHES[index % len(DASHES)],
            "markeredgecolor": "white",
            "markeredgewidth": 0.5,
        }
    return strokes


def _family(frame: pd.DataFrame, name: object) -> str:
    """Return whether a backbone mixes tokens by Mamba or by attention."""
    return str(frame.loc[frame["backbone"] == name, "mixer"].iloc[0])

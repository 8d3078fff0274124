"""Context of the page's template: strings to print, and the data of the interactive parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import seaborn as sns
import yaml
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from reports import aggregate, charts, tables
from reports.figures.tokens import DIVERGING, MAP
from reports.figures.tradeoff import one_budget
from reports.formatting import (
    CONVENTIONS,
    ENVELOPE,
    MISSING,
    number,
    percent,
    present,
    script_json,
    unit,
)
from reports.formatting import points as signed
from reports.page_panels import gallery_panel, kept_panel, stack_panel
from reports.report_data import ReportData
from reports.run import SMALLER, Row, sequence
from reports.section import Part, Section
from reports.token_overlay import RIM, SPECIAL_COLOUR, VEIL

Context = dict[str, Any]
CHARTS = ("pareto", "agreement", "divergence", "foreground", "lift")
TOLERANCE = 0.0024  # how far from its budget a matched cell may land
KINDS = {
    "gemm": "GEMM MACs",
    "conv": "convolution MACs",
    "scan": "scan FLOPs",
    "elementwise": "elementwise",
}


def context(report: ReportData, found: Sequence[Section], twins: dict[str, str]) -> Context:
    """Return everything that the page prints.

    `twins` are the static figures as data URIs, by name.
    """
    run = report.run
    backbones = [_backbone(report, backbone) for backbone in report.backbones]
    interactive, kept, galleries, stacks = {}, {}, {}, {}
    for backbone in backbones:
        number = backbone["number"]
        for kind, figure in backbone["charts"].items():
            if figure:
                interactive[f"{kind}-{number}"] = figure
        if backbone["kept"]:
            kept[f"b{number}"] = backbone["kept"]
        if backbone["gallery"]:
            galleries[f"b{number}"] = backbone["gallery"]
    for section in found:
        for drawing in section.figures:
            if drawing.maps:
                stacks[drawing.name] = stack_panel(drawing.maps)
    # what the page's script reads
    data = {
        "palette": {theme: charts.palette(report.looks, theme) for theme in ("light", "dark")},
        "labels": [look.title for look in report.looks.values()],
        "kind": run.kind,
        "charts": interactive,
        "kept": kept,
        "gallery": galleries,
        "stacks": stacks,
        "diverging": sns.color_palette(DIVERGING, 65).as_hex(),
        "scale": sns.color_palette(MAP, 64).as_hex(),
        "rim": RIM,
        "special": SPECIAL_COLOUR,
        "veil": VEIL,
    }
    own = (run.convention, "a convention of the run's own")
    short, words = CONVENTIONS.get(run.convention, own)
    heads, rows = results(report)
    # of an ablation only where blind baselines ran
    resolution = []
    for row in sequence(run.headline.get("resolution")):
        if isinstance(row, dict) and (row.get("can_rank") is not None or not run.ablates):
            name = str(row.get("backbone") or next(iter(report.backbones), ""))
            mark = report.marks.get((name, row.get("budget", -1.0)))
            resolution.append((row, name, mark))
    environment = dict(run.environment)
    # the command has a place of its own on the page
    command = str(environment.pop("command", None) or "")
    return {
        "report": report,
        "run": run,
        "headline": str(run.headline.get("headline") or ""),
        "paragraphs": list(map(str, sequence(run.headline.get("paragraphs")))),
        "resolution": resolution,
        "beaten": list(map(str, sequence(run.headline.get("blind")))),
        "smaller": bool((report.frame["method"] == "downsample").any()),
        "smaller_models": aggregate.smaller(run),
        "envelope": ENVELOPE if aggregate.few_seeds(report.frame) else "",
        "compared": not run.cells.empty,
        "backbones": backbones,
        "twins": twins,
        "convention": {"name": run.convention, "short": short, "words": words},
        "heads": heads,
        "rows": rows,
        "reference": aggregate.references(report.frame),
        "corrected": aggregate.corrected_for(report.frame),
        "achieved": achieved_table(report),
        "unstated": aggregate.unstated(run),
        "unfinished": aggregate.unfinished(run).to_dict("records"),
        "sections": {part: [one for one in found if one.part == part] for part in get_args(Part)},
        "audit": aggregate.audit(run, report.correct),
        "environment": _flat(environment),
        "command": command,
        "spec": yaml.safe_dump(run.spec, sort_keys=False, allow_unicode=True),
        # safe: script_json leaves no character that could end the element
        "data": Markup(script_json(data)),  # noqa: S704
        # safe: the library's own source
        "plotly": Markup(get_plotlyjs().replace("</script", "<\\/script")),  # noqa: S704
    }


def _backbone(report: ReportData, backbone: str) -> Context:
    """Return one backbone's charts and panels, and the rows they are drawn from."""
    run, looks, convention = report.run, report.looks, report.run.convention
    part, blocks, kept, pictured = (
        frame[frame["backbone"] == backbone]
        for frame in (report.frame, report.blocks, run.kept_tokens, run.gallery)
    )
    # A smaller model has no agreement with the dense one.
    reduced = part[~part["method"].isin(["none", SMALLER])]
    # the template asks for every kind, so a missing one is None
    figures: dict[str, Context | None] = dict.fromkeys(CHARTS)
    if report.trades and not part.empty:
        figures["pareto"] = charts.pareto(part, looks, convention, report.marks, run.chance)
    if report.trades and not reduced.empty:
        figures["agreement"] = charts.agreement(part, looks, convention)
        figures["divergence"] = charts.divergence(part, looks, convention)
    if not blocks.empty:
        figures["foreground"] = charts.by_block(blocks, looks, "foreground_kept")
        figures["lift"] = charts.by_block(blocks, looks, "lift")
    gallery = None
    if report.shape is not None and report.pictures:
        gallery = gallery_panel(run, backbone, report.labels, report.pictures, report.shape)
    return {
        "name": backbone,
        "number": report.backbones.index(backbone),
        "single": one_budget(part),
        "charts": figures,
        "part": part,
        "reduced": reduced,
        "blocks": blocks,
        "kept": kept_panel(run, backbone, report.labels),
        "kept_rows": kept,
        "gallery": gallery,
        "pictured": pictured,
    }


def _flat(values: Context, before: str = "") -> list[tuple[str, str]]:
    """Return nested mappings as pairs of name and text, without empty values."""
    rows: list[tuple[str, str]] = []
    for key, value in values.items():
        if isinstance(value, dict):
            rows += _flat(value, f"{before}{key} ")
        elif value is not None and value not in ("", []):
            name = f"{before}{key}" if before else key.replace("_", " ")
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            rows.append((name, text))
    return rows


def results(report: ReportData) -> tuple[list[tuple[str, str | None]], list[Row]]:
    """Return the heads of the table of results, with the column each sorts by, and the rows.

    A row has the text and the value of every cell, its record, whether it is significantly better
    or worse, and the best blind baseline if it was not shown to beat all of them.
    """
    heads, printed = tables.printed(report.frame, report.run.convention)
    # a single backbone has no column
    first = 0 if len(report.backbones) > 1 else 1
    rows = []
    for texts, record in zip(printed, report.frame.to_dict("records"), strict=True):
        values = [record[column] if column else "" for column in heads.values()]
        verdict = ""
        if record["significant"]:
            verdict = "better" if record["difference"] > 0 else "worse"
        mark = report.marks.get((record["backbone"], record["budget"]))
        equals_blind = mark is not None and record["label"] in mark.not_shown
        rows.append(
            {
                "cells": list(zip(texts, values, strict=True))[first:],
                "record": record,
                "verdict": verdict,
                "blind": mark.best if mark and equals_blind else "",
            }
        )
    return list(heads.items())[first:], rows


def sort_key(value: Any) -> str:
    """Return the text that the page's script sorts by; numbers with every digit."""
    if isinstance(value, str):
        return value
    return repr(float(value)) if present(value) else ""


def achieved_table(report: ReportData) -> list[Row]:
    """Return for each backbone the FLOPs by kind and the share removed by method and budget.

    A share that is too far off its budget says how far.
    """
    blocks = []
    for backbone in report.backbones:
        frame = report.frame[report.frame["backbone"] == backbone]
        part = frame[frame["budget"].notna()]
        lines = []
        for label in report.ordered(part):
            own = part[part["label"] == label].set_index("budget")
            cells = []
            for budget in report.budgets:
                removed = own["removed"].get(budget)
                gap = removed - budget if present(removed) else 0.0
                off = f"{signed(gap)} points" if abs(gap) > TOLERANCE else ""
                cells.append((percent(removed, 2), off))
            # the method's own share of the work, at the budget in focus
            row = own.loc[aggregate.focus(sorted(own.index))]
            share = MISSING
            if present(row["total"]) and row["total"]:
                share = f"{percent(row['reduction'] / row['total'], 2)} %"
            lines.append({"label": label, "cells": cells, "own": share})
        if lines:
            kinds = []
            for dense in frame[frame["method"] == "none"].head(1).to_dict("records"):
                size, prefix = unit([dense[kind] for kind in KINDS])
                for kind, name in KINDS.items():
                    if present(dense[kind]):
                        kinds.append((name, f"{number(dense[kind] / size, 2)} {prefix}"))
            blocks.append({"backbone": backbone, "kinds": kinds, "lines": lines})
    return blocks

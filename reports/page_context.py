"""Context of the page's template: strings to print, and the data of the interactive parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, get_args

import seaborn as sns
import yaml
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from reports import aggregate, charts, first_screen
from reports.cards import cards
from reports.figures.apart import NEAR, STEP
from reports.figures.tokens import DIVERGING, MAP
from reports.figures.tradeoff import one_budget
from reports.formatting import (
    CONVENTIONS,
    MISSING,
    number,
    percent,
    present,
    script_json,
    unit,
)
from reports.formatting import points as signed
from reports.page_figures import Figures
from reports.page_panels import gallery_panel, kept_panel, stack_panel
from reports.page_tables import on_page
from reports.report_data import ReportData
from reports.results_table import results
from reports.run import SMALLER, Row, sequence
from reports.section import Part, Section, by_caption
from reports.static_figures import MANY
from reports.style import DENSE
from reports.token_overlay import RIM, SPECIAL_COLOUR, VEIL
from suite.stats.compare import ENVELOPE
from suite.stats.ranking import focus

Context = dict[str, Any]
BEFORE = ", with the weights as they came, before retraining"  # main results of a retraining
ANSWERS = ("reproduced", "retrained")  # a published table that was run again; retraining
CHARTS = ("pareto", "agreement", "divergence", "foreground", "lift")
LEADING = 5  # methods that have colours, of many, as the page opens
TOLERANCE = 0.0024  # how far from its budget a matched cell may land
KINDS = {
    "gemm": "GEMM MACs",
    "conv": "convolution MACs",
    "scan": "scan FLOPs",
    "elementwise": "elementwise",
}


def context(report: ReportData, found: Sequence[Section], drawn: Figures) -> Context:
    """Return everything that the page prints; `drawn` are the static figures."""
    run = report.run
    backbones = [_backbone(report, backbone) for backbone in report.backbones]
    names = _names(report, found)
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
    paragraphs = [run.headline.get("headline"), *sequence(run.headline.get("paragraphs"))]
    sections = {part: [one for one in found if one.part == part] for part in get_args(Part)}
    page = {
        "report": report,
        "run": run,
        "title": first_screen.title(report),
        "opening": _opening(report, found),
        # whether an analysis is the answer, so that it comes before the results
        "analysed": run.ablates or _answered(found),
        # the main table and figures of a retraining are those of the weights it began with
        "before": BEFORE if str(run.spec.get("kind") or "") == "retrain" else "",
        "paragraphs": [str(text) for text in paragraphs if text],
        "budgets": _shown(report, first_screen.budgets(report)),
        "ranking": _shown(report, first_screen.ranking(report)),
        "names": names,
        "numbers": {name: number for number, name in enumerate(names)},
        "many": len(report.labels) > MANY,
        "groups": report.by_group(report.frame),
        "cards": cards(report),
        "resolution": resolution,
        # beside the answer, which they make doubtful
        "doubts": _doubts(run.headline),
        "beaten": list(map(str, sequence(run.headline.get("blind")))),
        "smaller": bool((report.frame["method"] == "downsample").any()),
        "smaller_models": aggregate.smaller(run),
        "envelope": ENVELOPE if aggregate.few_seeds(report.frame) else "",
        "compared": not run.cells.empty,
        "agreement_says": any(not backbone["single"] for backbone in backbones),
        "backbones": backbones,
        "svgs": drawn.svgs,
        "forms": drawn.links,
        "drawing": drawn.inline,
        "convention": {"name": run.convention, "short": short, "words": words},
        "heads": heads,
        "rows": rows,
        "adaptive": bool(report.frame["removed_high"].notna().any()),
        "reference": " or ".join(
            map(report.title, aggregate.references(report.frame).split(" or "))
        ),
        "corrected": aggregate.corrected_for(report.frame),
        "achieved": achieved_table(report),
        "unstated": aggregate.unstated(run),
        "unfinished": aggregate.unfinished(run).to_dict("records"),
        "sections": sections,
        "audit": aggregate.audit(run, report.recomputed),
        "environment": _flat(environment),
        "machine": str(environment.get("gpu") or environment.get("cpu") or ""),
        "command": command,
        "spec": yaml.safe_dump(run.spec, sort_keys=False, allow_unicode=True),
        # safe: script_json leaves no character that could end the element
        "data": Markup(script_json(_data(report, found, backbones, names))),  # noqa: S704
        # safe: the library's own source
        "plotly": Markup(get_plotlyjs().replace("</script", "<\\/script")),  # noqa: S704
        "printed": partial(on_page, report=report, numbers=names),
        "grouped": by_caption,
    }
    return page | {"contents": _contents(page)}


def _doubts(headline: Mapping[str, Any]) -> list[str]:
    """What makes the answer doubtful, each once."""
    found = [*sequence(headline.get("warnings")), *sequence(headline.get("doubts"))]
    return list(dict.fromkeys(map(str, found)))


def _opening(report: ReportData, found: Sequence[Section]) -> str:
    """The answer of a run that asks something else than which method keeps most."""
    if not (report.run.ablates or report.run.cells.empty or _answered(found)):
        return ""
    # What such a run is for; of a sensitivity analysis what scores know.
    first = sorted(found, key=lambda one: one.key not in (*ANSWERS, "scores"))
    return next((one.lead for one in first if one.lead), "")


def _answered(found: Sequence[Section]) -> bool:
    """Whether an analysis is what the run was for."""
    return any(section.key in ANSWERS for section in found)


def _names(report: ReportData, found: Sequence[Section]) -> list[str]:
    """The backbones of the cells, and those of analyses alone."""
    drawn = [drawing.backbone for section in found for drawing in section.figures]
    return list(dict.fromkeys([*report.backbones, *filter(None, drawn)]))


def _shown(report: ReportData, rows: Sequence[Row]) -> list[Row]:
    """Rows of a backbone and budget, and whether they are those that the page opens with."""
    focus = _focus(report)
    opening = focus[0] if focus else None
    return [row | {"shown": (row["backbone"], row["budget"]) == (0, opening)} for row in rows]


def _focus(report: ReportData) -> list[float | None]:
    """The budget that the page opens with, for each backbone."""
    parts = [report.frame[report.frame["backbone"] == name] for name in report.backbones]
    return [report.focus(part) if part["budget"].notna().any() else None for part in parts]


def _contents(page: Context) -> list[tuple[str, str]]:
    """The sections of the page in its order, by the anchor of each."""
    sections, contents = page["sections"], []

    def analyses(part: str) -> list[tuple[str, str]]:
        return [(one.key, one.title) for one in sections[part]]

    trades, compared = page["report"].trades, page["compared"]
    if page["analysed"]:
        contents += analyses("answer")
    if compared:
        contents += [
            ("results", "All results"),
            ("gallery", f"Tokens of real {page['run'].kind}"),
        ]
    if not page["analysed"]:
        contents += analyses("answer")
    if page["resolution"]:
        contents.append(("can", "What this data can show"))
    if compared and trades:
        contents.append(("agreement", "Agreement with the dense model"))
    if compared:
        contents.append(("tokens", "Which tokens stay"))
    contents += [*analyses("why"), *analyses("gallery")]
    if compared:
        contents.append(("flops", "FLOPs: asked and achieved"))
    contents += analyses("cost")
    if page["unfinished"]:
        contents.append(("unfinished", "Skipped and failed cells"))
    return [*contents, ("repeat", "How to repeat it")]


def _data(
    report: ReportData, found: Sequence[Section], backbones: Sequence[Context], names: Sequence[str]
) -> Context:
    """Return what the page's script reads."""
    charted, kept, galleries, stacks = {}, {}, {}, {}
    for backbone in backbones:
        number = backbone["number"]
        for kind, figure in backbone["charts"].items():
            if figure:
                charted[f"{kind}-{number}"] = figure
        if backbone["kept"]:
            kept[f"b{number}"] = backbone["kept"]
        if backbone["gallery"]:
            galleries[f"b{number}"] = backbone["gallery"]
    for section in found:
        for drawing in section.figures:
            if drawing.maps:
                stacks[drawing.name] = stack_panel(drawing.maps)
    place = {label: index for index, label in enumerate(report.labels)}
    families = report.by_group(report.frame)
    ranked: dict[str, Row] = {}
    for one in first_screen.ranking(report):
        labels = [place[row["label"]] for row in one["rows"] if row["group"] is not None]
        ranked.setdefault(str(one["backbone"]), {})[f"{one['budget']:g}"] = labels
    apart = [label for label in report.labels if report.looks[label].group == DENSE]
    smaller = report.frame.loc[report.frame["method"].isin(["downsample", SMALLER]), "label"]
    return {
        "palette": {theme: charts.palette(report.looks, theme) for theme in ("light", "dark")},
        "labels": [look.title for look in report.looks.values()],
        "texts": report.labels,
        "names": list(names),
        "budgets": [
            report.budgets_of(report.frame[report.frame["backbone"] == name])
            for name in report.backbones
        ],
        "focus": _focus(report),
        "many": len(report.labels) > MANY,
        "leading": LEADING,
        "apart": {"near": 100 * NEAR, "step": STEP},
        "always": [place[label] for label in dict.fromkeys([*apart, *smaller])],
        "families": {
            group: [place[label] for label in labels]
            for group, labels in families.items()
            if group != DENSE
        },
        "ranking": ranked,
        "kind": report.run.kind,
        "charts": charted,
        "kept": kept,
        "gallery": galleries,
        "stacks": stacks,
        "diverging": sns.color_palette(DIVERGING, 65).as_hex(),
        "scale": sns.color_palette(MAP, 64).as_hex(),
        "rim": RIM,
        "special": SPECIAL_COLOUR,
        "veil": VEIL,
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
    for number_of, backbone in enumerate(report.backbones):
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
            row = own.loc[focus(sorted(own.index))]
            share = MISSING
            if present(row["total"]) and row["total"]:
                share = percent(row["reduction"] / row["total"], 2)
            lines.append({"label": label, "cells": cells, "own": share})
        if lines:
            kinds = []
            for dense in frame[frame["method"] == "none"].head(1).to_dict("records"):
                size, prefix = unit([dense[kind] for kind in KINDS])
                for kind, name in KINDS.items():
                    if present(dense[kind]):
                        kinds.append((name, f"{number(dense[kind] / size, 2)} {prefix}"))
            block = {"backbone": backbone, "number": number_of}
            blocks.append(block | {"kinds": kinds, "lines": lines})
    return blocks

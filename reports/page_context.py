"""Context of the page's template: strings to print, and the data of the interactive parts."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, get_args

import pandas as pd
import seaborn as sns
import yaml
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from reports import aggregate, charts, static_figures, tables
from reports.figures.tokens import DIVERGING, MAP
from reports.figures.tradeoff import one_budget
from reports.formatting import (
    CONVENTIONS,
    ENVELOPE,
    MISSING,
    budget_name,
    moment,
    percent,
    present,
    script_json,
)
from reports.page_panels import gallery_panel, kept_panel, stack_panel
from reports.page_tables import achieved_table, result_heads, result_rows, unfinished_rows
from reports.report_data import ReportData
from reports.run import Run
from reports.section import Part, Section
from reports.token_overlay import RIM, SPECIAL_COLOUR, VEIL

Context = dict[str, Any]
PARTS: tuple[Part, ...] = get_args(Part)
KINDS = ("pareto", "agreement", "divergence", "foreground", "lift")


def context(report: ReportData, found: Sequence[Section], twins: dict[str, str]) -> Context:
    """Return everything that the page prints.

    `twins` are the static figures as data URIs, by name.
    """
    run = report.run
    backbones = [_backbone(report, backbone, twins) for backbone in report.backbones]
    interactive, stacks = {}, {}
    for backbone in backbones:
        for chart in backbone["charts"].values():
            if chart:
                interactive[chart["id"]] = chart["figure"]
    for one in found:
        for drawing in one.figures:
            if drawing.maps:
                stacks[drawing.name] = stack_panel(drawing.maps)
    # what the page's script reads
    data = {
        "palette": {theme: charts.palette(report.looks, theme) for theme in ("light", "dark")},
        "labels": [_shown_name(label) for label in report.labels],
        "charts": interactive,
        "kept": {backbone["id"]: backbone["kept"] for backbone in backbones if backbone["kept"]},
        "gallery": {
            backbone["id"]: backbone["gallery"] for backbone in backbones if backbone["gallery"]
        },
        "stacks": stacks,
        "diverging": sns.color_palette(DIVERGING, 65).as_hex(),
        "scale": sns.color_palette(MAP, 64).as_hex(),
        "rim": RIM,
        "special": SPECIAL_COLOUR,
        "veil": VEIL,
    }
    own = (run.convention, "a convention of the run's own")
    short, words = CONVENTIONS.get(run.convention, own)
    agree, differ = aggregate.audit(run, report.correct)
    sections: dict[str, list[Context]] = {part: [] for part in PARTS}
    for one in found:
        sections[one.part].append(_section(one, twins))
    styles = []
    for index, look in enumerate(report.looks.values()):
        styles.append({"index": index, "look": look})
    environment = dict(run.environment)
    # the command has a place of its own on the page
    command = str(environment.pop("command", None) or "")
    return {
        "name": run.name,
        "facts": _facts(report),
        "headline": run.headline.sentence,
        "resolution": [_resolution(report, row) for row in _resolved(run)],
        "smaller": bool((report.frame["method"] == "downsample").any()),
        "blind": bool(report.marks),
        "envelope": ENVELOPE if aggregate.few_seeds(report.frame) else "",
        "paragraphs": run.headline.paragraphs,
        "compared": not run.cells.empty,
        "trades": report.trades,
        "backbones": backbones,
        "twins": twins,
        "budgets": _choices(report, report.frame),
        "convention": {"name": run.convention, "short": short, "words": words},
        "heads": result_heads(report),
        "rows": result_rows(report),
        "reference": _references(report.frame),
        "achieved": achieved_table(report),
        "unfinished": unfinished_rows(report),
        "sections": sections,
        "audit": {"agree": agree, "differ": differ},
        "environment": _flat(environment),
        "command": command,
        "spec": yaml.safe_dump(run.spec, sort_keys=False, allow_unicode=True),
        "styles": styles,
        # safe: script_json leaves no character that could end the element
        "data": Markup(script_json(data)),  # noqa: S704
        # safe: the library's own source
        "plotly": Markup(_plotly()),  # noqa: S704
    }


def _backbone(report: ReportData, backbone: str, twins: dict[str, str]) -> Context:
    """Return one backbone's charts, panels, legends and static figures."""
    run, number = report.run, report.backbones.index(backbone)
    part = report.frame[report.frame["backbone"] == backbone]
    blocks = report.blocks[report.blocks["backbone"] == backbone]
    kept_rows = run.kept_tokens[run.kept_tokens["backbone"] == backbone]
    gallery_rows = run.gallery[run.gallery["backbone"] == backbone]
    kinds: dict[str, Context] = {}
    if report.trades and not part.empty:
        kinds["pareto"] = charts.pareto(
            part, report.looks, run.convention, report.marks, run.chance
        )
    reduced = part[part["method"] != "none"]
    if report.trades and not reduced.empty:
        kinds["agreement"] = charts.agreement(part, report.looks, report.run.convention)
        kinds["divergence"] = charts.divergence(part, report.looks, report.run.convention)
    if not blocks.empty:
        kinds["foreground"] = charts.by_block(blocks, report.looks, "foreground_kept")
        kinds["lift"] = charts.by_block(blocks, report.looks, "lift")
    # the template asks for every kind, so a missing one is None
    figures: dict[str, Context | None] = dict.fromkeys(KINDS)
    for kind, figure in kinds.items():
        figures[kind] = {"id": f"{kind}-{number}", "figure": figure}
    gallery = None
    if report.shape is not None and report.pictures:
        gallery = gallery_panel(report.run, backbone, report.labels, report.pictures, report.shape)
    return {
        "id": f"b{number}",
        "name": backbone,
        "single": one_budget(part),
        "charts": figures,
        "groups_twin": twins.get(static_figures.named("groups", backbone, report)),
        "lead_twin": twins.get(static_figures.named("lead", backbone, report)),
        "legend": _legend(report, part),
        "legend_reduced": _legend(report, reduced),
        "legend_blocks": _legend(report, blocks),
        "block_budgets": _choices(report, blocks),
        "kept": kept_panel(report.run, backbone, report.labels),
        "kept_budgets": _choices(report, kept_rows),
        "kept_twin": twins.get(static_figures.named("kept", backbone, report)),
        "gallery": gallery,
        "gallery_budgets": _choices(report, gallery_rows),
        "gallery_twin": twins.get(static_figures.named("gallery", backbone, report)),
        "layers_twin": twins.get(static_figures.named("gallery-layers", backbone, report)),
    }


def _section(section: Section, twins: dict[str, str]) -> Context:
    """Return one analysis for the template."""
    figures, printed = [], []
    for drawing in section.figures:
        figures.append(
            {
                "name": drawing.name,
                "caption": drawing.caption,
                "alt": drawing.alt,
                "twin": twins[drawing.name],
                "layers": drawing.maps.layers if drawing.maps else (),
            }
        )
    for table in section.tables:
        printed.append(
            {
                "name": table.name,
                "caption": table.caption,
                "heads": [str(head) for head in table.frame.columns],
                "numeric": tables.is_numeric(table),
                "rows": tables.table_cells(table),
            }
        )
    return {
        "key": section.key,
        "title": section.title,
        "sentence": section.sentence,
        "figures": figures,
        "tables": printed,
        "notes": section.notes,
    }


def _legend(report: ReportData, frame: pd.DataFrame) -> list[Context]:
    """Return the labels of `frame` as toggles, by group of methods."""
    groups: dict[str, list[Context]] = {}
    for label in report.ordered(frame):
        entry = {
            "index": report.labels.index(label),
            "name": _shown_name(label),
            "look": report.looks[label],
        }
        groups.setdefault(report.looks[label].group, []).append(entry)
    return [{"family": family, "entries": entries} for family, entries in groups.items()]


def _choices(report: ReportData, frame: pd.DataFrame) -> list[Context]:
    """Return the budgets of `frame` for radio buttons, with the one in focus checked."""
    budgets = sorted(float(budget) for budget in frame["budget"].dropna().unique())
    chosen = report.focus(frame) if budgets else None
    choices = []
    for budget in budgets:
        name = budget_name(budget)
        choices.append({"value": budget, "name": name, "checked": budget == chosen})
    return choices


def _shown_name(label: str) -> str:
    """Return the name of a label on the page."""
    return "dense" if label == "none" else label


def _facts(report: ReportData) -> list[tuple[str, str]]:
    """Return what a reader must know before any number, as terms and texts."""
    run, data = report.run, report.run.dataset
    images = str(data.get("images", ""))
    available = f" of {data['available']}" if present(data.get("available")) else ""
    chosen = f", {data['selection']}" if data.get("selection") else ""
    views = f", {data['views']} views each" if data.get("kind") == "videos" else ""
    facts = [
        ("Backbone", ", ".join(report.backbones)),
        ("Data", " ".join(str(data.get(key) or "") for key in ("name", "split")).strip()),
        (
            str(data.get("kind") or "images").capitalize(),
            f"{images}{available}{chosen}{views}" if images else "",
        ),
        ("Protocol", str(run.spec.get("protocol") or "")),
        ("Seeds", str(run.spec.get("seeds") or "")),
        ("Device", f"{run.environment.get('device') or ''} {run.spec.get('precision') or ''}"),
        ("Finished", moment(run.environment.get("finished"))),
    ]
    return [(term, text.strip()) for term, text in facts if text.strip()]


def _references(frame: pd.DataFrame) -> str:
    """Return the reference of all differences.

    There are several if two methods have the same composition at some budgets only.
    """
    return " or ".join(frame.loc[frame["budget"].notna(), "reference"].dropna().unique())


def _resolved(run: Run) -> list[dict[str, Any]]:
    """Return the resolution of each budget; of an ablation only where blind baselines ran."""
    rows = run.headline.resolution
    return [row for row in rows if row.get("can_rank") is not None or not run.ablates]


def _resolution(report: ReportData, row: dict[str, Any]) -> Context:
    """Return what the images can show at one budget, and which methods do not beat blind ones."""
    smallest = row.get("smallest_detectable")
    backbone = str(row.get("backbone") or next(iter(report.backbones), ""))
    mark = report.marks.get((backbone, row.get("budget", -1.0)))
    sentence = str(row.get("sentence") or "")
    # room to rank does not mean that a method ranks above the baselines
    if row.get("can_rank") and mark and mark.none_shown:
        sentence += (
            f" But no method was shown to beat the blind baselines (best: {mark.baseline}), "
            "so this is no ranking."
        )
    return {
        "backbone": backbone,
        "baseline": f"{mark.baseline} {percent(mark.top1)} %" if mark else "",
        "equals": sorted(mark.not_shown, key=report.labels.index) if mark else [],
        "budget": budget_name(row.get("budget")),
        "smallest": f"{percent(smallest)} points" if present(smallest) else MISSING,
        "ranks": row.get("can_rank"),
        "sentence": sentence,
    }


def _flat(values: dict[str, Any], before: str = "") -> list[tuple[str, str]]:
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


@functools.cache
def _plotly() -> str:
    """Return Plotly's source for a script element."""
    source: str = get_plotlyjs()
    return source.replace("</script", "<\\/script")

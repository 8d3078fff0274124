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

from reports import aggregate as points
from reports import charts, tables
from reports import static_figures as paper
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
from reports.report_data import Sheet
from reports.run import Run
from reports.section import Part, Section
from reports.token_overlay import RIM, SPECIAL_COLOUR, VEIL

Context = dict[str, Any]
PARTS: tuple[Part, ...] = get_args(Part)
KINDS = ("pareto", "agreement", "divergence", "foreground", "lift")


def context(sheet: Sheet, found: Sequence[Section], twins: dict[str, str]) -> Context:
    """Return everything that the page prints.

    `twins` are the static figures as data URIs, by name.
    """
    run = sheet.run
    houses = [_house(sheet, house, twins) for house in sheet.houses]
    interactive, stacks = {}, {}
    for house in houses:
        for chart in house["charts"].values():
            if chart:
                interactive[chart["id"]] = chart["figure"]
    for one in found:
        for drawing in one.figures:
            if drawing.maps:
                stacks[drawing.name] = stack_panel(drawing.maps)
    # what the page's script reads
    data = {
        "palette": {theme: charts.palette(sheet.looks, theme) for theme in ("light", "dark")},
        "labels": [_shown_name(label) for label in sheet.labels],
        "charts": interactive,
        "kept": {house["id"]: house["kept"] for house in houses if house["kept"]},
        "gallery": {house["id"]: house["gallery"] for house in houses if house["gallery"]},
        "stacks": stacks,
        "diverging": sns.color_palette(DIVERGING, 65).as_hex(),
        "scale": sns.color_palette(MAP, 64).as_hex(),
        "rim": RIM,
        "special": SPECIAL_COLOUR,
        "veil": VEIL,
    }
    own = (run.convention, "a convention of the run's own")
    short, words = CONVENTIONS.get(run.convention, own)
    agree, differ = points.audit(run, sheet.correct)
    sections: dict[str, list[Context]] = {part: [] for part in PARTS}
    for one in found:
        sections[one.part].append(_section(one, twins))
    styles = []
    for index, look in enumerate(sheet.looks.values()):
        styles.append({"index": index, "look": look})
    environment = dict(run.environment)
    # the command has a place of its own on the page
    command = str(environment.pop("command", None) or "")
    return {
        "name": run.name,
        "facts": _facts(sheet),
        "headline": run.headline.sentence,
        "resolution": [_resolution(sheet, row) for row in _resolved(run)],
        "smaller": bool((sheet.frame["method"] == "downsample").any()),
        "blind": bool(sheet.marks),
        "envelope": ENVELOPE if points.few_seeds(sheet.frame) else "",
        "paragraphs": run.headline.paragraphs,
        "compared": not run.cells.empty,
        "trades": sheet.trades,
        "houses": houses,
        "twins": twins,
        "budgets": _choices(sheet, sheet.frame),
        "convention": {"name": run.convention, "short": short, "words": words},
        "heads": result_heads(sheet),
        "rows": result_rows(sheet),
        "reference": _references(sheet.frame),
        "achieved": achieved_table(sheet),
        "unfinished": unfinished_rows(sheet),
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


def _house(sheet: Sheet, house: str, twins: dict[str, str]) -> Context:
    """Return one backbone's charts, panels, legends and static figures."""
    run, number = sheet.run, sheet.houses.index(house)
    part = sheet.frame[sheet.frame["backbone"] == house]
    blocks = sheet.blocks[sheet.blocks["backbone"] == house]
    kept_rows = run.kept_tokens[run.kept_tokens["backbone"] == house]
    gallery_rows = run.gallery[run.gallery["backbone"] == house]
    kinds: dict[str, Context] = {}
    if sheet.trades and not part.empty:
        kinds["pareto"] = charts.pareto(part, sheet.looks, run.convention, sheet.marks, run.chance)
    reduced = part[part["method"] != "none"]
    if sheet.trades and not reduced.empty:
        kinds["agreement"] = charts.agreement(part, sheet.looks, sheet.run.convention)
        kinds["divergence"] = charts.divergence(part, sheet.looks, sheet.run.convention)
    if not blocks.empty:
        kinds["foreground"] = charts.by_block(blocks, sheet.looks, "foreground_kept")
        kinds["lift"] = charts.by_block(blocks, sheet.looks, "lift")
    # the template asks for every kind, so a missing one is None
    figures: dict[str, Context | None] = dict.fromkeys(KINDS)
    for kind, figure in kinds.items():
        figures[kind] = {"id": f"{kind}-{number}", "figure": figure}
    gallery = None
    if sheet.shape is not None and sheet.pictures:
        gallery = gallery_panel(sheet.run, house, sheet.labels, sheet.pictures, sheet.shape)
    return {
        "id": f"b{number}",
        "name": house,
        "single": one_budget(part),
        "charts": figures,
        "groups_twin": twins.get(paper.named("groups", house, sheet)),
        "lead_twin": twins.get(paper.named("lead", house, sheet)),
        "legend": _legend(sheet, part),
        "legend_reduced": _legend(sheet, reduced),
        "legend_blocks": _legend(sheet, blocks),
        "block_budgets": _choices(sheet, blocks),
        "kept": kept_panel(sheet.run, house, sheet.labels),
        "kept_budgets": _choices(sheet, kept_rows),
        "kept_twin": twins.get(paper.named("kept", house, sheet)),
        "gallery": gallery,
        "gallery_budgets": _choices(sheet, gallery_rows),
        "gallery_twin": twins.get(paper.named("gallery", house, sheet)),
        "layers_twin": twins.get(paper.named("gallery-layers", house, sheet)),
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


def _legend(sheet: Sheet, frame: pd.DataFrame) -> list[Context]:
    """Return the labels of `frame` as toggles, by group of methods."""
    groups: dict[str, list[Context]] = {}
    for label in sheet.ordered(frame):
        entry = {
            "index": sheet.labels.index(label),
            "name": _shown_name(label),
            "look": sheet.looks[label],
        }
        groups.setdefault(sheet.looks[label].group, []).append(entry)
    return [{"family": family, "entries": entries} for family, entries in groups.items()]


def _choices(sheet: Sheet, frame: pd.DataFrame) -> list[Context]:
    """Return the budgets of `frame` for radio buttons, with the one in focus checked."""
    budgets = sorted(float(budget) for budget in frame["budget"].dropna().unique())
    chosen = sheet.focus(frame) if budgets else None
    choices = []
    for budget in budgets:
        name = budget_name(budget)
        choices.append({"value": budget, "name": name, "checked": budget == chosen})
    return choices


def _shown_name(label: str) -> str:
    """Return the name of a label on the page."""
    return "dense" if label == "none" else label


def _facts(sheet: Sheet) -> list[tuple[str, str]]:
    """Return what a reader must know before any number, as terms and texts."""
    run, data = sheet.run, sheet.run.dataset
    images = str(data.get("images", ""))
    available = f" of {data['available']}" if present(data.get("available")) else ""
    chosen = f", {data['selection']}" if data.get("selection") else ""
    views = f", {data['views']} views each" if data.get("kind") == "videos" else ""
    facts = [
        ("Backbone", ", ".join(sheet.houses)),
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


def _resolution(sheet: Sheet, row: dict[str, Any]) -> Context:
    """Return what the images can show at one budget, and which methods do not beat blind ones."""
    smallest = row.get("smallest_detectable")
    house = str(row.get("backbone") or next(iter(sheet.houses), ""))
    mark = sheet.marks.get((house, row.get("budget", -1.0)))
    sentence = str(row.get("sentence") or "")
    # room to rank does not mean that a method ranks above the baselines
    if row.get("can_rank") and mark and mark.none_shown:
        sentence += (
            f" But no method was shown to beat the blind baselines (best: {mark.baseline}), "
            "so this is no ranking."
        )
    return {
        "house": house,
        "baseline": f"{mark.baseline} {percent(mark.top1)} %" if mark else "",
        "equals": sorted(mark.not_shown, key=sheet.labels.index) if mark else [],
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

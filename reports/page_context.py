"""What the template is given: strings ready to print, and the data of the interactive parts."""

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
    """Everything the page says: of `sheet`, of the sections `found`; `twins` are the figures as data URIs by name."""
    run = sheet.run
    houses = [_house(sheet, house, twins) for house in sheet.houses]
    data = {
        "palette": {theme: charts.palette(sheet.looks, theme) for theme in ("light", "dark")},
        "labels": [_spoken(sheet, label) for label in sheet.labels],
        "charts": {
            chart["id"]: chart["figure"]
            for house in houses
            for chart in house["charts"].values()
            if chart
        },
        "kept": {house["id"]: house["kept"] for house in houses if house["kept"]},
        "gallery": {house["id"]: house["gallery"] for house in houses if house["gallery"]},
        "stacks": {
            drawing.name: stack_panel(drawing.maps)
            for one in found
            for drawing in one.figures
            if drawing.maps
        },
        "diverging": sns.color_palette(DIVERGING, 65).as_hex(),
        "scale": sns.color_palette(MAP, 64).as_hex(),
        "rim": RIM,
        "special": SPECIAL_COLOUR,
        "veil": VEIL,
    }
    short, words = CONVENTIONS.get(
        run.convention, (run.convention, "a convention of the run's own")
    )
    agree, differ = points.audit(run, sheet.correct)
    return {
        "name": run.name,
        "facts": _facts(sheet),
        "headline": run.headline.sentence,
        "resolution": [_resolution(sheet, row) for row in _told_of(run)],
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
        "sections": {
            part: [_section(one, twins) for one in found if one.part == part] for part in PARTS
        },
        "audit": {"agree": agree, "differ": differ},
        "environment": list(
            _flat({key: value for key, value in run.environment.items() if key != "command"})
        ),
        "command": str(run.environment.get("command") or ""),
        "spec": yaml.safe_dump(run.spec, sort_keys=False, allow_unicode=True),
        "styles": [
            {"index": index, "look": look} for index, look in enumerate(sheet.looks.values())
        ],
        "data": Markup(script_json(data)),  # noqa: S704 - script_json leaves no character that could end the element
        "plotly": Markup(_plotly()),  # noqa: S704 - the library's own source
    }


def _house(sheet: Sheet, house: str, twins: dict[str, str]) -> Context:
    """One backbone's charts, panels, legends and static twins."""
    run, number = sheet.run, sheet.houses.index(house)
    part = sheet.frame[sheet.frame["backbone"] == house]
    blocks = sheet.blocks[sheet.blocks["backbone"] == house]
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
    gallery = None
    if sheet.shape is not None and sheet.pictures:
        gallery = gallery_panel(sheet.run, house, sheet.labels, sheet.pictures, sheet.shape)
    return {
        "id": f"b{number}",
        "name": house,
        "single": one_budget(part),
        "charts": {
            kind: {"id": f"{kind}-{number}", "figure": kinds[kind]} if kind in kinds else None
            for kind in KINDS
        },
        "groups_twin": twins.get(paper.named("groups", house, sheet)),
        "lead_twin": twins.get(paper.named("lead", house, sheet)),
        "legend": _legend(sheet, part),
        "legend_reduced": _legend(sheet, reduced),
        "legend_blocks": _legend(sheet, blocks),
        "block_budgets": _choices(sheet, blocks),
        "kept": kept_panel(sheet.run, house, sheet.labels),
        "kept_budgets": _choices(
            sheet, sheet.run.kept_tokens[sheet.run.kept_tokens["backbone"] == house]
        ),
        "kept_twin": twins.get(paper.named("kept", house, sheet)),
        "gallery": gallery,
        "gallery_budgets": _choices(
            sheet, sheet.run.gallery[sheet.run.gallery["backbone"] == house]
        ),
        "gallery_twin": twins.get(paper.named("gallery", house, sheet)),
        "layers_twin": twins.get(paper.named("gallery-layers", house, sheet)),
    }


def _section(section: Section, twins: dict[str, str]) -> Context:
    """One analysis as the template prints it."""
    return {
        "key": section.key,
        "title": section.title,
        "sentence": section.sentence,
        "figures": [
            {"name": drawing.name, "caption": drawing.caption, "alt": drawing.alt, "twin": twins[drawing.name],
             "layers": drawing.maps.layers if drawing.maps else ()}
            for drawing in section.figures
        ],
        "tables": [
            {"name": table.name, "caption": table.caption, "heads": [str(head) for head in table.frame.columns],
             "numeric": tables.is_numeric(table), "rows": tables.table_cells(table)}
            for table in section.tables
        ],
        "notes": section.notes,
    }  # fmt: skip


def _legend(sheet: Sheet, frame: pd.DataFrame) -> list[Context]:
    """The labels of `frame` as toggles, grouped by what the methods are."""
    groups: dict[str, list[Context]] = {}
    for label in sheet.ordered(frame):
        entry = {
            "index": sheet.labels.index(label),
            "name": _spoken(sheet, label),
            "look": sheet.looks[label],
        }
        groups.setdefault(sheet.looks[label].group, []).append(entry)
    return [{"family": family, "entries": entries} for family, entries in groups.items()]


def _choices(sheet: Sheet, frame: pd.DataFrame) -> list[Context]:
    """Budgets of `frame` for a row of radio buttons, the one in focus checked."""
    known = sorted(float(budget) for budget in frame["budget"].dropna().unique())
    chosen = sheet.focus(frame) if known else None
    return [
        {"value": budget, "name": budget_name(budget), "checked": budget == chosen}
        for budget in known
    ]


def _spoken(sheet: Sheet, label: str) -> str:
    return "dense" if label == "none" else label


def _facts(sheet: Sheet) -> list[tuple[str, str]]:
    """The few things a reader must know before any number."""
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
    """The labels that differences are taken to; several where names meet in one composition at some budgets only."""
    return " or ".join(frame.loc[frame["budget"].notna(), "reference"].dropna().unique())


def _told_of(run: Run) -> list[dict[str, Any]]:
    """The budgets of which is said what they can show: an ablation asks it of its blind baselines only if they ran."""
    return [
        row for row in run.headline.resolution if row.get("can_rank") is not None or not run.ablates
    ]


def _resolution(sheet: Sheet, row: dict[str, Any]) -> Context:
    """What one budget can show, and which methods do no better there than a blind baseline."""
    smallest = row.get("smallest_detectable")
    house = str(row.get("backbone") or next(iter(sheet.houses), ""))
    mark = sheet.marks.get((house, row.get("budget", -1.0)))
    sentence = str(row.get("sentence") or "")
    if (
        row.get("can_rank") and mark and mark.everywhere
    ):  # room to rank does not say that anything ranks above it
        sentence += f" But no method was shown to beat the blind ones, {mark.baseline} the best: this is no ranking."
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
    """Nested mappings as dotted names and strings, without what is empty."""
    rows: list[tuple[str, str]] = []
    for key, value in values.items():
        if isinstance(value, dict):
            rows += _flat(value, f"{before}{key} ")
        elif value is not None and value not in ("", []):
            rows.append(
                (
                    f"{before}{key}" if before else key.replace("_", " "),
                    ", ".join(map(str, value)) if isinstance(value, list) else str(value),
                )
            )
    return rows


@functools.cache
def _plotly() -> str:
    source: str = get_plotlyjs()
    return source.replace("</script", "<\\/script")

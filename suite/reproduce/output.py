"""Show published tables on the terminal: which there are, their plans, and what was measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
from rich.table import Table

from backbones.base import Backbone
from suite.flops.published import GIGA
from suite.plan.budget import dense_plan
from suite.plan.cells import Cell
from suite.reproduce.reasons import flops_reasons, stated_reasons
from suite.reproduce.rows import DROP, stated
from suite.reproduce.table import DENSE, PublishedTable, Value
from suite.terminal.tables import light_table

UNREAD = "not read"


def listed_rows(tables: Iterable[PublishedTable]) -> list[dict[str, Any]]:
    """A row for each table: what it is of, and how many of its values were read."""
    rows = []
    for table in tables:
        # The dense value only checks weights and data: a table is chosen for its methods.
        cells = [value for value in table.cells if not value.is_dense]
        rows.append(
            {
                "name": table.name,
                "backbone": table.backbone,
                "methods": list(table.methods),
                "cells": len(cells),
                "read": sum(value.is_read for value in cells),
                "doubt": table.doubt,
                "retrained": sum(bool(value.retrained) for value in cells),
                "not_comparable": list(table.not_comparable),
                "title": table.title,
                "source": table.source,
            }
        )
    return rows


def listed_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """The tables there are."""
    shown = light_table("published tables", "name", "what it shows", "values known", "remark")
    for row in rows:
        remarks = list(row["not_comparable"])
        if row["doubt"]:
            remarks.append("doubtful")
        if row["retrained"]:
            remarks.append("retrained in the source")
        shown.add_row(
            row["name"], row["title"], f"{row['read']} of {row['cells']}", "; ".join(remarks)
        )
    return shown


def plan_rows(
    table: PublishedTable, model: Backbone, planned: Sequence[tuple[Value, Sequence[Cell]]]
) -> list[dict[str, Any]]:
    """A row for each value: what would run for it here, and what the source states."""
    dense = dense_plan(model.describe()).total
    rows = []
    for value, cells in planned:
        plan = cells[0].plan if cells else None
        why = [
            *flops_reasons(table, value, dense, plan.total if plan else {}),
            *stated_reasons(table, value),
        ]
        convention = table.flops_convention
        for quantity, published in stated(value):
            rows.append(
                {
                    "method": value.method,
                    "budget": value.budget,
                    # A method without chance has one cell, whatever number of seeds was asked for.
                    "seeds": len(cells) if cells and cells[0].stochastic else None,
                    "tokens_removed": plan.token_ratio if plan else None,
                    "gflops": plan.total[convention] / GIGA if plan else None,
                    "printed_gflops": value.giga,
                    "removed": plan.removed[convention] if plan else None,
                    "removals": _removals(cells),
                    "reason": cells[0].reason if cells else None,
                    "quantity": quantity,
                    "published": published,
                    "place": value.place,
                    "incomparable": why,
                }
            )
    return rows


def _removals(cells: Sequence[Cell]) -> dict[int, int]:
    """Tokens that leave before each block."""
    if not cells or cells[0].plan is None:
        return {}
    return {site: removal.tokens for site, removal in cells[0].plan.removals.items()}


def planned_table(table: PublishedTable, rows: Sequence[Mapping[str, Any]]) -> Table:
    """What each cell would remove, beside what the source states of it."""
    # A paper's convention counts multiply-adds as well, and calls them FLOPs.
    unit = "GMACs" if table.flops_convention == "macs" else "GFLOPs"
    shown = light_table(
        f"{table.title}; {table.backbone}, FLOPs as {table.flops_convention}",
        "method",
        "asked",
        "tokens removed",
        unit,
        f"{unit} printed",
        "FLOPs removed",
        "published",
    )
    for row in rows:
        budget = row["budget"]
        shown.add_row(
            row["method"],
            "" if budget is None else f"{100 * budget:.4g} %",
            # The dense model removes nothing: an empty field reads better than 0.0 %.
            _percent(row["tokens_removed"] or None),
            _giga(row["gflops"]),
            _giga(row["printed_gflops"]),
            _percent(row["removed"] or None),
            _published(row),
        )
    return shown


def measured_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Published, measured, and their difference, each with its interval."""
    first = rows[0]
    # Rows without a result have no images, and the first may be one.
    images = next((int(row["images"]) for row in rows if _known(row["images"])), 0)
    shown = light_table(
        f"{first['name']} on {first['backbone']}, {images:,} images: top-1 (%) and drops (points)",
        "method",
        "FLOPs removed",
        "published",
        "measured",
        "difference",
    )
    for row in rows:
        # Where there is no value, say whether the cell failed or was skipped.
        measured = row["status"]
        if _known(row["measured"]):
            ends = _ends(row["measured_low"], row["measured_high"])
            measured = f"{_points(row['measured'])} {ends}"
        difference = ""
        if _known(row["deviation"]):
            # With signs: an interval that holds zero must be seen at a glance.
            ends = _ends(row["deviation_low"], row["deviation_high"], "+")
            difference = f"{_points(row['deviation'], '+')} {ends}"
        shown.add_row(
            row["method"], _percent(row["removed"] or None), _published(row), measured, difference
        )
    return shown


def remarks(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Why values cannot be compared, why cells have no result, and where values stand."""
    reasons: dict[str, list[str]] = {}
    places: dict[str, list[str]] = {}
    lines, unread = [], []
    for row in rows:
        name = cell_name(row)
        if row["reason"]:
            lines.append(f"no result of {name}: {row['reason']}")
        for reason in reasons_of(row):
            reasons.setdefault(reason, []).append(name)
        if row["place"]:
            places.setdefault(str(row["place"]), []).append(name)
        if not _known(row["published"]):
            unread.append(name)
    if unread:
        lines.append(f"nobody has read a value of {', '.join(unread)}")
    # A table's own reasons are of its methods alone, so "all" leaves the dense model out.
    every = list(dict.fromkeys(cell_name(row) for row in rows if row["method"] != DENSE))
    for reason, names in reasons.items():
        lines.append(f"not comparable because {reason}: {_listed(names, every)}")
    for place, names in places.items():
        lines.append(f"published in: {place} ({_listed(names, every)})")
    return lines


def reasons_of(row: Mapping[str, Any]) -> list[str]:
    """The reasons of a row, which a stored table has in one text."""
    # A row of a plan was never stored, and has them as a list still.
    reasons = row["incomparable"]
    return [part for part in reasons.split("; ") if part] if isinstance(reasons, str) else reasons


def summary(rows: Sequence[Mapping[str, Any]]) -> str:
    """How many published values lie in the intervals measured here."""
    # The dense model's top-1 checks weights and data, not a reduction.
    compared = [row for row in rows if _known(row["deviation"]) and row["method"] != DENSE]
    if not compared:
        return "No published value could be compared."
    within = sum(bool(row["within"]) for row in compared)
    other = sum(bool(reasons_of(row)) for row in compared)
    met = f"{within} of {len(compared)} published values lie in the 95 % interval measured"
    why = f"; why {other} of them cannot be compared stands below" if other else ""
    return f"{met}{why}."


def cell_name(row: Mapping[str, Any]) -> str:
    """A method and its budget in words."""
    if row["method"] == DENSE:
        return "the dense model"
    at = row["budget"]
    return f"{row['method']} at {100 * at:.4g} %" if _known(at) else str(row["method"])


def json_rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table as plain values, None where there is none."""
    # As objects first: a column of floats would turn None back into NaN, which JSON lacks.
    return frame.astype(object).where(frame.notna(), None).to_dict("records")


def _listed(names: Sequence[str], every: Sequence[str]) -> str:
    """The cells of these names, `every` of which but the dense model's is one word."""
    unique = list(dict.fromkeys(names))
    # Of a table with a single cell its name says more than "all".
    return "all" if len(every) > 1 and unique == every else ", ".join(unique)


def _published(row: Mapping[str, Any]) -> str:
    known = _known(row["published"])
    return f"{_what(row)}{_points(row['published'])}" if known else UNREAD


def _what(row: Mapping[str, Any]) -> str:
    return "drop " if row["quantity"] == DROP else ""


def _ends(low: float, high: float, sign: str = "") -> str:
    return f"[{_points(low, sign)}, {_points(high, sign)}]"


def _points(value: float, sign: str = "") -> str:
    return f"{100 * value:{sign}.1f}"


def _percent(value: float | None) -> str:
    return f"{100 * value:.1f} %" if value is not None and _known(value) else ""


def _giga(value: float | None) -> str:
    return f"{value:.2f}" if value is not None else ""


def _known(value: Any) -> bool:
    # Plain rows have None where those of a table have NaN.
    return value is not None and not pd.isna(value)

"""The analyses that the report can show, one module each, in the order of the page.

A module names the tables it reads, makes its section of the page of them, and draws its figures::

    NEEDS = stored("ablation")  # analyses/ablation.parquet, with the columns of the schema

    def section(report: ReportData, frames: Frames) -> Section | None: ...

`section` is called only when all files of ``NEEDS`` exist and have rows; a missing column is the
user's error, not the module's. ``OPTIONAL``, of the same form, names files that it uses where they
exist: one that does not is no key of `frames`. It returns None if there is nothing to show.

`frames` are the tables of one run, or of several merged, so every row names its backbone, and its
machine where that matters. ``report.looks[label]`` is the colour and the marker of every method
text in a column ``label``. A run folder with such files and no cells needs a ``spec.yaml`` with
the current ``schema`` and a ``kind``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reports.report_data import ReportData
from reports.section import Section
from reports.sections import (
    ablation,
    ahead,
    bench,
    breaks,
    families,
    reproduced,
    retrained,
    schedules,
    segmentation,
    sensitivity_class_token,
    sensitivity_estimates,
    sensitivity_layers,
    sensitivity_maps,
    sensitivity_pixels,
    sensitivity_scores,
    similarity,
    token_matched,
)

# In the order of the page. A new section is added here.
MODULES: tuple[Any, ...] = (
    reproduced,
    retrained,
    ahead,
    segmentation,
    breaks,
    families,
    ablation,
    schedules,
    sensitivity_maps,
    sensitivity_pixels,
    similarity,
    sensitivity_estimates,
    sensitivity_scores,
    sensitivity_layers,
    sensitivity_class_token,
    token_matched,
    bench,
)


def tables_of(module: Any) -> Mapping[str, tuple[str, ...]]:
    """Return the tables that `module` reads, required and optional, with their columns."""
    return {**module.NEEDS, **getattr(module, "OPTIONAL", {})}


def needed() -> dict[str, tuple[str, ...]]:
    """Return every table that some module reads, with the columns that any of them needs."""
    tables: dict[str, tuple[str, ...]] = {}
    for module in MODULES:
        for name, columns in tables_of(module).items():
            # Several modules may read one table; each column is named once.
            tables[name] = tuple(dict.fromkeys((*tables.get(name, ()), *columns)))
    return tables


def sections(report: ReportData) -> list[Section]:
    """Build the sections that this run has the data for."""
    stored = report.run.others
    built = []
    for module in MODULES:
        # A run has the tables of what was run: a comparison has no probes, a bench no outcomes.
        if not set(module.NEEDS) <= set(stored):
            continue
        frames = {name: stored[name] for name in tables_of(module) if name in stored}
        section = module.section(report, frames)
        if section is not None:
            built.append(section)
    return built

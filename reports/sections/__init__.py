"""The analyses that the report can show, one module each; a module of this package is a section of the page.

A module says what it reads and makes its section of it::

    NEEDS = {"sensitivity": ("backbone", "block", "row", "col", "loss")}  # analyses/sensitivity.parquet, its columns

    def section(sheet: Sheet, frames: Mapping[str, pd.DataFrame]) -> Section | None: ...

`section` is called only when all the files of ``NEEDS`` are there and have rows; a missing column
is the user's error, not the module's. ``OPTIONAL``, of the same form, names files that it takes
where they are there: one that is not is no key of `frames`. None means that there is nothing to
show. `frames` are the files of one run, or of several put together, so every row names its
backbone, and its machine where that matters. ``sheet.looks[label]`` is the colour and the marker of
every method text found in a column ``label``. Modules stand on the page in the order of their
``ORDER``, a number; ties by name. A run folder that holds such files and no cells needs a
``spec.yaml`` with ``schema: 2`` and a ``kind``.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING, Any

from reports.section import Section

if TYPE_CHECKING:
    from reports.report_data import Sheet


def modules() -> list[Any]:
    """The modules of this package in the order of the page."""
    found = [
        importlib.import_module(f"{__name__}.{entry.name}")
        for entry in pkgutil.iter_modules(__path__)
    ]
    return sorted(found, key=lambda module: (module.ORDER, module.__name__))


def needed() -> dict[str, tuple[str, ...]]:
    """Every analysis that some module reads, with the columns that any of them needs."""
    wanted: dict[str, tuple[str, ...]] = {}
    for module in modules():
        for name, columns in (module.NEEDS | getattr(module, "OPTIONAL", {})).items():
            wanted[name] = tuple(dict.fromkeys((*wanted.get(name, ()), *columns)))
    return wanted


def sections(sheet: Sheet) -> list[Section]:
    """The sections that this run has the data for."""
    there = sheet.run.others
    found = []
    for module in modules():
        if set(module.NEEDS) <= set(there):
            wanted = module.NEEDS | getattr(module, "OPTIONAL", {})
            made = module.section(sheet, {name: there[name] for name in wanted if name in there})
            found += [made] if made is not None else []
    return found

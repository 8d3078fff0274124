"""`reproduce`: run a published table, and show its values beside those measured here."""

from __future__ import annotations

import dataclasses
import json
import typing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from suite.cli.exit_codes import FAILED
from suite.cli.run_options import RunOptions, finish, start
from suite.cli.spec_options import declared, options_of, parameter, spec_from_options
from suite.reproduce.spec import ReproduceSpec

if TYPE_CHECKING:
    from suite.reproduce.table import PublishedTable

Name = Annotated[
    str,
    typer.Argument(
        metavar="TABLE",
        help="Name of a published table, or a YAML file of your own; none: list them.",
        show_default=False,
    ),
]
Plan = Annotated[
    bool, typer.Option("--plan", help="Show its cells alone, without weights and data.")
]
# A table is the settings of its run, and one run.
WITHOUT = {"config", "sweep", "out"}
SETTINGS = options_of(ReproduceSpec())


def reproduce(table: str, plan: bool, **values: Any) -> int:
    """Run a published table again: published, measured, and the difference with its interval.

    Without a table it lists them. Rerun the command to resume.
    """
    texts = {option.name: values.pop(option.name) for option in SETTINGS}
    options = RunOptions(**values)
    spec = spec_from_options(ReproduceSpec, texts)
    if not table:
        return show_list(options.json)
    from suite.reproduce.listed import find_table

    chosen = find_table(table)
    if plan:
        return show_plan(chosen, spec, options.json)
    return run_table(chosen, spec, options)


def show_list(as_json: bool) -> int:
    """Print which tables there are."""
    from suite.reproduce.listed import find_table, names
    from suite.reproduce.output import listed_rows, listed_table
    from suite.terminal.tables import print_table

    rows = listed_rows(map(find_table, names()))
    if as_json:
        print(json.dumps(rows, indent=1))
        return 0
    print_table(listed_table(rows))
    print("run one: python -m suite reproduce NAME --data imagenet:PATH; see its cells: --plan")
    return 0


def show_plan(table: PublishedTable, spec: ReproduceSpec, as_json: bool) -> int:
    """Print the cells of a table without its weights or data."""
    from suite.reproduce.layout import plan_table
    from suite.reproduce.output import plan_rows, planned_table, remarks
    from suite.terminal.tables import print_table

    rows = plan_rows(table, *plan_table(table, table.run_spec(spec)))
    if as_json:
        print(json.dumps({"table": table.model_dump(mode="json"), "cells": rows}, indent=1))
        return 0
    print_table(planned_table(table, rows))
    for line in (table.source, *remarks(rows), *table.notes):
        print(line)
    return 0


def run_table(table: PublishedTable, spec: ReproduceSpec, options: RunOptions) -> int:
    """Run a table and print its values beside those measured."""
    from suite.cli.compare import begin_compiling
    from suite.comparison import run_comparison
    from suite.reproduce.output import json_rows, measured_table, remarks, summary
    from suite.reproduce.run import beside, default_name, prepare_reproduction, read_reproduced
    from suite.terminal.findings import Findings
    from suite.trackers import chosen_trackers

    folder = options.folder(default_name(table, spec))
    begin_compiling(table.run_spec(spec))
    trackers = chosen_trackers(options.track)
    prepared = prepare_reproduction(table, spec)
    run = partial(run_comparison, prepared=prepared, beside=partial(beside, table))
    result = start(run, prepared.spec, folder, options)
    rows = json_rows(read_reproduced(folder))

    def show(page: Path | None) -> Findings:
        return Findings(
            [(summary(rows), [measured_table(rows)])],
            notes=[*remarks(rows), *table.notes],
            warnings=result.headline.warnings,
        )

    finish(folder, options, trackers, {"reproduced": rows, **result.summary()}, show)
    return FAILED if result.failures else 0


def _parameters() -> list[Any]:
    hints = typing.get_type_hints(RunOptions, include_extras=True)
    running = [
        parameter(field.name, hints[field.name], field.default)
        for field in dataclasses.fields(RunOptions)
        if field.name not in WITHOUT
    ]
    return [parameter("table", Name, ""), parameter("plan", Plan, False), *SETTINGS, *running]


reproduce = declared(reproduce, _parameters(), reproduce.__doc__)

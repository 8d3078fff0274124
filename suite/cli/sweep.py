"""A sweep from the command line: refuse wrong combinations first, then run one after another."""

from __future__ import annotations

import contextlib
import io
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from backbones.common.errors import UserError
from suite.cli.exit_codes import INTERRUPTED, exit_code_of
from suite.cli.run_options import RunOptions
from suite.config.run_spec import RunSpec

if TYPE_CHECKING:
    from suite.plan.prepare import Prepared

# Takes a specification, the options of its run, and its plan.
Command = Callable[..., int]


def run_all(
    command: Command, specs: Sequence[tuple[str, RunSpec]], options: RunOptions, writes: bool
) -> int:
    """Run `command` for each labelled specification; the worst of their exit codes.

    UserError, naming the combination, before the first one runs. One that fails does not stop the
    others. If the command `writes` run folders, those that can be compared are merged into one
    report at the end.
    """
    from suite.system.hardware import set_threads

    runs = [(label, spec, _own(options, label)) for label, spec in specs]
    # A mistake in the last combination must not show after hours of the others.
    plans = _planned(runs)
    rows: list[dict[str, Any]] = []
    for label, spec, own in runs:
        # Before the run, which may fail and print nothing.
        folder = str(own.folder(spec.default_name())) if writes else None
        document, plan = None, plans.pop(0)  # a plan that is done gives its models free
        set_threads(spec.threads)  # the last plan has set its own
        if options.json:
            code, document = _captured(command, spec, own, plan)
        else:
            print(f"--- {label}")
            code = exit_code_of(command, spec, own, plan)
        rows.append({"sweep": label, "exit": code, "run": folder, "result": document})
        if code == INTERRUPTED:  # interrupted by the user, who wants none of the others either
            break
    merged = _merged(rows, options) if writes else None
    if options.json:
        print(json.dumps({"runs": rows, "merged": merged}, indent=1))
    elif writes:
        _show(rows, merged)
    return max(int(row["exit"]) for row in rows)


def _planned(runs: Sequence[tuple[str, RunSpec, RunOptions]]) -> list[Prepared]:
    """Plans of the labelled `runs`; UserError that names the first run that cannot begin."""
    from suite.plan.loading import Opened
    from suite.plan.prepare import prepare
    from suite.terminal.lines import print_note

    # Runs on the same data and weights share them, which are loaded once.
    opened, plans = Opened(), []
    for label, spec, options in runs:
        try:
            folder = options.folder(spec.default_name())
            plans.append(prepare(spec, opened, folder=folder, say=print_note))
        except UserError as error:
            raise UserError(f"sweep ({label}): {error}") from None
    return plans


def _own(options: RunOptions, label: str) -> RunOptions:
    """The options of one combination, with a name of its own if the sweep has one."""
    if not options.name:
        return options
    # Labels have equals signs, blanks and brackets, which would have to be quoted in a shell.
    safe = re.sub(r"[^A-Za-z0-9.+]+", "-", label).strip("-")
    return replace(options, name=f"{options.name}-{safe}")


def _captured(command: Command, *arguments: Any) -> tuple[int, Any]:
    """Exit code of a command, and the JSON it printed; None if it printed nothing."""
    # The documents of all runs become one, so that standard output can be parsed.
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        code = exit_code_of(command, *arguments)
    return code, json.loads(printed.getvalue()) if printed.getvalue() else None


def _merged(rows: Sequence[dict[str, Any]], options: RunOptions) -> dict[str, Any] | None:
    """Folder and report of all runs together, or why they cannot be merged; None for one run."""
    from suite.merge import merge

    # A run with failed cells still has results; after any other exit code there may be none.
    folders = [Path(row["run"]) for row in rows if row["exit"] in (0, 1)]
    if len(folders) < 2:
        return None
    page = None
    try:
        folder, notes = merge(folders)
        if options.report:
            from reports import build

            page = build(folder)
    except UserError as error:
        # Runs of other precision, say, cannot be compared; each is complete in its own folder.
        return {"refused": str(error)}
    return {"run": str(folder), "report": page and str(page), "notes": notes}


def _show(rows: Sequence[dict[str, Any]], merged: dict[str, Any] | None) -> None:
    """Print the exit code and folder of each combination, and the table of all together."""
    from suite.store.run_folder import Store
    from suite.terminal.results_table import results_tables
    from suite.terminal.tables import not_static, off_budget, print_table

    table = Table("sweep", "exit code", "run", title="sweep")
    for row in rows:
        table.add_row(row["sweep"], str(row["exit"]), row["run"])
    print_table(table)
    if merged is None:
        return
    if "refused" in merged:
        print(f"not merged: {merged['refused']}")
        return
    # The store has them by key, a hash; readers want methods by name and baselines last.
    records = [record for record in Store(Path(merged["run"])).cells() if record.shown]
    records.sort(key=lambda record: (record.family == "baseline", record.spec))
    for of_backbone in results_tables(records):
        print_table(of_backbone)
    for line in (*off_budget(records), *not_static(records)):
        print(line)
    for note in merged["notes"]:
        print(f"note: {note}")
    page = merged["report"]
    print(f"report of all: {page}" if page else f"results of all: {merged['run']}")

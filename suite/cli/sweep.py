"""A sweep from the command line: all that can be refused is refused first, then run after run, then what came of it."""

from __future__ import annotations

import contextlib
import io
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from backbones.common.errors import UserError
from suite.cli.exit_codes import answer
from suite.cli.run_options import run_folder
from suite.config.run_spec import RunSpec

Combination = tuple[str, RunSpec]


def run_all(
    command: Callable[..., int], specs: Sequence[Combination], values: dict[str, Any]
) -> int:
    """Run `command` for every one of `specs` with the other options' `values`; the worst of their exit codes.

    UserError, with the combination that it is about, before the first one runs. One that fails then
    does not stop the others. Runs that can be compared are merged into one report at the end.
    """
    from suite.plan.prepare import prepare

    runs = values.get("runs")
    asked = [(words, spec, _named(values, words)) for words, spec in specs]
    for words, spec, own in asked:
        try:
            prepare(spec)
            if runs is not None:
                run_folder(spec, runs, own["name"])
        except UserError as error:
            raise UserError(f"sweep ({words}): {error}") from None
    done: list[dict[str, Any]] = []
    for words, spec, own in asked:
        folder = run_folder(spec, runs, own["name"]) if runs is not None else None
        if not values["as_json"]:
            print(f"--- {words}")
            code, document = answer(command, spec, **own), None
        else:
            code, document = _captured(answer, command, spec, own)
        done.append(
            {"sweep": words, "exit": code, "run": folder and str(folder), "result": document}
        )
        if code == 130:
            break
    worst = max(int(row["exit"]) for row in done)
    merged = (
        _merged([Path(row["run"]) for row in done if row["exit"] in (0, 1)], values)
        if runs is not None
        else None
    )
    if values["as_json"]:
        print(json.dumps({"runs": done, "merged": merged}, indent=1))
    elif runs is not None:
        _tell(done, merged)
    return worst


def _named(values: dict[str, Any], words: str) -> dict[str, Any]:
    """The options of one run: under a name that was given, each combination has its own."""
    if not values.get("name"):
        return values
    return values | {
        "name": f"{values['name']}-{re.sub(r'[^A-Za-z0-9.+]+', '-', words).strip('-')}"
    }


def _captured(
    answer: Callable[..., int], command: Callable[..., int], spec: RunSpec, own: dict[str, Any]
) -> Any:
    """Exit code, and the JSON document that the command printed, None if it did not come to that."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        code = answer(command, spec, **own)
    return code, json.loads(printed.getvalue()) if printed.getvalue() else None


def _merged(folders: list[Path], values: dict[str, Any]) -> dict[str, Any] | None:
    """The folder and report of all runs together, or why there is none; None where there are not several."""
    from suite.merge import merge

    if len(folders) < 2:
        return None
    try:
        folder, told = merge(folders)
        page = None
        if values["report"]:
            from reports import build

            page = build(folder)
    except UserError as error:
        return {"refused": str(error)}
    return {"run": str(folder), "report": page and str(page), "notes": told}


def _tell(done: Sequence[dict[str, Any]], merged: dict[str, Any] | None) -> None:
    """Print what became of each combination, and the table of all together."""
    from suite.store.run_folder import Store
    from suite.terminal.tables import astray, comparison_table, print_table

    table = Table("sweep", "exit code", "run", title="sweep")
    for row in done:
        table.add_row(row["sweep"], str(row["exit"]), row["run"])
    print_table(table)
    if merged is None:
        return
    if "refused" in merged:
        print(f"not merged: {merged['refused']}")
        return
    found = Store(Path(merged["run"])).cells()  # by key, which says nothing to a reader
    records = sorted(found, key=lambda record: (record["family"] == "baseline", record["spec"]))
    print_table(comparison_table(records))
    for sentence in (*astray(records), *(f"note: {note}" for note in merged["notes"])):
        print(sentence)
    print(
        f"report of all: {merged['report']}"
        if merged["report"]
        else f"results of all: {merged['run']}"
    )

"""The methods of several runs under every schedule, so that those of two runs are compared, too."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import replace

import pandas as pd

from suite.analysis.pair_schedules import without_schedule
from suite.analysis.schedule_answers import Answers, MethodAnswers
from suite.analysis.statistics import outcomes_of
from suite.merge.finished_run import FinishedRun
from suite.merge.namesakes import renamed
from suite.merge.union import Union
from suite.stats.schedules import Source
from suite.stats.verdict import BLIND, GRID_BLIND
from suite.store.results import Results
from suite.store.schema import TABLES
from suite.tries.bundled import tables
from suite.tries.files import read_origin, read_tries
from suite.tries.settings import Setting
from suite.tries.table import Tries

ACCURACY = "schedule_accuracy"
# What methods must have the same of to be compared.
FAMILY = ["backbone", "budget", "source", "split", "images"]


def merged_answers(
    runs: Sequence[FinishedRun], union: Union, results: Results, named: Collection[str]
) -> list[Answers]:
    """The answers of all `runs`, each method once; `named` are the specs that some run named.

    What a table of tries answered is read from the bundled ones. A table of a user's own may be
    elsewhere by now, and what it answered is left out. UserError for a table that is not whole.
    """
    frames = [_accuracies(run) for run in runs]
    if all(frame.empty for frame in frames):
        return []
    # Without their schedules, as methods are compared over them.
    asked = {without_schedule(spec) for spec in named}
    cells = union.cells.values()
    baselines = {without_schedule(cell.label) for cell in cells if cell.family == "baseline"}
    merged = []
    rows = pd.concat([frame for frame in frames if len(frame)], ignore_index=True)
    for family, of_family in rows.groupby(FAMILY, sort=False):
        backbone, budget, source, split, _ = family
        tries = _bundled(of_family.iloc[0], union) if source == "table" else None
        methods = []
        for label, of_method in of_family.groupby("label", sort=False):
            # The first run that has it: equal cells have equal outcomes.
            own = of_method.drop_duplicates("schedule")
            if source == "table":
                method = _tried(str(label), own, tries)
            else:
                method = _evaluated(str(label), own, union, results)
            if method.under:
                in_baselines = method.label in baselines
                methods.append(replace(method, asked=method.label in asked, baseline=in_baselines))
        answered: Source = "table" if source == "table" else "run"
        # Baselines last, as in a run.
        methods.sort(key=lambda method: not method.asked)
        if methods:
            place = str(backbone), float(str(budget)), answered, str(split)
            merged.append(Answers(*place, tuple(methods)))
    return merged


def _accuracies(run: FinishedRun) -> pd.DataFrame:
    """The table of a run, under the names that its methods have here; without rows if it has none.

    UserError if it lacks a column.
    """
    columns = list(TABLES[ACCURACY].columns)
    frame = run.table(ACCURACY)
    return pd.DataFrame(columns=columns) if frame is None else renamed(frame[columns], run.names)


def _bundled(row: pd.Series, union: Union) -> Tries | None:
    """The bundled table that answered for the backbone of a `row`; None if it was another one."""
    cells = [record for record in union.cells.values() if record.backbone == row["backbone"]]
    for path in tables():
        origin = read_origin(path)
        stored = origin.backbone, origin.split, len(origin.images)
        same = stored == (row["backbone"], row["split"], row["images"])
        if same and {record.weights for record in cells} == {origin.weights}:
            return read_tries(path)
    return None


def _blank(label: str, rows: pd.DataFrame) -> MethodAnswers:
    """A method of the table without its answers."""
    window, picked, reasons = int(rows["window"].iloc[0]), None, {}
    for row in rows.itertuples():
        if pd.notna(row.picked_window):
            picked = Setting(str(row.schedule), int(row.picked_window))
        if row.reason:
            reasons[str(row.schedule)] = str(row.reason)
    blind = label in (*BLIND, *GRID_BLIND)
    return MethodAnswers(label, False, blind, blind, window, picked, reasons=reasons)


def _tried(label: str, rows: pd.DataFrame, tries: Tries | None) -> MethodAnswers:
    """The answers of one method under every schedule, from a table of tries."""
    blank = _blank(label, rows)
    if tries is None:
        return blank
    # As in the table: to parse a text could run a user's file.
    name = re.sub(r"\[cls_window=[0-9]+\]$", "", label)
    under = {}
    for row in rows.itertuples():
        found = tries.find(name, Setting(str(row.schedule), blank.window), float(row.budget))
        if outcomes := tries.outcomes(found, label):
            under[str(row.schedule)] = outcomes
    return replace(blank, under=under)


def _evaluated(label: str, rows: pd.DataFrame, union: Union, results: Results) -> MethodAnswers:
    """A method with the outcomes of its cells."""
    blank = _blank(label, rows)
    under, keys = {}, {}
    for row in rows.itertuples():
        # A cell that changed code gave another key has the outcomes of one run only.
        seeds = [union.cells[key] for key in str(row.keys).split(",") if key in union.cells]
        if seeds and all(record.status == "ok" for record in seeds):
            under[str(row.schedule)] = outcomes_of(label, seeds, results)
            keys[str(row.schedule)] = tuple(record.key for record in seeds)
            blank = replace(blank, blind=seeds[0].blind)
    return replace(blank, under=under, keys=keys)

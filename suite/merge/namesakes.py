"""Different methods of one name in several runs: in a merged report each has its run's name, too.

A name is one of a method in a file, or one that a user gave. Nothing of the methods is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import pandas as pd

from suite.analysis.ablation import ablation_sentences
from suite.bench.timing_files import bench_words
from suite.merge.finished_run import FinishedRun
from suite.store.labels import name_in
from suite.store.schema import SAME, CellRecord

# Columns with the labels of methods, and the tables of sentences that name them: what each is told
# of, and how.
LABELS = {"label", "method", "reference", "baseline", "one", "other"}
SENTENCES = {
    "ablation_sentences": ("ablation", ablation_sentences),
    "bench_words": ("bench", lambda table, _: bench_words(table)),
}


def told_apart(runs: Sequence[FinishedRun]) -> list[FinishedRun]:
    """The runs, with the names of their own for methods that are another in another run."""
    meanings = [_meanings(run.records) for run in runs]
    foreign = {name for of_run in meanings for name in of_run}
    for run, of_run in zip(runs, meanings, strict=True):
        for record in run.records:
            # Of a method that comes to another's cell nothing but that is on record.
            for part in record.label.split(SAME)[1:]:
                if name_in(part) in foreign:
                    of_run.setdefault(name_in(part), record.spec)
    distinct: dict[str, set[str]] = {}
    for of_run in meanings:
        for name, meaning in of_run.items():
            distinct.setdefault(name, set()).add(meaning)
    renamed = []
    for run, of_run in zip(runs, meanings, strict=True):
        names = {name: f"{name} ({run.name})" for name in of_run if len(distinct[name]) > 1}
        records = []
        for record in run.records:
            records.append(record.model_copy(update={"label": relabelled(record.label, names)}))
        renamed.append(replace(run, records=records, names=names))
    return renamed


def relabelled(label: str, names: Mapping[str, str]) -> str:
    """A label with other names for the methods in it."""
    parts = []
    for part in label.split(SAME):
        name = name_in(part)
        parts.append(names.get(name, name) + part[len(name) :])
    return SAME.join(parts)


def renamed(table: pd.DataFrame, names: Mapping[str, str]) -> pd.DataFrame:
    """A table with other names for the methods in its labels."""
    labels = {}
    for column in LABELS.intersection(table.columns) if names else ():
        labels[column] = table[column].map(partial(relabelled, names=names), "ignore")
    return table.assign(**labels)


def tables_of(run: FinishedRun) -> dict[str, pd.DataFrame]:
    """The tables of a run, which call its methods as the report does; sentences are told anew.

    UserError if a table that a sentence is told of lacks a column.
    """
    tables = {}
    for name, table in run.tables():
        if "training" in table:
            table = table.assign(training=table["training"].replace(dict(run.trainings)))
        tables[name] = renamed(table, run.names)
    if run.names:
        for told, (source, tell) in SENTENCES.items():
            table = run.table(source)
            if table is not None:
                tables[told] = tell(renamed(table, run.names), run.records)
    return tables


def _meanings(records: Sequence[CellRecord]) -> dict[str, str]:
    """What the names of users and of methods in files stand for in one run."""
    meanings = {}
    for record in records:
        # The spec is that of the label's first part.
        part = record.label.split(SAME, 1)[0]
        path, _, variable = record.method.rpartition(":")
        method = f"{record.source or path}:{variable}" if path else record.method
        if record.spec.startswith(f"{part}="):
            # The user's name stands for options and schedule, too.
            text = record.spec.removeprefix(f"{part}=")
            meanings[part] = method + text.removeprefix(record.method)
        elif path:
            meanings[name_in(part)] = method
    return meanings

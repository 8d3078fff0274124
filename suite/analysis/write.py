"""Make all tables and the headline of a comparison, and write them: once, in one place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd

from suite.analysis.ablation import ablation_brief, ablation_tables
from suite.analysis.ahead import ahead_tables
from suite.analysis.brief import brief
from suite.analysis.class_ious import class_iou_tables
from suite.analysis.headline import Headline, make_headline, run_warnings
from suite.analysis.mamba_vs_attention import mamba_vs_attention_tables, mixer_of
from suite.analysis.published_accuracy import published_result
from suite.analysis.ranking import ranking_table
from suite.analysis.schedule_answers import schedule_answers
from suite.analysis.schedules import schedule_tables
from suite.analysis.statistics import (
    BackboneStatistics,
    requested_methods,
    statistics_tables,
)
from suite.analysis.token_matched import token_matched_table
from suite.plan.notes import unreachable_budgets
from suite.plan.prepare import Prepared
from suite.plan.tuning_notes import warnings_on_tries
from suite.stats.schedules import read_schedules_table
from suite.store.results import Results
from suite.store.run_folder import Store
from suite.store.schema import TABLES, CellRecord

Tables = dict[str, pd.DataFrame]
# Tables of other commands, which may measure in the folder of a comparison.
COMPARISON_TABLES = [name for name in TABLES if not name.startswith(("sensitivity", "bench"))]


def paired_tables(
    prepared: Prepared,
    records: Sequence[CellRecord],
    results: Results,
    statistics: Sequence[BackboneStatistics],
) -> Tables:
    """Tables of paired statistics: between methods, backbones, and settings of an ablation."""
    mixers = {name: mixer_of(model) for name, model in prepared.backbones.items()}
    tables = statistics_tables(statistics) | ahead_tables(statistics, prepared.spec.protocol)
    tables |= mamba_vs_attention_tables(mixers, records, results)
    tables["token_matched"] = token_matched_table(prepared, records, results, statistics)
    tables |= schedule_tables(schedule_answers(prepared, records, results))
    tables["ranking"] = ranking_table(statistics, read_schedules_table(tables["schedules"]))
    tables |= class_iou_tables(records, results)
    if prepared.spec.axes:
        tables |= ablation_tables(records, prepared.spec, prepared.methods, results)
    return tables


def comparison_headline(
    prepared: Prepared,
    statistics: Sequence[BackboneStatistics],
    tables: Mapping[str, pd.DataFrame],
    halved: Sequence[Mapping[str, object]],
) -> Headline:
    """The findings of a comparison in words; of an ablation its own sentences lead."""
    spec, dataset = prepared.spec, prepared.dataset
    published = {}
    for name, model in prepared.models.items():
        row = published_result(name, model, dataset)
        # Of pictures that were looked at otherwise another mean IoU is to be expected.
        if row and spec.inference in ("published", model.inference):
            published[name] = row
    flips = flip_warning(halved)
    left_out = prepared.left_out_note
    # Worst first: figures that depend on the batch are doubtful whatever else they show.
    warnings = [
        *([f"{left_out}."] if left_out else []),
        *([flips] if flips else []),
        *unreachable_budgets(prepared),
        *warnings_on_tries(prepared),
        *run_warnings(statistics, spec, len(dataset.classes), published),
    ]
    verdicts = read_schedules_table(tables["schedules"])
    requested = requested_methods(prepared.methods)
    headline = make_headline(statistics, spec, requested, warnings, verdicts)
    headline = headline.in_brief(brief(statistics, tables["ranking"], verdicts))
    if "ablation_sentences" in tables:
        first, *others = tables["ablation_sentences"].sentence
        headline = replace(headline, headline=first, paragraphs=[*warnings, *others])
        headline = headline.in_brief(ablation_brief(tables["ablation"], dataset.kind))
    return replace(headline, paragraphs=[*headline.paragraphs, *sentences(dataset.notes)])


def sentences(notes: Sequence[str]) -> list[str]:
    """Notes on the data as the page shows them."""
    return [f"On the data: {note}." for note in notes]


def flip_warning(halved: Sequence[Mapping[str, object]]) -> str:
    """Warn that predictions depend on the batch; `halved` are shards done with a smaller one."""
    flips = sum(int(str(row.get("flips", 0))) for row in halved)
    compared = sum(int(str(row.get("compared", 0))) for row in halved)
    if not flips:
        return ""
    return (
        f"Memory ran out, so shards were done with a smaller batch, and {flips:,} of {compared:,} "
        "predictions that were made with two batches differ: lower --batch-size to one that fits "
        "throughout."
    )


def write_analyses(store: Store, tables: Tables, headline: Headline) -> None:
    """Write the tables and the headline; tables of an earlier run that are not made go."""
    for name in COMPARISON_TABLES:
        # None removes the file: an old table beside new ones would be reported as theirs.
        store.write_table(name, tables.get(name))
    store.write_headline(headline.record())

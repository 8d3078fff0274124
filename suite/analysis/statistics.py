"""Paired statistics of a run: every method against the reference, at every budget."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from methods.spec import MethodSpec
from suite.config.run_spec import RunSpec
from suite.plan.cells import DENSE
from suite.stats.blind_baselines import (
    AtSetting,
    BlindComparison,
    blind_table,
    compare_to_blind,
    in_order,
    under,
)
from suite.stats.compare import Comparison, compare_to_reference
from suite.stats.correctness import Outcomes
from suite.stats.hits import Hits
from suite.stats.overlap import Overlaps
from suite.stats.verdict import Verdict, verdict
from suite.store.results import Results
from suite.store.schema import SEGMENTATION, TABLES, CellRecord


@dataclass(frozen=True)
class BudgetStatistics:
    """Statistics of one backbone at one budget.

    ``verdict``   whether the images can rank methods there
    ``blind``     the methods against the best blind baseline; None without both
    ``cells``     outcomes of all methods
    ``reference`` the one that the others are compared with; None if it did not run
    ``compared``  the others against it, in their order
    """

    budget: float
    verdict: Verdict
    blind: BlindComparison | None
    cells: list[Outcomes]
    reference: Outcomes | None
    compared: list[Comparison]


@dataclass(frozen=True)
class BackboneStatistics:
    """Statistics of one backbone: its dense model, finished cells of the tables, and budgets.

    ``smaller``  outcomes of the smaller models beside it, by their names, with the share of its
                 FLOPs that each saves
    """

    backbone: str
    dense: Outcomes
    records: list[CellRecord]
    budgets: list[BudgetStatistics]
    smaller: list[Outcomes] = field(default_factory=list)


def requested_methods(methods: Iterable[MethodSpec]) -> dict[str, str]:
    """Canonical texts and families of the methods that were asked for, in their order."""
    return {method.text: method.method.family for method in methods}


def compute_statistics(
    records: Sequence[CellRecord], results: Results, spec: RunSpec, requested: Mapping[str, str]
) -> list[BackboneStatistics]:
    """Compare the finished cells of each backbone that has a dense model.

    `requested` gives the family of each method that was asked for. The reference is the first of
    them that is no baseline and runs on the backbone.
    """
    statistics = []
    for backbone in spec.named:
        done = [r for r in records if r.backbone == backbone and r.status == "ok"]
        mine = [record for record in done if record.shown]
        dense = outcomes_at(mine, results, None)
        # A backbone whose dense cell failed has nothing that its methods could lose.
        if not dense:
            continue
        budgets = sorted({record.budget for record in mine if record.budget})
        statistics.append(
            BackboneStatistics(
                backbone,
                dense[0],
                mine,
                [
                    _at_budget(done, dense[0], budget, results, spec, requested)
                    for budget in budgets
                ],
                smaller_beside(backbone, records, results),
            )
        )
    return statistics


def smaller_beside(
    backbone: str, records: Iterable[CellRecord], results: Results
) -> list[Outcomes]:
    """Correctness of the smaller models that stand beside a backbone, called by their names."""
    found = []
    for record in records:
        if record.status == "ok" and backbone in record.beside:
            (outcomes,) = outcomes_at([record], results, None)
            share = record.beside[backbone]
            found.append(outcomes.called(record.backbone, share))
    return found


def _at_budget(
    records: Sequence[CellRecord],
    dense: Outcomes,
    budget: float,
    results: Results,
    spec: RunSpec,
    requested: Mapping[str, str],
) -> BudgetStatistics:
    shown = [record for record in records if record.shown]
    cells = outcomes_at(shown, results, budget)
    # Under all settings that ran, also those that no table shows; by equal counts of tokens the
    # work is another.
    matched = [record for record in records if record.blind and record.role != "tokens"]
    blind = in_order(at_settings(matched, results, budget))
    choosing = at_settings([record for record in shown if record.chooses], results, budget)
    reference = reference_of(cells, shown, requested, spec.protocol)
    named = []
    for one in blind:
        label = under(one.outcomes.label, one.setting)
        named.append(one.outcomes.called(label, one.outcomes.removed))
    return BudgetStatistics(
        budget=budget,
        # What blind removal loses says whether a choice of tokens can matter at this budget.
        verdict=verdict(dense, named, budget),
        blind=compare_to_blind(records[0].backbone, budget, blind, choosing),
        cells=cells,
        reference=reference,
        compared=compare_to_reference(reference, cells) if reference else [],
    )


def at_settings(records: Iterable[CellRecord], results: Results, budget: float) -> list[AtSetting]:
    """Correctness of every method under every setting at one budget, its seeds together."""
    groups: dict[tuple[Any, ...], list[CellRecord]] = {}
    for record in records:
        if record.budget == budget:
            # Under one setting it may stand at another method's sites, too.
            method = MethodSpec(record.method, record.options).untuned
            key = method, record.setting, record.label, tuple(record.removals)
            groups.setdefault(key, []).append(record)
    found = []
    for (name, setting, *_), seeds in groups.items():
        (outcomes,) = outcomes_at(seeds, results, budget)
        found.append(AtSetting(name, setting, outcomes))
    return found


def outcomes_at(
    records: Iterable[CellRecord], results: Results, budget: float | None
) -> list[Outcomes]:
    """Correctness of every method at one budget, its seeds together; None is the dense model."""
    by_label: dict[str, list[CellRecord]] = {}
    for record in records:
        if record.budget == budget:
            by_label.setdefault(record.label, []).append(record)
    return [outcomes_of(label, seeds, results) for label, seeds in by_label.items()]


def outcomes_of(label: str, seeds: Sequence[CellRecord], results: Results) -> Outcomes:
    """Outcomes in the cells of one method, one a seed."""
    first = seeds[0]
    place = first.removed_share, first.kind, first.coarse
    # All seeds see the same images in the same order, so they stack to (S, n, ...).
    if first.task == SEGMENTATION.name:
        found = [results.pixels(record.key) for record in seeds]
        pixels = np.stack([of_seed for _, of_seed in found])
        return Overlaps(label, pixels, found[0][0], *place)
    hits = [results.hits(record.key) for record in seeds]
    correct = np.stack([right for _, right in hits])
    return Hits(label, correct, hits[0][0], *place)


def reference_of(
    cells: Sequence[Outcomes],
    records: Sequence[CellRecord],
    requested: Mapping[str, str],
    protocol: str,
) -> Outcomes | None:
    """Outcomes of the first requested method that is no baseline, or of the first, if it ran.

    A method that ran nowhere in `records`, those of one backbone, is skipped: there the next one is
    the reference.
    """
    labels = {record.spec: record.label for record in records}
    specs = [spec for spec in requested if spec != DENSE.text]
    methods = [spec for spec in specs if requested[spec] != "baseline"]
    if protocol == "paper":
        # The budget is that of a published method, with which those matched to it are compared.
        published = {record.spec for record in records if record.protocol == "paper"}
        candidates = [labels[spec] for spec in specs if spec in published]
    else:
        candidates = [labels[spec] for spec in methods or specs if spec in labels][:1]
    by_label = {cell.label: cell for cell in cells}
    # If the first was asked for but did not run at this budget there is no reference: another one
    # would silently change what every row is compared with.
    return next((by_label[label] for label in candidates if label in by_label), None)


def statistics_tables(statistics: Iterable[BackboneStatistics]) -> dict[str, pd.DataFrame]:
    """The tables ``statistics`` and ``blind_comparison``."""
    rows, blind = [], []
    for part in statistics:
        rows.append(accuracy_row(part.dense, part.backbone, None, part.dense.label))
        rows += [accuracy_row(cell, part.backbone, None, None) for cell in part.smaller]
        for at in part.budgets:
            if at.blind:
                blind.append(at.blind)
            if at.reference is None:
                rows += [accuracy_row(cell, part.backbone, at.budget, None) for cell in at.cells]
                continue
            label = at.reference.label
            rows.append(accuracy_row(at.reference, part.backbone, at.budget, label))
            cells = {cell.label: cell for cell in at.cells}
            for row in at.compared:
                single = accuracy_row(cells[row.label], part.backbone, at.budget, label)
                rows.append(single | difference_columns(row))
    frame = pd.DataFrame(rows, columns=list(TABLES["statistics"].columns))
    return {
        # Three values: a method of other work was not tested.
        "statistics": frame.astype({"significant": "boolean"}),
        "blind_comparison": blind_table(blind),
    }


def accuracy_row(
    cell: Outcomes, backbone: str, budget: float | None, reference: str | None
) -> dict[str, Any]:
    """Accuracy of a method with its own interval."""
    low, high = cell.interval()
    return {
        "backbone": backbone,
        "budget": budget,
        "label": cell.label,
        "reference": reference,
        "top1": cell.accuracy,
        "top1_low": low,
        "top1_high": high,
        "seeds": cell.seeds,
        "images": cell.count,
        "significant": None,
    }


def difference_columns(row: Comparison) -> dict[str, Any]:
    """Difference from the reference with its interval and tests."""
    return {
        "difference": row.difference,
        "difference_low": row.difference_low,
        "difference_high": row.difference_high,
        "p": row.p,
        "p_holm": row.p_holm,
        "significant": row.significant,
        "comparisons": row.comparisons,
        "only_method_correct": row.only_method_correct,
        "only_reference_correct": row.only_reference_correct,
    }

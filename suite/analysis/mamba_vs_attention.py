"""Mamba beside attention: the share of its dense accuracy that each backbone keeps.

Only methods that ran on all backbones are compared, each at the same share of the backbone's own
FLOPs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import pandas as pd

from backbones.base import Backbone
from suite.analysis.statistics import outcomes_at
from suite.stats.correctness import Outcomes
from suite.stats.relative import Pair, difference_spread, kept, kept_spread
from suite.store.results import Results
from suite.store.schema import SAME, TABLES, CellRecord

ATTENTION, SCANS, OTHER = "attention", "Mamba", "another mixer"


def mixer_of(model: Backbone) -> str:
    """What mixes the tokens of a backbone."""
    shape = model.describe()
    if shape.work:
        return OTHER
    return ATTENTION if shape.transforms else SCANS


def mamba_vs_attention_tables(
    mixers: Mapping[str, str], records: Sequence[CellRecord], results: Results
) -> dict[str, pd.DataFrame]:
    """The tables ``mamba_vs_attention`` and ``mamba_minus_attention``.

    `mixers` gives `mixer_of` each backbone. Empty unless there are both kinds and a method that ran
    on all backbones.
    """
    mixers = {name: mixer for name, mixer in mixers.items() if mixer != OTHER}
    if len(set(mixers.values())) < 2:
        return {}
    done, dense = {}, {}
    for name in mixers:
        mine = [r for r in records if r.backbone == name and r.shown]
        done[name] = [record for record in mine if record.status == "ok"]
        whole = outcomes_at(done[name], results, None)
        # Without its dense model a backbone has no accuracy to keep a share of.
        if not whole:
            return {}
        dense[name] = whole[0]
    rows, contrasts = [], []
    for method, budget, outcomes in _shared(done, results):
        pairs = {name: (dense[name], outcomes[name]) for name in mixers}
        for name, mixer in mixers.items():
            row = {"backbone": name, "mixer": mixer, "method": method, "budget": budget}
            rows.append(row | _kept_columns(dense[name], outcomes[name], pairs[name]))
        for one, other in product(mixers, mixers):
            if (mixers[one], mixers[other]) == (SCANS, ATTENTION):
                # Both backbones saw the same images: paired draws give a narrower interval.
                spread = difference_spread(pairs[one], pairs[other])
                contrasts.append(
                    {
                        "method": method,
                        "budget": budget,
                        "backbone": one,
                        "against": other,
                        "difference": kept(pairs[one]) - kept(pairs[other]),
                        "difference_low": spread.low,
                        "difference_high": spread.high,
                    }
                )
    if not rows:
        return {}
    tables = {"mamba_vs_attention": rows, "mamba_minus_attention": contrasts}
    return {
        name: pd.DataFrame(of_table, columns=list(TABLES[name].columns))
        for name, of_table in tables.items()
    }


def _shared(
    done: Mapping[str, Sequence[CellRecord]], results: Results
) -> Iterator[tuple[str, float, dict[str, Outcomes]]]:
    """Spec, budget and outcomes by backbone of the reductions that ran on all backbones.

    A cell counts under every spec that comes to it, which may differ between backbones.
    """
    reducing = {}
    budgets: set[float] = set()
    for name, records in done.items():
        # A smaller image and the oracle have no composition: neither reduces a token sequence.
        reducing[name] = [record for record in records if record.composition]
        budgets |= {record.budget for record in reducing[name] if record.budget}
    for budget in sorted(budgets):
        by_spec: dict[str, dict[str, Outcomes]] = {}
        for name, records in reducing.items():
            by_spec[name] = {}
            for cell in outcomes_at(records, results, budget):
                by_spec[name] |= dict.fromkeys(cell.label.split(SAME), cell)
        # A method that ran on some backbones only would compare different sets of methods.
        first, *others = by_spec.values()
        for spec in first:
            if all(spec in other for other in others):
                yield spec, budget, {name: cells[spec] for name, cells in by_spec.items()}


def _kept_columns(dense: Outcomes, reduced: Outcomes, pair: Pair) -> dict[str, Any]:
    spread = kept_spread(pair)
    return {
        "removed": reduced.removed,
        "images": reduced.count,
        "seeds": reduced.seeds,
        "dense_top1": dense.accuracy,
        "kept": kept(pair),
        "kept_low": spread.low,
        "kept_high": spread.high,
    }

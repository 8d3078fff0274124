"""Mamba beside attention: what share of its dense accuracy each backbone keeps under the same reduction.

Only methods that ran on all backbones are set side by side, each at the same share of the
backbone's own FLOPs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from backbones.base import Backbone
from suite.analysis.statistics import Records, read
from suite.plan.cells import SAME
from suite.stats import Outcomes, difference_spread, kept, kept_spread
from suite.stats.relative import Pair
from suite.store.run_folder import Store

ATTENTION, SCANS = "attention", "Mamba"
KEPT = [
    "backbone",
    "mixer",
    "method",
    "budget",
    "removed",
    "images",
    "seeds",
    "dense_top1",
    "kept",
    "kept_low",
    "kept_high",
]
CONTRASTS = [
    "method",
    "budget",
    "backbone",
    "against",
    "difference",
    "difference_low",
    "difference_high",
]


def family(model: Backbone) -> str:
    """What mixes the tokens of a backbone."""
    return ATTENTION if model.describe().heads else SCANS


def family_frames(
    kinds: Mapping[str, str], records: Records, store: Store, slices: int
) -> dict[str, pd.DataFrame]:
    """``mamba_vs_attention`` by backbone, method and budget; ``mamba_minus_attention`` by method, budget and pair of families.

    `kinds` is the `family` of each backbone. Nothing unless there are both and a method that ran on
    all.
    """
    if len(set(kinds.values())) < 2:
        return {}
    done = {
        name: [
            record for record in records if record["backbone"] == name and record["status"] == "ok"
        ]
        for name in kinds
    }
    dense = {
        name: found[0] for name, mine in done.items() if (found := read(store, mine, slices, None))
    }
    if dense.keys() != kinds.keys():
        return {}
    shared = list(_shared(done, store, slices))
    rows = [
        _kept_row(name, kinds[name], dense[name], *place, found[name])
        for place, found in shared
        for name in kinds
    ]
    contrasts = [
        _contrast_row(one, other, dense, *place, found)
        for place, found in shared
        for one, other in product(kinds, kinds)
        if (kinds[one], kinds[other]) == (SCANS, ATTENTION)
    ]
    frames = {"mamba_vs_attention": pd.DataFrame(rows, columns=KEPT)}
    return (
        frames | {"mamba_minus_attention": pd.DataFrame(contrasts, columns=CONTRASTS)}
        if rows
        else {}
    )


def _shared(
    done: dict[str, Records], store: Store, slices: int
) -> Iterator[tuple[tuple[str, float], dict[str, Outcomes]]]:
    """((method text, budget), outcomes by backbone) of all reductions that ran on all backbones, in the run's order.

    A cell answers to every text that means its composition, which may differ from one backbone to
    another.
    """
    reducing = {
        name: [record for record in mine if record["composition"]] for name, mine in done.items()
    }
    budgets = sorted(
        {record["budget"] for mine in reducing.values() for record in mine if record["budget"]}
    )
    for budget in budgets:
        by_text = {
            name: {
                text: cell
                for cell in read(store, mine, slices, budget)
                for text in cell.label.split(SAME)
            }
            for name, mine in reducing.items()
        }
        first, *others = by_text.values()
        for text in first:
            if all(text in other for other in others):
                yield (text, budget), {name: found[text] for name, found in by_text.items()}


def _pair(dense: Outcomes, reduced: Outcomes) -> Pair:
    one, other = np.argsort(dense.images), np.argsort(reduced.images)
    return dense.correct[0, one], reduced.correct[:, other]


def _kept_row(
    name: str, kind: str, dense: Outcomes, method: str, budget: float, reduced: Outcomes
) -> dict[str, Any]:
    pair = _pair(dense, reduced)
    spread = kept_spread(pair)
    values = (
        name, kind, method, budget, reduced.reduction, reduced.count, reduced.seeds, dense.accuracy, kept(pair),
        spread.low, spread.high,
    )  # fmt: skip
    return dict(zip(KEPT, values, strict=True))


def _contrast_row(
    one: str,
    other: str,
    dense: dict[str, Outcomes],
    method: str,
    budget: float,
    found: dict[str, Outcomes],
) -> dict[str, Any]:
    """How much more `one` keeps than `other`, as a difference of shares."""
    pairs = _pair(dense[one], found[one]), _pair(dense[other], found[other])
    spread = difference_spread(*pairs)
    values = (method, budget, one, other, kept(pairs[0]) - kept(pairs[1]), spread.low, spread.high)
    return dict(zip(CONTRASTS, values, strict=True))

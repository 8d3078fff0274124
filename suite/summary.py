"""What the cells of a run say when set side by side: paired statistics and the headline in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from suite.cells import DENSE
from suite.settings import RunSpec
from suite.stats import Outcomes, Setting, Verdict, compare_to_reference, headline, verdict, wilson
from suite.stats.compare import Comparison
from suite.store import Store

BLIND = ("random", "stride")
Records = list[dict[str, Any]]


def summarise(records: Records, spec: RunSpec, store: Store, slices: int) -> dict[str, Any]:
    """Write ``statistics.parquet`` and ``headline.json`` from the finished cells; returns the headline.

    The reference is the first method of the spec that is not `none`; the headline speaks of the middle budget.
    """
    rows: Records = []
    resolution: Records = []
    sentences: dict[tuple[str, float], str] = {}
    for backbone in spec.backbones:
        mine = [record for record in records if record["backbone"] == backbone and record["status"] == "ok"]
        dense = next((outcome for outcome in read(store, mine, slices, None)), None)
        if dense is None:
            continue
        rows.append(single_row(dense, backbone, None, dense.label))
        for budget in spec.budgets:
            cells = read(store, mine, slices, budget)
            judged = verdict(dense, [cell for cell in cells if cell.label in BLIND], budget)
            resolution.append(resolution_row(backbone, budget, judged))
            reference = reference_of(cells, records, spec)
            if reference is None:
                continue
            compared = compare_to_reference(reference, cells)
            rows.append(single_row(reference, backbone, budget, reference.label))
            by_label = {cell.label: cell for cell in cells}
            rows += [paired_row(row, by_label[row.label], backbone, budget) for row in compared]
            setting = Setting(backbone, spec.data, budget, dense.accuracy)
            sentences[backbone, budget] = headline(setting, judged, compared)
    found = words(spec, resolution, sentences)
    store.write_analysis("statistics", pd.DataFrame(rows))
    store.write_headline(found)
    return found


def read(store: Store, records: Records, slices: int, budget: float | None) -> list[Outcomes]:
    """Correctness of every method at one budget, its seeds together; budget None is the dense model."""
    chosen: dict[str, Records] = {}
    for record in records:
        if record["budget"] == budget:
            chosen.setdefault(record["label"], []).append(record)
    outcomes = []
    for label, cells in chosen.items():
        frames = [store.outcomes(cell["key"], slices) for cell in cells]
        correct = np.stack([(frame.prediction == frame.label).to_numpy() for frame in frames])
        removed = cells[0]["reduction_fraction"][cells[0]["convention"]]
        outcomes.append(Outcomes(label, correct, frames[0].image.to_numpy(), removed))
    return outcomes


def reference_of(cells: Sequence[Outcomes], records: Records, spec: RunSpec) -> Outcomes | None:
    """The cell of the spec's first method that reduces anything, if it ran."""
    names = {record["text"]: record["label"] for record in records}
    wanted = [names[text] for text in spec.methods if text in names and text != DENSE.text]
    return next((cell for label in wanted[:1] for cell in cells if cell.label == label), None)


def single_row(cell: Outcomes, backbone: str, budget: float | None, reference: str) -> dict[str, Any]:
    """The accuracy of a cell with its own interval."""
    low, high = wilson(round(float(cell.correct.mean(axis=0).sum())), cell.count)
    return {
        "backbone": backbone,
        "budget": budget,
        "label": cell.label,
        "reference": reference,
        "method_top1": cell.accuracy,
        "method_low": low,
        "method_high": high,
        "seeds": cell.seeds,
        "images": cell.count,
    }


def paired_row(row: Comparison, cell: Outcomes, backbone: str, budget: float) -> dict[str, Any]:
    """A cell's accuracy and its difference from the reference, both with intervals."""
    return single_row(cell, backbone, budget, row.reference) | {
        "difference": row.difference,
        "low": row.low,
        "high": row.high,
        "p": row.p,
        "p_holm": row.p_holm,
        "discordant_better": row.gained,
        "discordant_worse": row.lost,
    }


def resolution_row(backbone: str, budget: float, judged: Verdict) -> dict[str, Any]:
    """What the images can tell apart at one budget."""
    return {
        "backbone": backbone,
        "budget": budget,
        "smallest_detectable": judged.smallest,
        "ranks": judged.can_rank,
        "sentence": judged.text,
    }


def words(spec: RunSpec, resolution: Records, sentences: dict[tuple[str, float], str]) -> dict[str, Any]:
    """The headline at the middle budget of the first backbone, the other budgets as paragraphs."""
    if not sentences:
        text = "No method was compared with another: name a method beside none, at a budget it can meet."
        return {"headline": text, "resolution": resolution, "paragraphs": []}
    first = [key for key in sentences if key[0] == next(iter(sentences))[0]]
    chosen = first[len(first) // 2]
    others = [text for key, text in sentences.items() if key != chosen]
    return {"headline": sentences[chosen], "resolution": resolution, "paragraphs": others}

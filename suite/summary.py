"""What the cells of a run say when set side by side: paired statistics and the headline in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from methods.spec import parse
from suite.cells import DENSE, SAME
from suite.settings import RunSpec
from suite.stats import Outcomes, Setting, Verdict, compare_to_reference, headline, verdict, wilson
from suite.stats.compare import SAME_WORK, Comparison
from suite.store import Store

BLIND = {"random", "stride"}
STATISTICS = [
    "backbone", "budget", "label", "reference", "method_top1", "method_low", "method_high", "seeds", "images",
    "difference", "low", "high", "p", "p_holm", "discordant_better", "discordant_worse",
]  # fmt: skip
Records = list[dict[str, Any]]


def summarise(records: Records, spec: RunSpec, store: Store, slices: int) -> dict[str, Any]:
    """Write ``statistics.parquet`` and ``headline.json`` from the finished cells; returns the headline.

    The reference is the first method of the spec that is not `none`; the headline speaks of the middle budget.
    """
    rows: Records = []
    resolution: Records = []
    sentences: dict[tuple[str, float], str] = {}
    remarks: list[str] = []
    for backbone in spec.backbones:
        mine = [record for record in records if record["backbone"] == backbone and record["status"] == "ok"]
        dense = next((outcome for outcome in read(store, mine, slices, None)), None)
        if dense is None:
            continue
        rows.append(single_row(dense, backbone, None, dense.label))
        for budget in sorted({record["budget"] for record in mine if record["budget"]}):
            cells = read(store, mine, slices, budget)
            judged = verdict(dense, [cell for cell in cells if BLIND & set(cell.label.split(SAME))], budget)
            resolution.append(resolution_row(backbone, budget, judged))
            reference = reference_of(cells, mine, spec)
            if reference is None:
                rows += [single_row(cell, backbone, budget, None) for cell in cells]
                continue
            compared = compare_to_reference(reference, cells)
            rows.append(single_row(reference, backbone, budget, reference.label))
            by_label = {cell.label: cell for cell in cells}
            rows += [paired_row(row, by_label[row.label], backbone, budget) for row in compared]
            setting = Setting(backbone, spec.data, budget, dense.accuracy)
            sentences[backbone, budget] = headline(setting, judged, compared)
        smaller = smaller_image(mine, dense, spec)
        if smaller:
            remarks.append(smaller)
    found = words(spec, resolution, sentences, remarks)
    store.write_analysis("statistics", pd.DataFrame(rows, columns=STATISTICS))
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
    labels = {record["text"]: record["label"] for record in records}
    texts = [text for name in spec.methods if (text := parse(name).text) != DENSE.text]
    # under `paper` every method stands at a budget of its own
    wanted = [labels.get(text) for text in (texts if spec.protocol == "paper" else texts[:1])]
    return next((cell for label in wanted for cell in cells if cell.label == label), None)


def single_row(cell: Outcomes, backbone: str, budget: float | None, reference: str | None) -> dict[str, Any]:
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


def smaller_image(records: Records, dense: Outcomes, spec: RunSpec) -> str:
    """What the plainest way to save work does: the smaller image beside the best reduction that removes as much.

    Each size of image stands beside the best method at the largest budget that removes no more work than it.
    """
    cells = [(record["reduction_fraction"][spec.convention], record) for record in records if record["budget"]]
    small = {record["image_size"]: (share, record) for share, record in cells if record["method"] == "downsample"}
    parts = []
    for share, record in small.values():
        cheaper = [other for part, other in cells if other["method"] != "downsample" and part <= share + SAME_WORK]
        if cheaper:
            nearest = max(other["budget"] for other in cheaper)
            best = max((o for o in cheaper if o["budget"] == nearest), key=lambda other: other["metrics"]["top1"])
            removed = best["reduction_fraction"][spec.convention]
            parts.append(
                f"{_percent(record['metrics']['top1'])} top-1 at {_percent(share)} fewer FLOPs "
                f"(best method at {_percent(removed)}: {best['label']}, {_percent(best['metrics']['top1'])})"
            )
    where = f"On {records[0]['backbone']}, dense {_percent(dense.accuracy)}, the plainest saving is a smaller image"
    return f"{where}: {'; '.join(parts)}." if parts else ""


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def words(
    spec: RunSpec, resolution: Records, sentences: dict[tuple[str, float], str], remarks: list[str]
) -> dict[str, Any]:
    """The headline at the middle budget of the first backbone; remarks and the other budgets as paragraphs."""
    if not sentences:
        text = "No method was compared with another: name a method beside none, at a budget it can meet."
        return {"headline": text, "resolution": resolution, "paragraphs": []}
    first = [key for key in sentences if key[0] == next(iter(sentences))[0]]
    chosen = first[len(first) // 2]
    others = [text for key, text in sentences.items() if key != chosen]
    return {"headline": sentences[chosen], "resolution": resolution, "paragraphs": [*remarks, *others]}

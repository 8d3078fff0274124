"""What the cells of a run say when set side by side: paired statistics and the headline in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from backbones.checkpoints.published import PublishedFile
from methods.composition import Composition
from methods.spec import parse
from suite.analysis.published_accuracy import off
from suite.config.run_spec import RunSpec
from suite.plan.cells import DENSE
from suite.stats import (
    Mark,
    Outcomes,
    Setting,
    Verdict,
    against_blind,
    compare_to_reference,
    headline,
    marks_frame,
    pair,
    verdict,
    wilson,
)
from suite.stats.compare import Comparison
from suite.store.run_folder import Store

FEW = 3  # methods of which each has a sentence
TRAINED_ON = "these are images that weights are trained on (split `train`): no accuracy of this run is a test of anything."
STATISTICS = [
    "backbone", "budget", "label", "reference", "top1", "top1_low", "top1_high", "seeds", "images",
    "difference", "difference_low", "difference_high", "p", "p_holm", "significant", "only_method_correct", "only_reference_correct",
]  # fmt: skip
Records = list[dict[str, Any]]


def asked_for(spec: RunSpec) -> dict[str, str]:
    """Canonical text and family of every method that the spec names, in its order."""
    return {method.text: method.method.family for method in map(parse, spec.methods)}


def summarise(
    records: Records,
    spec: RunSpec,
    asked: Mapping[str, str],
    store: Store,
    slices: int,
    classes: int,
    published: Mapping[str, PublishedFile],
) -> tuple[dict[str, Any], list[Mark]]:
    """Write ``statistics``, ``blind`` and ``headline`` of the finished cells; headline, and who beats a blind choice.

    `asked` are the methods that were asked for (see `asked_for`), `published` is what the dense
    models are known to score on this data.

    The reference is the first method of `asked` that is not `none` and runs on the backbone; the
    headline speaks of the middle budget.
    """
    rows: Records = []
    resolution: Records = []
    sentences: dict[tuple[str, float], str] = {}
    warnings = [TRAINED_ON] if spec.split == "train" else []
    remarks: list[str] = []
    silent: list[str] = []
    marks: list[Mark] = []
    pairs: dict[tuple[str, float], list[str]] = {}
    for backbone in spec.backbones:
        mine = [
            record
            for record in records
            if record["backbone"] == backbone and record["status"] == "ok"
        ]
        dense = next((outcome for outcome in read(store, mine, slices, None)), None)
        if dense is None:
            continue
        parts = {record["label"]: composed_of(record) for record in mine}
        rows.append(single_row(dense, backbone, None, dense.label))
        row = published.get(backbone)
        doubts = (at_chance(dense, backbone, classes), off(dense, backbone, row) if row else "")
        warnings += [doubt for doubt in doubts if doubt]
        for budget in sorted({record["budget"] for record in mine if record["budget"]}):
            cells = read(store, mine, slices, budget)
            blind = [cell for cell in cells if (part := parts[cell.label]) and part.blind]
            choosing = [cell for cell in cells if (part := parts[cell.label]) and part.chooses]
            judged = verdict(dense, blind, budget)
            mark = against_blind(backbone, budget, blind, choosing)
            marks += [mark] if mark else []
            resolution.append(resolution_row(backbone, budget, judged))
            reference = reference_of(cells, mine, asked, spec.protocol)
            if reference is None:
                rows += [single_row(cell, backbone, budget, None) for cell in cells]
                continue
            compared = compare_to_reference(reference, cells)
            rows.append(single_row(reference, backbone, budget, reference.label))
            by_label = {cell.label: cell for cell in cells}
            rows += [paired_row(row, by_label[row.label], backbone, budget) for row in compared]
            setting = Setting(backbone, spec.data, budget, dense.accuracy)
            spoken = spoken_of(compared, mine, asked)
            sentences[backbone, budget] = headline(setting, judged, spoken)
            pairs[backbone, budget] = [
                pair(setting, row) for row in unspoken(spoken, compared, mine, asked)
            ]
        if not any(name == backbone for name, _ in sentences) and len(spec.backbones) > 1:
            silent.append(
                f"On {backbone} no method that was asked for ran, so none is compared with another."
            )
        smaller = smaller_image(mine, dense, spec)
        if smaller:
            remarks.append(smaller)
    found = words(resolution, sentences, pairs, silent, remarks, warnings)
    store.write_analysis(
        "statistics", pd.DataFrame(rows, columns=STATISTICS).astype({"significant": "boolean"})
    )
    store.write_analysis("blind_comparison", marks_frame(marks))
    store.write_headline(found)
    return found, marks


def composed_of(record: Mapping[str, Any]) -> Composition | None:
    """The composition of a cell, None for the dense model and what is none, such as a smaller image."""
    return Composition(**record["composition"]) if record["composition"] else None


def read(store: Store, records: Records, slices: int, budget: float | None) -> list[Outcomes]:
    """Correctness of every method at one budget, its seeds together; budget None is the dense model."""
    chosen: dict[str, Records] = {}
    for record in records:
        if record["budget"] == budget:
            chosen.setdefault(record["label"], []).append(record)
    outcomes = []
    for label, cells in chosen.items():
        answers = [store.answers(cell["key"], slices) for cell in cells]
        correct = np.stack([right for _, right in answers])
        removed = cells[0]["removed"][cells[0]["convention"]]
        outcomes.append(Outcomes(label, correct, answers[0][0], removed))
    return outcomes


def reference_of(
    cells: Sequence[Outcomes], records: Records, asked: Mapping[str, str], protocol: str
) -> Outcomes | None:
    """The cell of the first method of `asked` that is no baseline, or of its first, if it ran.

    What ran nowhere in `records`, those of one backbone, is passed over: there the next one is the
    reference. Under protocol `paper`, where every method stands at a budget of its own, the first
    that ran at this one.
    """
    by_text = {record["spec"]: record for record in records}
    texts = [text for text in asked if text != DENSE.text]
    published = [text for text in texts if asked[text] != "baseline"]
    there = [
        text for text in (texts if protocol == "paper" else published or texts) if text in by_text
    ]
    labels = [by_text[text]["label"] for text in (there if protocol == "paper" else there[:1])]
    return next((cell for label in labels for cell in cells if cell.label == label), None)


def named_of(
    compared: Sequence[Comparison], records: Records, asked: Mapping[str, str]
) -> list[Comparison]:
    """The tested rows of the methods that were asked for by name."""
    labels = {record["label"] for record in records if record["spec"] in asked}
    return [row for row in compared if row.label in labels and row.p_holm is not None]


def spoken_of(
    compared: list[Comparison], records: Records, asked: Mapping[str, str]
) -> list[Comparison]:
    """The rows the headline chooses its best other method from: those asked for by name, unless another is better."""
    named = named_of(compared, records, asked)
    best = max((row.accuracy for row in named), default=0.0)
    return (
        named
        if named and not any(row.p_holm is not None and row.accuracy > best for row in compared)
        else compared
    )


def unspoken(
    spoken: Sequence[Comparison],
    compared: Sequence[Comparison],
    records: Records,
    asked: Mapping[str, str],
) -> list[Comparison]:
    """Of a few methods asked for by name, those that are not the best of `spoken`, of which the headline speaks."""
    named = named_of(compared, records, asked)
    told = max(
        (row for row in spoken if row.p_holm is not None),
        key=lambda row: row.accuracy,
        default=None,
    )
    return (
        [row for row in named if told is None or row.label != told.label]
        if len(named) <= FEW
        else []
    )


def single_row(
    cell: Outcomes, backbone: str, budget: float | None, reference: str | None
) -> dict[str, Any]:
    """The accuracy of a cell with its own interval."""
    low, high = wilson(round(float(cell.correct.mean(axis=0).sum())), cell.count)
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


def paired_row(row: Comparison, cell: Outcomes, backbone: str, budget: float) -> dict[str, Any]:
    """A cell's accuracy and its difference from the reference, both with intervals."""
    return single_row(cell, backbone, budget, row.reference) | {
        "difference": row.difference,
        "difference_low": row.difference_low,
        "difference_high": row.difference_high,
        "p": row.p,
        "p_holm": row.p_holm,
        "significant": row.significant,
        "only_method_correct": row.only_method_correct,
        "only_reference_correct": row.only_reference_correct,
    }


def resolution_row(backbone: str, budget: float, judged: Verdict) -> dict[str, Any]:
    """What the images can tell apart at one budget."""
    return {
        "backbone": backbone,
        "budget": budget,
        "smallest_detectable": judged.smallest,
        "can_rank": judged.can_rank,
        "sentence": judged.text,
    }


def smaller_image(records: Records, dense: Outcomes, spec: RunSpec) -> str:
    """What the plainest way to save work does: each size of image beside the best reduction of the nearest budget.

    Nearest in FLOPs removed, the lower of two as near; seeds averaged. Both shares are told, since
    they differ.
    """
    cells = pd.DataFrame(
        [
            {"label": record["label"], "small": record["method"] == "downsample", "budget": record["budget"],
             "removed": record["removed"][spec.flops_convention], "top1": record["metrics"]["top1"]}
            for record in records if record["budget"]
        ]
    )  # fmt: skip
    others = (
        cells[~cells.small].groupby(["budget", "label"])[["top1", "removed"]].mean()
        if len(cells)
        else cells
    )
    if others.empty:
        return ""
    best = others.loc[others.groupby("budget").top1.idxmax()].reset_index()
    parts = []
    for _, small in cells[cells.small].drop_duplicates("removed").iterrows():
        beside = best.loc[(best.removed - small.removed).abs().idxmin()]
        parts.append(
            f"{_percent(small.top1)} top-1 at {round(100 * small.removed, 1):g} % fewer FLOPs (best token reduction, "
            f"at {round(100 * beside.removed, 1):g} %: {beside.label}, {_percent(beside.top1)})"
        )
    where = f"On {records[0]['backbone']}, dense {_percent(dense.accuracy)}, a smaller image has"
    return f"{where} {'; '.join(parts)}." if parts else ""


def at_chance(dense: Outcomes, backbone: str, classes: int) -> str:
    """A warning if the dense model is no better than guessing: then no figure of the run means anything."""
    low = wilson(round(dense.accuracy * dense.count), dense.count)[0]
    if low > 1 / classes:
        return ""
    return (
        f"{backbone} itself is right on {_percent(dense.accuracy)} of these images, no better than guessing among "
        f"{classes} classes: check that the weights belong to this data and that they were loaded."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def words(
    resolution: Records,
    sentences: dict[tuple[str, float], str],
    pairs: dict[tuple[str, float], list[str]],
    silent: list[str],
    remarks: list[str],
    warnings: list[str],
) -> dict[str, Any]:
    """The headline, at the middle budget of the first backbone, and what else is said, as paragraphs.

    First of these stand the `warnings`, then ``beside``: the other methods that were named, and the
    same on the other backbones, at the same budget or else at the middle one of theirs; and of
    which backbones nothing can be said.
    """
    if not sentences:
        text = "No method was compared with another: it takes two that run at the same budget."
        return {
            "headline": text,
            "resolution": resolution,
            "warnings": warnings,
            "beside": [],
            "paragraphs": warnings,
        }
    budgets: dict[str, list[float]] = {}
    for backbone, budget in sentences:
        budgets.setdefault(backbone, []).append(budget)
    middle = next(iter(budgets.values()))
    common = middle[len(middle) // 2]
    told = [
        (name, common if common in own else own[len(own) // 2]) for name, own in budgets.items()
    ]
    beside = [text for key in told for text in (sentences[key], *pairs[key])] + silent
    others = [text for key, text in sentences.items() if key not in told]
    return {
        "headline": beside[0],
        "resolution": resolution,
        "warnings": warnings,
        "beside": beside[1:],
        "paragraphs": [*warnings, *beside[1:], *remarks, *others],
    }

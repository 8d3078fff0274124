"""Tables of a retraining: each method with its weights as they came, and retrained under it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from suite.analysis.statistics import outcomes_of
from suite.plan.cells import DENSE
from suite.plan.prepare import Prepared
from suite.retrain.files import Finished
from suite.stats.correctness import Outcomes
from suite.stats.hits import Hits, aligned
from suite.stats.recovery import won_back
from suite.store.results import Results
from suite.store.schema import TABLES, CellRecord

# Cells of all seeds by backbone, label and budget.
Place = tuple[str, str, float | None]


def retraining_tables(
    finished: Mapping[str, Finished],
    prepared: Prepared,
    records: Sequence[CellRecord],
    results: Results,
) -> dict[str, pd.DataFrame]:
    """The tables of a retraining, which a run stores beside those of every comparison."""
    cells = by_place(records)
    controls: dict[str, Place] = {}
    for place, seeds in cells.items():
        trained = seeds[0].retrained
        # Trained under no budget is how a control is told.
        if trained and not trained.budgets:
            controls[trained.backbone] = place
    rows = []
    for (name, label, budget), seeds in cells.items():
        trained = seeds[0].retrained
        # Of weights trained under a reduction the whole model is a figure of its rows.
        if trained is None or (budget is None and trained.budgets):
            continue
        places = {
            "dense": (trained.backbone, DENSE.label, None),
            "before": (trained.backbone, label, budget),
            "after": (name, label, budget),
            "whole": (name, DENSE.label, None),
            "control": controls.get(trained.backbone),
        }
        found: dict[str, Outcomes] = {}
        for what, at in places.items():
            if at in cells:
                found[what] = outcomes_of(label, cells[at], results)
        # A cell that failed takes with it the rows that it is compared in.
        if len(found) == len(places):
            rows.append(row_of(seeds[0], found))
    columns = list(TABLES["retrained"].columns)
    return {
        "retrained": pd.DataFrame(rows, columns=columns),
        "retraining_curve": curve_table(finished),
        "retraining_rates": rates_table(finished),
    }


def by_place(records: Iterable[CellRecord]) -> dict[Place, list[CellRecord]]:
    """The finished cells of methods that were asked for, and of retrained weights."""
    cells: dict[Place, list[CellRecord]] = {}
    for record in records:
        if record.status == "ok" and record.role in ("asked", "retrained"):
            place = record.backbone, record.label, record.budget
            cells.setdefault(place, []).append(record)
    return cells


def row_of(record: CellRecord, found: Mapping[str, Outcomes]) -> dict[str, Any]:
    """The row of a method at one budget, or of the control, from outcomes on the same images."""
    trained = record.retrained
    assert trained is not None
    dense, before, after, control = (
        found[what] for what in ("dense", "before", "after", "control")
    )
    low, high = after.interval()
    row: dict[str, Any] = {
        "backbone": trained.backbone,
        "budget": record.budget,
        "label": record.label,
        "dense_top1": dense.accuracy,
        "top1_before": before.accuracy,
        "top1": after.accuracy,
        "top1_low": low,
        "top1_high": high,
        "whole_top1": found["whole"].accuracy,
        "control_top1": control.accuracy,
        "images": after.count,
        "seeds": after.seeds,
        "trained_images": trained.images,
        "trained_budgets": ", ".join(map(str, trained.budgets)),
        "training": trained.name,
    }
    row |= difference("difference", after, before)
    row["interval"] = after.paired(before).spread().kind
    if record.budget is not None:
        row |= difference("behind", control, after)
        assert isinstance(dense, Hits)
        assert isinstance(before, Hits)
        assert isinstance(after, Hits)
        hits = aligned(before, after)
        # The dense model has no chance in it: its only seed.
        share = won_back(aligned(dense, before)[0][0], *hits)
        if share is not None:
            row |= {"won_back": share[0]}
            row |= {"won_back_low": share[1].low, "won_back_high": share[1].high}
    return row


def difference(name: str, one: Outcomes, other: Outcomes) -> dict[str, float]:
    """Top-1 of one less that of the other, with its paired interval."""
    spread = one.paired(other).spread()
    value = one.accuracy - other.accuracy
    return {name: value, f"{name}_low": spread.low, f"{name}_high": spread.high}


def curve_table(finished: Mapping[str, Finished]) -> pd.DataFrame:
    """Loss and top-1 on the training images, by training and epoch."""
    rows = []
    for name, one in finished.items():
        for epoch, (loss, top1) in enumerate(one.curve, start=1):
            rows.append({"training": name, "epoch": epoch, "loss": loss, "trained_top1": top1})
    return pd.DataFrame(rows, columns=list(TABLES["retraining_curve"].columns))


def rates_table(finished: Mapping[str, Finished]) -> pd.DataFrame:
    """What the held-out images say of each learning rate, by training; empty of a single rate."""
    rows = []
    for name, one in finished.items():
        for tried in one.tried:
            rows.append(
                {
                    "training": name,
                    "learning_rate": tried.learning_rate,
                    "held_out_loss": tried.loss,
                    "held_out_top1": tried.top1,
                    "held_out_images": tried.images,
                    "picked": tried.learning_rate == one.retrained.learning_rate,
                }
            )
    return pd.DataFrame(rows, columns=list(TABLES["retraining_rates"].columns))

"""Unite the cells of several comparisons, each cell once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from backbones.common.errors import UserError
from suite.merge.compatibility import explain_difference, refuse_other_images
from suite.merge.finished_run import FinishedRun
from suite.plan.cells import BASELINES
from suite.store.schema import SAME, CellRecord

FLOATS = ["loss", "margin", "kl", "tau"]
ANSWERS = ["prediction", "top5", "agree"]
CUDA_TOLERANCE = 1e-3  # of losses, margins and divergences: what the order of sums changes there
PREFERENCE = ("ok", "failed", "skipped")  # of two records of one cell


@dataclass
class Union:
    """The cells of several runs by key.

    ``source``  the run that each is from
    ``labels``  what it is called there
    ``notes``   what a reader should know
    """

    cells: dict[str, CellRecord] = field(default_factory=dict)
    source: dict[str, FinishedRun] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    _by_spec: dict[tuple[str, str, float | None, int], str] = field(default_factory=dict)

    def add(self, record: CellRecord, run: FinishedRun, schedule: str) -> None:
        """Add a cell of `run`; one that is there already counts once.

        Methods of another schedule than `schedule` are named with theirs. UserError if the two have
        different results.
        """
        specs = self._specs(record, run.comparison.schedule, schedule)
        # Keys differ after a change of code that may have changed no result.
        places = [(record.backbone, spec, record.budget, record.seed) for spec in specs]
        twins = [self._by_spec[place] for place in places if place in self._by_spec]
        twin = record.key if record.key in self.cells else next(iter(twins), None)
        key = record.key
        if twin is not None:
            other = self.cells[twin]
            specs = list(dict.fromkeys([*other.label.split(SAME), *specs]))
            if other.status == record.status == "ok":
                self._compare(other, record, run)
            if PREFERENCE.index(record.status) < PREFERENCE.index(other.status):
                for by_key in (self.cells, self.source, self.labels):
                    by_key.pop(twin)
            else:
                key = twin
        if key not in self.cells:
            self.cells[key] = record.model_copy(update={"run": run.name, "spec": specs[0]})
            self.source[key], self.labels[key] = run, record.label
        self.cells[key] = self.cells[key].model_copy(update={"label": SAME.join(specs)})
        for spec in specs:
            self._by_spec[record.backbone, spec, record.budget, record.seed] = key

    def _specs(self, record: CellRecord, own: str, schedule: str) -> list[str]:
        """The specs of a cell, with its run's `own` schedule if that is not `schedule`."""
        specs = record.label.split(SAME)
        scheduled = record.budget and record.method != "downsample"
        if own == schedule or not scheduled:
            return specs
        # Both schedules may come to the same cell, which has its name already.
        twin = self.cells.get(record.key)
        if twin is not None and not set(specs).isdisjoint(twin.label.split(SAME)):
            return specs
        return [spec if "@" in spec else f"{spec}@{own}" for spec in specs]

    def _compare(self, known: CellRecord, record: CellRecord, run: FinishedRun) -> None:
        """UserError if two results of one cell differ; flips of near ties on CUDA are noted."""
        first = self.source[known.key]
        one, two = first.outcomes(known), run.outcomes(record)
        different, flips = unlike_images(one, two, exact=not run.on_cuda)
        budget = "dense" if record.budget is None else f"at {100 * record.budget:.4g} %"
        cell = f"{record.spec} on {record.backbone} {budget}"
        if different:
            raise UserError(
                f"'{first.name}' and '{run.name}' contradict each other: {cell} came out otherwise "
                f"on {different} of {len(one)} images; they differ in "
                f"{explain_difference(first, run)}"
            )
        if flips:
            self.notes.append(
                f"{cell} is in {first.name} and {run.name}; {flips} of {len(one)} answers, all "
                f"near ties, differ between the two: those of {first.name} are shown."
            )


def unlike_images(one: pd.DataFrame, two: pd.DataFrame, exact: bool) -> tuple[int, int]:
    """Count the images on which two outcomes of a cell differ, and those with another answer only.

    Both are of the same images in the same order. Unless `exact`, floats within `CUDA_TOLERANCE`
    count as equal, and an answer may differ with them.
    """
    near = np.ones(len(one), dtype=bool)
    for name in FLOATS:
        near &= _near(one[name].to_numpy(), two[name].to_numpy(), 0 if exact else CUDA_TOLERANCE)
    same = near & (one.label_true == two.label_true).to_numpy()
    answers = (one[ANSWERS] == two[ANSWERS]).all(axis=1).to_numpy()
    if exact:
        same &= answers
    return int((~same).sum()), int((same & ~answers).sum())


def _near(one: NDArray[Any], two: NDArray[Any], tolerance: float) -> NDArray[np.bool_]:
    return np.isclose(one, two, rtol=0, atol=tolerance, equal_nan=True)


def unite(runs: Sequence[FinishedRun]) -> Union:
    """Unite the cells of comparisons on one data set, in the order in which one run has them.

    UserError if they have different images, or contradict each other.
    """
    union = Union()
    methods: list[str] = []
    backbones: list[str] = []
    for run in runs:
        refuse_other_images(runs[0], run)
        methods += run.comparison.methods
        backbones += run.comparison.backbones
        for record in in_order(run.records, run.comparison.methods, run.comparison.backbones):
            union.add(record, run, runs[0].comparison.schedule)
    ordered = in_order(list(union.cells.values()), methods, backbones)
    union.cells = {record.key: record for record in ordered}
    return union


def in_order(
    records: Sequence[CellRecord], methods: Sequence[str], backbones: Sequence[str]
) -> list[CellRecord]:
    """Sort cells as a run lays them out: by backbone, dense, then by method, budget and seed.

    `methods` are the specs as users wrote them; baselines that are not among them come last.
    """
    # Parsing a spec could run a user's file; a merge only compares texts.
    named = list(dict.fromkeys(re.sub(r"\s", "", text) for text in methods))
    known = [*named, *(name for name in BASELINES if name not in named)]
    places = {name: place for place, name in reversed(list(enumerate(backbones)))}

    def position(record: CellRecord) -> tuple[int, bool, bool, int, str, float, int]:
        spec = record.spec if record.spec in known else record.spec.partition("@")[0]
        name = spec if spec in known else record.method  # a setting of an ablation
        return (
            places.get(record.backbone, len(places)),
            record.budget is not None,
            record.family == "baseline" and name not in named,
            known.index(name) if name in known else len(named),
            record.spec,
            record.budget or 0.0,
            record.seed,
        )

    return sorted(records, key=position)

"""Unite the cells of several comparisons, each cell once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from backbones.common.errors import UserError
from suite.merge.compatibility import refuse_other_images
from suite.merge.finished_run import FinishedRun
from suite.plan.cells import BASELINES, DENSE
from suite.store.schema import SAME, CellRecord

Place = tuple[str, str, float | None, int]  # backbone, spec of a method, budget and seed


@dataclass
class Union:
    """The cells of several runs by key.

    ``source``  the run that each is from
    ``labels``  what it is called there
    """

    cells: dict[str, CellRecord] = field(default_factory=dict)
    source: dict[str, FinishedRun] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    _keys: dict[Place, str] = field(default_factory=dict)

    def add(self, record: CellRecord, run: FinishedRun, schedule: str) -> None:
        """Add a cell of `run`; one that is there already counts once.

        Methods of another schedule than `schedule` are named with theirs. UserError if changed code
        gave the cell other results.
        """
        specs, label = self._specs(record, run.comparison.schedule, schedule), record.label
        # Keys are hashes of all that a result depends on, the code included.
        key = record.key
        for spec in specs:
            place = record.backbone, spec, record.budget, record.seed
            key = key if key in self.cells else self._keys.get(place, key)
        if key in self.cells:
            known, source = self.cells.pop(key), self.source[key]
            specs = list(dict.fromkeys([*known.label.split(SAME), *specs]))
            if key != record.key and known.status == record.status == "ok":
                refuse_other_results(known, source, record, run)
            if known.status == "ok" or record.status != "ok":
                record, run, label = known, source, self.labels[key]
        changes = {"run": run.name, "spec": specs[0], "label": SAME.join(specs)}
        self.cells[record.key] = record.model_copy(update=changes)
        self.source[record.key], self.labels[record.key] = run, label
        for spec in specs:
            self._keys[record.backbone, spec, record.budget, record.seed] = record.key

    def _specs(self, record: CellRecord, own: str, schedule: str) -> list[str]:
        """The specs of a cell, with its run's `own` schedule if that is not `schedule`."""
        specs = record.label.split(SAME)
        # A published cell has its paper's own schedule.
        scheduled = record.budget and record.method != "downsample" and record.protocol != "paper"
        if own == schedule or not scheduled:
            return specs
        # Both schedules may come to the same cell, which has its name already.
        known = self.cells.get(record.key)
        if known is not None and not set(specs).isdisjoint(known.label.split(SAME)):
            return specs
        return [spec if "@" in spec else f"{spec}@{own}" for spec in specs]


def refuse_other_results(
    one: CellRecord, first: FinishedRun, other: CellRecord, run: FinishedRun
) -> None:
    """UserError if one cell has different outcomes in two runs of different code."""
    outcomes = first.outcomes(one)  # read and verified once
    # NaN differs from itself. On a GPU the last digits of sums, and near ties with them, may vary.
    differs = (outcomes != run.outcomes(other)) & outcomes.notna()
    images = int(differs.any(axis=1).sum())
    if images and not run.on_cuda:
        budget = "dense" if one.budget is None else f"at {100 * one.budget:.4g} %"
        raise UserError(
            f"'{first.name}' and '{run.name}' contradict each other: {one.spec} on {one.backbone} "
            f"{budget} came out otherwise on {images} of {len(differs)} images, by other code: run "
            "both again"
        )


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
        for record in run.records:
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
            record.method != DENSE.name,
            record.family == "baseline" and name not in named,
            known.index(name) if name in known else len(named),
            record.spec,
            record.budget or 0.0,
            record.seed,
        )

    return sorted(records, key=position)

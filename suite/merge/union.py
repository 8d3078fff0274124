"""Unite the cells of several comparisons, each cell once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from backbones.common.errors import UserError
from backbones.common.naming import with_settings
from suite.merge.compatibility import refuse_other_images
from suite.merge.finished_run import FinishedRun
from suite.plan.cells import BASELINES, DENSE
from suite.store.results import differing
from suite.store.schema import SAME, CellRecord, Role

Setting = tuple[str | None, int | None]  # schedule and window
# Backbone, spec of a method, its setting and protocol, budget and seed.
Place = tuple[str, str, Setting, str, float | None, int]


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
    _settings: dict[tuple[str, str], Setting] = field(default_factory=dict)

    def add(self, record: CellRecord, run: FinishedRun, schedule: str) -> None:
        """Add a cell of `run`; one that is there already counts once.

        Methods of another schedule than `schedule`, or tuned to another setting in an earlier run,
        are named with theirs. UserError if changed code gave the cell other results.
        """
        specs, label = self._specs(record, run.comparison.schedule, schedule), record.label
        # Keys are hashes of all that a result depends on, the code included.
        key, role, beside = record.key, record.role, record.beside
        for spec in specs:
            key = key if key in self.cells else self._keys.get(place_of(record, spec), key)
        if key in self.cells:
            known, source = self.cells.pop(key), self.source[key]
            # A backbone of one run may stand beside that of another.
            specs, role = both_names(known, record, specs)
            beside = {**known.beside, **beside}
            if key != record.key and known.status == record.status == "ok":
                refuse_other_results(known, source, record, run)
            # A run that shows the cell has tables of its tokens, too.
            if (known.status == "ok", known.shown) >= (record.status == "ok", record.shown):
                record, run, label = known, source, self.labels[key]
        changes = {
            "run": run.name,
            "spec": specs[0],
            "label": SAME.join(specs),
            "role": role,
            "beside": beside,
        }
        self.cells[record.key] = record.model_copy(update=changes)
        self.source[record.key], self.labels[record.key] = run, label
        for spec in specs:
            self._keys[place_of(record, spec)] = record.key

    def _specs(self, record: CellRecord, own: str, schedule: str) -> list[str]:
        """The specs of a cell, with its setting if another run has others."""
        specs = record.label.split(SAME)
        if record.schedule is None or not record.shown:
            return specs
        here = record.schedule, record.cls_window
        first = self._settings.setdefault((record.backbone, specs[0]), here)
        if own == schedule and here == first:
            return specs
        # Both schedules may come to the same cell, which has its name already.
        known = self.cells.get(record.key)
        if known is not None and not set(specs).isdisjoint(known.label.split(SAME)):
            return specs
        named = []
        for spec in specs:
            if here[1] != first[1] and here[1] is not None and "@" not in spec:
                spec = with_settings(spec, cls_window=here[1])
            named.append(spec if "@" in spec else f"{spec}@{here[0]}")
        return named


def place_of(record: CellRecord, spec: str) -> Place:
    """What tells a cell under `spec` from others, but for the code."""
    setting = record.schedule, record.cls_window
    return record.backbone, spec, setting, record.protocol, record.budget, record.seed


def both_names(known: CellRecord, record: CellRecord, specs: list[str]) -> tuple[list[str], Role]:
    """The specs and the role of a cell of two runs, in the second under `specs`.

    What is in no main table lends no name to a cell that is.
    """
    if known.shown and record.shown:
        return list(dict.fromkeys([*known.label.split(SAME), *specs])), known.role
    if record.shown:
        return specs, record.role
    return known.label.split(SAME), known.role


def refuse_other_results(
    one: CellRecord, first: FinishedRun, other: CellRecord, run: FinishedRun
) -> None:
    """UserError if one cell has different outcomes in two runs of different code."""
    outcomes = first.outcomes(one)  # read and verified once
    differs = differing(outcomes, run.outcomes(other), list(outcomes))
    images = int(differs.sum())
    # On a GPU the last digits of sums, and near ties with them, may vary.
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
        backbones += run.comparison.named
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

    def position(record: CellRecord) -> tuple[int, bool, bool, bool, int, str, float, int]:
        spec = record.spec if record.spec in known else record.spec.partition("@")[0]
        name = spec if spec in known else record.method  # a setting of an ablation
        return (
            places.get(record.backbone, len(places)),
            record.method != DENSE.name,
            not record.shown,
            record.family == "baseline" and name not in named,
            known.index(name) if name in known else len(named),
            record.spec,
            record.budget or 0.0,
            record.seed,
        )

    return sorted(records, key=position)

"""What was found of each method at each budget: its outcomes before and after training."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from suite.analysis.statistics import outcomes_of
from suite.plan.cells import DENSE
from suite.stats.hits import Hits
from suite.store.results import Results
from suite.store.schema import CellRecord, Retrained

# Cells of all seeds by backbone, label and budget.
Place = tuple[str, str, float | None]


@dataclass(frozen=True)
class Found:
    """Outcomes on the same images, over all seeds, that a row of the table ``retrained`` is of.

    ``record``   a cell of the retrained weights, and ``trained`` how they were
    ``dense``    the whole model as it came, and ``control`` trained alike
    ``before``   the method with the weights as they came
    ``after``    the method with the weights trained under it, and ``whole`` these unreduced
    ``beside``   the backbone that the control is
    """

    record: CellRecord
    trained: Retrained
    dense: Hits
    before: Hits
    after: Hits
    whole: Hits
    control: Hits
    beside: str = ""

    @property
    def budget(self) -> float | None:
        """The budget that it was tested at; None of a control."""
        return self.record.budget

    @property
    def trained_here(self) -> bool:
        """Whether the weights were trained at this budget, if not at it alone."""
        return self.budget in self.trained.budgets


def everything_found(records: Iterable[CellRecord], results: Results) -> list[Found]:
    """What a row can be made of, in the order of `records`; without what lacks a cell or control.

    Of weights trained under a reduction the whole model is a figure of its rows.
    """
    cells = by_place(records)
    found = []
    for (name, label, budget), seeds in cells.items():
        trained = seeds[0].retrained
        if trained is None or (budget is None and trained.budgets):
            continue
        places = {
            "dense": (trained.backbone, DENSE.label, None),
            "before": (trained.backbone, label, budget),
            "after": (name, label, budget),
            "whole": (name, DENSE.label, None),
            "control": control_of(trained, cells),
        }
        beside = places["control"][0] if places["control"] else ""
        outcomes: dict[str, Hits] = {}
        for what, at in places.items():
            if at in cells:
                hits = outcomes_of(label, cells[at], results)
                assert isinstance(hits, Hits)
                outcomes[what] = hits
        # A cell that failed takes with it the rows that it is compared in.
        if len(outcomes) == len(places):
            found.append(Found(seeds[0], trained, **outcomes, beside=beside))
    return found


def by_place(records: Iterable[CellRecord]) -> dict[Place, list[CellRecord]]:
    """The finished cells of methods that were asked for, and of retrained weights."""
    cells: dict[Place, list[CellRecord]] = {}
    for record in records:
        if record.status == "ok" and record.role in ("asked", "retrained"):
            place = record.backbone, record.label, record.budget
            cells.setdefault(place, []).append(record)
    return cells


def control_of(trained: Retrained, cells: dict[Place, list[CellRecord]]) -> Place | None:
    """The whole model that was trained alike, at another rate at most."""
    alike: dict[Place, Retrained] = {}
    for place, seeds in cells.items():
        control = seeds[0].retrained
        # Trained under no budget is how a control is told.
        if control and not control.budgets and price(control) == price(trained):
            alike[place] = control

    def unlike(place: Place) -> tuple[bool, bool]:
        # Of several in merged runs that of its own run, by whose name it may begin.
        run, _, _ = alike[place].name.rpartition("/")
        other = run != trained.name.rpartition("/")[0]
        return other, alike[place].learning_rate != trained.learning_rate

    return min(alike, key=unlike, default=None)


def price(trained: Retrained) -> tuple[object, ...]:
    """What trainings that are compared have in common."""
    return trained.backbone, trained.images, trained.batch, trained.distill, trained.augment


def mean_of_seeds(outcomes: Sequence[Hits]) -> NDArray[np.float64]:
    """Top-1 (k, draws) of k outcomes in images drawn with replacement, the same for all of them."""
    single = [one for several in outcomes for one in several.each_seed()]
    drawn = Hits.drawn(single)
    ends = np.cumsum([one.seeds for one in outcomes])[:-1]
    return np.stack([part.mean(axis=0) for part in np.split(drawn, ends)])

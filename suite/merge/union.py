"""The cells of several comparisons as one list, each cell once."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from backbones.common.errors import UserError
from suite.merge.compatibility import differences
from suite.merge.finished_run import Part, Record
from suite.plan.cells import SAME

Place = tuple[str, str, float | None, int]
FLOATS = ("loss", "margin", "kl", "tau")
CUDA_TOLERANCE = (
    1e-3  # of a loss, margin or divergence: what the order of sums moves there (design, section 4)
)
RANK = {"ok": 0, "failed": 1, "skipped": 2}


@dataclass
class Union:
    """The cells by key, the run that each comes from, how each was called there, and what a reader must be told."""

    cells: dict[str, Record] = field(default_factory=dict)
    source: dict[str, Part] = field(default_factory=dict)
    called: dict[str, str] = field(default_factory=dict)
    places: dict[Place, str] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)

    def add(self, part: Part, schedule: str) -> None:
        """Take in the cells of `part`; methods that follow another schedule than `schedule` are named with theirs.

        A cell that is there already counts once. UserError if the two have different results.
        """
        for record in part.records:
            key = record["key"]
            texts = record["label"].split(SAME)
            if (
                part.asked.schedule != schedule
                and _scheduled(record)
                and not self._known_as(key, texts)
            ):
                texts = [text if "@" in text else f"{text}@{part.asked.schedule}" for text in texts]
            twin = key if key in self.cells else self._twin(record, texts)
            if twin is not None:
                self._join(twin, record, part, texts)
                continue
            self._enter(record, part, texts)

    def _known_as(self, key: str, texts: Sequence[str]) -> bool:
        """Whether the cell `key` is there under one of `texts`: where both schedules come to the same."""
        return key in self.cells and not set(texts).isdisjoint(self.cells[key]["label"].split(SAME))

    def _places(self, record: Record, texts: Sequence[str]) -> list[Place]:
        return [(record["backbone"], text, record["budget"], record["seed"]) for text in texts]

    def _twin(self, record: Record, texts: Sequence[str]) -> str | None:
        found = (self.places.get(place) for place in self._places(record, texts))
        return next((key for key in found if key is not None), None)

    def _enter(self, record: Record, part: Part, texts: Sequence[str]) -> None:
        self.cells[record["key"]] = record | {
            "label": SAME.join(texts),
            "spec": texts[0],
            "run": part.name,
        }
        self.source[record["key"]], self.called[record["key"]] = part, record["label"]
        self.places.update(dict.fromkeys(self._places(record, texts), str(record["key"])))

    def _join(self, twin: str, record: Record, part: Part, texts: Sequence[str]) -> None:
        """`record` is the cell `twin` again: whichever of them finished stays, under the names of both."""
        known, first = self.cells[twin], self.source[twin]
        names = list(dict.fromkeys([*known["label"].split(SAME), *texts]))
        if known["status"] == record["status"] == "ok":
            self._compare(known, first, record, part)
        elif RANK[record["status"]] < RANK[known["status"]]:
            for held in (self.cells, self.source, self.called):
                held.pop(twin)
            self._enter(record, part, names)
            return
        self.cells[twin] |= {"label": SAME.join(names)}
        self.places.update(dict.fromkeys(self._places(record, names), twin))

    def _compare(self, known: Record, first: Part, record: Record, part: Part) -> None:
        """UserError if the two outcomes are not those of one cell; on CUDA flips of near ties are told."""
        one, two = first.outcomes(known["key"]), part.outcomes(record["key"])
        exact = not str(part.environment.get("device")).startswith("cuda")
        unlike, flips = unlike_images(one, two, exact)
        share = "dense" if record["budget"] is None else f"at {100 * record['budget']:.4g} %"
        cell = f"{record['spec']} on {record['backbone']} {share}"
        if unlike:
            raise UserError(
                f"'{first.name}' and '{part.name}' contradict each other: {cell} came out otherwise on {unlike} of "
                f"{len(one)} images; they differ in {differences(first, part)}"
            )
        if flips:
            self.told.append(
                f"{cell} is in {first.name} and {part.name}; {flips} of {len(one)} answers, all near ties, differ "
                f"between the two: those of {first.name} are shown."
            )


def _scheduled(record: Record) -> bool:
    """Whether the cell follows the run's schedule."""
    return bool(record["budget"]) and record["method"] != "downsample"


def unlike_images(one: pd.DataFrame, two: pd.DataFrame, exact: bool) -> tuple[int, int]:
    """On how many images two outcomes of one cell contradict each other, and on how many else the answer differs.

    Both must be of the same images, in the same order. Unless `exact`, floats within
    `CUDA_TOLERANCE` are the same, and so are answers that differ where these are.
    """
    floats = np.stack(
        [_near(one[name].to_numpy(), two[name].to_numpy(), exact) for name in FLOATS]
    ).all(0)
    same = floats & (one.label_true == two.label_true).to_numpy()
    answers = (
        (one[["prediction", "top5", "agree"]] == two[["prediction", "top5", "agree"]])
        .all(axis=1)
        .to_numpy()
    )
    if exact:
        same &= answers
    return int((~same).sum()), int((same & ~answers).sum())


def _near(one: NDArray[Any], two: NDArray[Any], exact: bool) -> NDArray[np.bool_]:
    return np.isclose(one, two, rtol=0, atol=0 if exact else CUDA_TOLERANCE, equal_nan=True)


def unite(parts: Sequence[Part]) -> Union:
    """The cells of all `parts`, which are of one data set, in the order in which one run would have had them.

    UserError if they saw different images, or contradict each other.
    """
    union = Union()
    for part in parts:
        refuse_other_images(parts[0], part)
        union.add(part, parts[0].asked.schedule)
    union.cells = in_order(union.cells, {text for part in parts for text in part.asked.methods})
    return union


def in_order(cells: dict[str, Record], named: Collection[str]) -> dict[str, Record]:
    """By backbone; there the dense cell, the methods, the baselines that were not asked for by name; budget, seed."""
    texts, houses = ([cell[name] for cell in cells.values()] for name in ("spec", "backbone"))

    def place(cell: Record) -> tuple[int, bool, bool, int, float, int]:
        extra = cell["family"] == "baseline" and cell["spec"] not in named
        dense = cell["budget"] is None
        return (
            houses.index(cell["backbone"]),
            not dense,
            extra,
            texts.index(cell["spec"]),
            cell["budget"] or 0.0,
            cell["seed"],
        )

    return {cell["key"]: cell for cell in sorted(cells.values(), key=place)}


def refuse_other_images(first: Part, part: Part) -> None:
    """UserError if `part` saw other images than `first`, or with other labels."""
    if not np.array_equal(first.images, part.images):
        shared = len(np.intersect1d(first.images, part.images))
        raise UserError(
            f"'{first.name}' and '{part.name}' cannot be one report: they saw different images ({shared} of "
            f"{len(first.images)} are the same), so nothing in them can be paired"
        )
    if not first.outcomes(first.dense).label_true.equals(part.outcomes(part.dense).label_true):
        raise UserError(
            f"'{first.name}' and '{part.name}' cannot be one report: their images bear different labels"
        )

"""Adaptive counts on a budget: one alpha for all sites, by which images lose its share in the mean.

See `methods.adaptive` for the rule. Alpha is solved on images that are not evaluated, without their
labels; on those that are, the mean share removed is near the budget, and what single images lose is
a distribution. Both are of work in closed form, worked out from the counts of every image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import brentq

from backbones.base import Backbone
from backbones.common.documents import read_json
from backbones.shape import Shape
from methods.adaptive import cost
from methods.composition import Composition
from suite.config.run_spec import RunSpec
from suite.data.base import Dataset, IntArray, digest
from suite.evaluation.adaptive import run_adaptive
from suite.flops.closed_form import Flops, count, dense, total
from suite.plan.budget import TOLERANCE, BudgetUnreachable, Plan, check_allowed, finished, percent
from suite.plan.calibration import calibration, calibration_batches
from suite.plan.cells import Cell, adaptive_steps
from suite.plan.loading import Opened, weights_hash
from suite.plan.schedule import ADAPTIVE
from suite.stats.compare import SAME_WORK_COARSE
from suite.stats.correctness import counted
from suite.store.run_folder import ALPHAS
from suite.store.schema import AdaptiveCounts, Removal

DECIMALS = 4  # of an alpha
# On the images that alpha is solved on: a tenth of what two cells of equal work may differ by.
NEAR = SAME_WORK_COARSE / 10
PERCENTILES = (0, 5, 25, 50, 75, 95, 100)


@dataclass(frozen=True)
class Alpha:
    """An alpha, the images that it was solved on, and the tokens each loses at each site.

    ``split``    split of the images; ``content`` is a hash of what these hold
    ``removed``  tokens by image and site
    """

    alpha: float
    split: str
    content: str
    removed: tuple[tuple[int, ...], ...]

    def record(self) -> dict[str, Any]:
        """Plain values, a line of text for each image."""
        rows = [" ".join(map(str, row)) for row in self.removed]
        return {**asdict(self), "removed": rows}

    @property
    def counts(self) -> AdaptiveCounts:
        """What a cell's plan knows of it."""
        images = len(self.removed)
        return AdaptiveCounts(
            alpha=self.alpha, images=images, split=self.split, content=self.content
        )


class Alphas:
    """The alphas of a run: each solved when a cell first asks, or taken from those stored."""

    def __init__(
        self,
        spec: RunSpec,
        opened: Opened,
        dataset: Dataset,
        evaluated: IntArray,
        stored: Mapping[str, Alpha],
        say: Callable[[str], None] | None = None,
    ) -> None:
        """`evaluated` are the numbers of the run's images; `stored` are alphas of a resumed run.

        `say` gets a line before each that is solved, which takes seconds to minutes.
        """
        self._spec, self._opened, self._dataset = spec, opened, dataset
        self._evaluated, self._stored, self._say = evaluated, stored, say
        self.used: dict[str, Alpha] = {}

    def plan(self, cell: Cell, model: Backbone, sites: Sequence[int]) -> Plan:
        """The plan of a cell of adaptive counts; `BudgetUnreachable` if no alpha meets its budget.

        UserError if there are too few images to solve it on.
        """
        composition, convention = cell.composition, self._spec.flops_convention
        assert composition is not None
        assert cell.budget is not None
        asked = [cell.backbone, weights_hash(model), composition.canonical(), list(sites)]
        # All that alpha depends on: a stored one answers for nothing else.
        question = digest([*asked, cell.budget, convention])[:16]
        if question not in self.used:
            stored = self._stored.get(question)
            self.used[question] = stored or self._solve(cell, composition, model, sites)
        found = self.used[question]
        removed = np.array(found.removed)
        return mean_plan(model.describe(), composition, sites, removed, found.counts, convention)

    def _solve(
        self, cell: Cell, composition: Composition, model: Backbone, sites: Sequence[int]
    ) -> Alpha:
        spec, shape, budget = self._spec, model.describe(), cell.budget or 0.0
        data, images = calibration(
            f"a schedule '{ADAPTIVE.name}' is solved",
            "choose another schedule",
            spec,
            self._opened,
            self._dataset,
            self._evaluated,
        )
        batches = list(calibration_batches(model, data, images, spec.batch_size))
        if self._say:
            on = f"-{percent(budget)} on {cell.backbone}, by {counted(len(images), data.kind)}"
            self._say(f"solving the alpha of {cell.label} at {on}")
        # Kept for all that are tried: the chosen one needs no further pass.
        removed: dict[float, NDArray[np.int64]] = {}

        def share(alpha: float) -> float:
            removed[alpha] = removed_by(model, batches, composition, sites, alpha)
            shares = work_removed(shape, composition, sites, removed[alpha], spec.flops_convention)
            return float(shares.mean())

        alpha = solve_alpha(share, budget, shape.patches)
        rows = [tuple(row) for row in removed[alpha].tolist()]
        return Alpha(alpha, data.split, data.content(images), tuple(rows))


def removed_by(
    model: Backbone,
    batches: Sequence[torch.Tensor],
    composition: Composition,
    sites: Sequence[int],
    alpha: float,
) -> NDArray[np.int64]:
    """Tokens that leave each image at each site (n, sites), of images as `model` takes them."""
    steps = adaptive_steps(composition, alpha, sites, seed=0)
    with torch.inference_mode():
        parts = [run_adaptive(model, model.embed(batch), steps).removed for batch in batches]
    return torch.cat(parts).numpy()


def solve_alpha(share: Callable[[float], float], budget: float, patches: int) -> float:
    """The alpha, to four decimals, at which the mean `share` of work removed is the `budget`.

    `BudgetUnreachable` if none comes within 0.24 point.
    """
    tried: dict[float, float] = {}

    def gap(alpha: float) -> float:
        # In the decimals that are stored, so that the record gives the same counts.
        rounded = round(alpha, DECIMALS)
        if rounded not in tried:
            tried[rounded] = share(rounded)
        away = tried[rounded] - budget
        # Zero ends the search.
        return 0.0 if abs(away) < NEAR else away

    # Outwards from one deviation, as far as a value can lie from the mean of so many: sqrt(n - 1)
    # deviations (Samuelson, JASA 1968).
    farthest = math.sqrt(patches - 1)
    side = 1.0 if gap(1.0) > 0 else -1.0
    near, far = 1.0, 1.0 + side
    while side * gap(far) > 0 and abs(far) < farthest:
        near, far = far, max(-farthest, min(far + 2 * (far - near), farthest))
    if side * gap(far) < 0:
        # Its result is not read: all that it tried is kept, and the nearest is taken.
        brentq(gap, near, far, xtol=10**-DECIMALS)
    check_allowed(budget, max(tried.values()))
    best = min(tried, key=lambda alpha: abs(tried[alpha] - budget))
    if abs(tried[best] - budget) > TOLERANCE:
        why = (
            f"no alpha removes {percent(budget)} of the work in the mean, nearest is "
            f"{100 * tried[best]:.2f} %"
        )
        raise BudgetUnreachable(budget, tried[best], why)
    return best


def mean_plan(
    shape: Shape,
    composition: Composition,
    sites: Sequence[int],
    removed: NDArray[np.int64],
    counts: AdaptiveCounts,
    convention: str,
) -> Plan:
    """The mean of all images, which lose `removed` tokens (n, sites), and their distribution."""
    lengths = np.zeros(shape.depth)
    work = np.zeros(len(asdict(Flops())))
    # Many images lose alike: the work of each pattern is counted once.
    rows, numbers = np.unique(removed, axis=0, return_counts=True)
    for row, number in zip(rows.tolist(), numbers, strict=True):
        own_lengths, own = work_of(shape, composition, sites, row)
        lengths += number * np.array(own_lengths)
        work += number * np.array(list(asdict(own).values()), dtype=float)
    lengths, work = lengths / len(removed), work / len(removed)
    means = removed.mean(0)
    removals = {site: Removal(tokens=round(mean)) for site, mean in zip(sites, means, strict=True)}
    flops = Flops(*(round(kind) for kind in work.tolist()))
    whole = tuple(round(length) for length in lengths.tolist())
    shares = work_removed(shape, composition, sites, removed, convention)
    spread = np.percentile(shares, PERCENTILES).tolist()
    named = {str(rank): value for rank, value in zip(PERCENTILES, spread, strict=True)}
    return replace(
        finished(shape, removals, whole, flops, shape),
        # not of rounded lengths
        token_ratio=1 - float(lengths.sum()) / sum(shape.lengths),
        adaptive=counts.model_copy(update={"removed": named}),
    )


def work_removed(
    shape: Shape,
    composition: Composition,
    sites: Sequence[int],
    removed: NDArray[np.int64],
    convention: str,
) -> NDArray[np.float64]:
    """Share of the dense model's work removed of each image (n,), which loses `removed` tokens."""
    whole = total(dense(shape), convention)
    rows, places = np.unique(removed, axis=0, return_inverse=True)
    shares = []
    for row in rows.tolist():
        work = work_of(shape, composition, sites, row)[1]
        shares.append(1 - total(work, convention) / whole)
    # Some versions of NumPy 2 give the inverse as a column.
    return np.array(shares)[places.ravel()]


def work_of(
    shape: Shape, composition: Composition, sites: Sequence[int], removed: Sequence[int]
) -> tuple[list[int], Flops]:
    """Tokens that enter each block, and the work, of an image that loses `removed` at `sites`."""
    leaving = dict(zip(sites, removed, strict=True))
    patches, lengths, costs = shape.patches, [], []
    for block in range(shape.depth):
        if block in leaving:
            costs.append(cost(composition, patches, leaving[block], shape))
            patches -= leaving[block]
        lengths.append(patches + shape.specials)
    return lengths, count(shape, lengths, costs)


def stored_alphas(folder: Path) -> dict[str, Alpha]:
    """The alphas in a run's `folder`; none if there are none or they are damaged."""
    try:
        found = {}
        for question, record in read_json(folder / ALPHAS).items():
            rows = tuple(tuple(map(int, row.split())) for row in record["removed"])
            found[str(question)] = Alpha(**{**record, "removed": rows})
        return found
    except (OSError, ValueError, LookupError, AttributeError, TypeError):
        # They are solved again, which costs time and no result.
        return {}

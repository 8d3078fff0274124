"""The tries of one backbone: what each method keeps under each setting, and which one is picked.

What came of every image is kept, so that two methods can be compared under a setting without
evaluating anything. `suite.tries.files` reads and writes the tables.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from suite.stats.correctness import Outcomes
from suite.stats.metric import TOP1, Metric
from suite.tries.settings import Setting

# Version of the protocol: raise it when other settings are tried, or are picked by another rule.
PROTOCOL = 1
Images = NDArray[np.int64]
# From a split and numbers of its images to a hash of what these hold; None without that split.
Content = Callable[[str, Images], str | None]


@dataclass(frozen=True)
class Origin:
    """What the tries of a table depend on, but for the code.

    ``weights``   SHA-256 of the weights, None of untrained ones
    ``data``      name of the data set, ``split`` its part, ``images`` the numbers of the images
    ``content``   hash of what these images hold (`suite.data.base.Dataset.content`)
    ``sites``     blocks before which tokens leave, None: the backbone's usual ones
    ``device``    cpu or cuda: a few of a thousand answers may differ between them
    """

    backbone: str
    weights: str | None
    data: str
    split: str
    content: str
    images: tuple[int, ...]
    budgets: tuple[float, ...]
    seed: int
    sites: tuple[int, ...] | None
    flops_convention: str
    precision: str
    device: str
    protocol: int = PROTOCOL

    def of_weights(self, backbone: str, weights: str | None) -> bool:
        """Whether tries are of this backbone and its weights."""
        return (self.backbone, self.weights) == (backbone, weights)

    def fits(self, backbone: str, weights: str | None, data: str, content: Content) -> bool:
        """Whether tries are of this backbone, its weights, and these images of this data set.

        `content` is asked only if all else fits, since it may have to read the images. Where their
        split is not there (a copy of the data with `valid` alone) the name of the data must do.
        """
        if not self.of_weights(backbone, weights) or self.data != data:
            return False
        held = content(self.split, np.array(self.images, np.int64))
        return held is None or held == self.content


@dataclass(frozen=True)
class Try:
    """One method under one setting at one budget.

    ``method``          its name in the table (`MethodSpec.untuned`)
    ``removed``         share of the FLOPs that it removed
    ``tokens_removed``  tokens that left, over all sites
    ``outcomes``        what came of each image, under one seed; None if there are no answers
    ``reason``          why there are none
    """

    method: str
    setting: Setting
    budget: float
    removed: float | None = None
    tokens_removed: int | None = None
    outcomes: Outcomes | None = field(default=None, compare=False)
    reason: str | None = None

    @property
    def accuracy(self) -> float | None:
        """The task's figure: top-1, or mean IoU; None without answers."""
        return None if self.outcomes is None else self.outcomes.accuracy


@dataclass(frozen=True, eq=False)
class Tries:
    """All tries on one backbone, in the order of methods, settings and budgets.

    ``picks``  the setting picked for each method that has one
    """

    origin: Origin
    rows: tuple[Try, ...]
    picks: Mapping[str, Setting]

    @property
    def backbone(self) -> str:
        """The backbone, with its settings."""
        return self.origin.backbone

    @property
    def weights(self) -> str | None:
        """SHA-256 of its weights, None of untrained ones."""
        return self.origin.weights

    @property
    def data(self) -> str:
        """Name of the data set."""
        return self.origin.data

    @property
    def split(self) -> str:
        """Split of the data set."""
        return self.origin.split

    @cached_property
    def images(self) -> Images:
        """Numbers of the images in their split, ascending."""
        return np.array(self.origin.images, np.int64)

    @cached_property
    def methods(self) -> tuple[str, ...]:
        """Names of the methods."""
        return tuple(dict.fromkeys(row.method for row in self.rows))

    @cached_property
    def metric(self) -> Metric:
        """The figure that settings were picked by."""
        return next((row.outcomes.metric for row in self.rows if row.outcomes), TOP1)

    @cached_property
    def _by_setting(self) -> dict[tuple[str, Setting, float], Try]:
        return {(row.method, row.setting, row.budget): row for row in self.rows}

    def pick(self, name: str) -> Setting | None:
        """The setting picked for method `name`; None if it was not tried or has none."""
        return self.picks.get(name)

    def find(self, name: str, setting: Setting, budget: float) -> Try | None:
        """What is known of a method under a setting at a budget; None if it was not tried."""
        return self._by_setting.get((name, setting, budget))

    def outcomes(self, row: Try | None, label: str) -> Outcomes | None:
        """What came of a try, under the name `label`; None if it has no answers."""
        if row is None or row.outcomes is None or row.removed is None:
            return None
        return row.outcomes.called(label, row.removed)

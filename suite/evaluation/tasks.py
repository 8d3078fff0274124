"""What each task makes of a model's logits: outcomes of images, and metrics of a cell."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import pandas as pd
from torch import Tensor

from suite.data.loading.loader import Batch
from suite.evaluation import outcomes, segmentation
from suite.evaluation.outcomes import ClassAnswers, Rows
from suite.evaluation.segmentation import PixelAnswers
from suite.store.schema import Metrics


class Answers(Protocol):
    """What the cells say of one batch of images, or videos.

    ``keeps_logits``  whether it needs the logits at the end of the batch only
    """

    keeps_logits: ClassVar[bool]

    def add(self, key: str, logits: Tensor) -> None:
        """Take the logits of a cell on the next samples; those of the dense cell come first."""
        ...

    def outcomes(self, keys: Sequence[str], tau: Mapping[str, Tensor]) -> Mapping[str, Rows]:
        """Outcomes of the cells `keys` on all images of the batch.

        `tau` (B,) by key is the order of the surviving tokens.
        """
        ...


@dataclass(frozen=True)
class Evaluation:
    """How the cells of a task are evaluated.

    ``answers``   made of a batch, and the key of the dense cell
    ``accuracy``  the figure that cells are compared by, from the outcomes of a cell and the number
                  of classes
    ``metrics``   of a cell, from the same and the accuracy of the dense model
    """

    answers: Callable[[Batch, str], Answers]
    accuracy: Callable[[pd.DataFrame, int], float]
    metrics: Callable[[pd.DataFrame, int, float], Metrics]


EVALUATIONS = {
    "classification": Evaluation(
        ClassAnswers,
        lambda frame, classes: outcomes.accuracy(frame),
        lambda frame, classes, dense: outcomes.metrics(frame, dense),
    ),
    "segmentation": Evaluation(PixelAnswers, segmentation.miou, segmentation.metrics),
}
"""By the task of a model."""

"""What is at work in a training beside its recipe: reductions, and a teacher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from backbones.base import Backbone, Reducer


@dataclass(frozen=True)
class Lesson:
    """Reductions and a teacher; by default neither: a whole model learns from labels alone.

    ``plans``    reducers by site; one step after the other takes the next of them
    ``teacher``  whole model whose answers count beside the labels
    ``weight``   of KL(teacher || model) beside the cross-entropy; R-MeeTo (arXiv 2412.12496): 0.5
    """

    plans: Sequence[Mapping[int, Reducer]] = ({},)
    teacher: Backbone | None = None
    weight: float = 0.0

    @property
    def reduces(self) -> bool:
        """Whether tokens are reduced at any step."""
        # An empty plan is the whole model's, and reduces nothing.
        return any(self.plans)


def divergence(logits: Tensor, taught: Tensor) -> Tensor:
    """KL(taught || logits) in nats, mean over the images; both (B, classes)."""
    # "mean" would divide by the classes as well, which is no divergence.
    return F.kl_div(
        logits.log_softmax(1), taught.log_softmax(1), log_target=True, reduction="batchmean"
    )

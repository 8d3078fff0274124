"""What is at work in a training beside its recipe: reductions, and a teacher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch.nn.functional as F
from torch import Tensor

from backbones.base import Backbone, Reducer
from methods.parts.view import View


@dataclass(frozen=True)
class Reduction:
    """What is reduced at a step: of the sequence, or of the image that it is made of.

    ``reducers``    of the sequence, by site
    ``image_size``  pixels on a side that the image, or its window, is made; None: as it comes
    ``view``        window of the image that the tokens are made of; None: all of it
    """

    reducers: Mapping[int, Reducer] = field(default_factory=dict)
    image_size: int | None = None
    view: View | None = None

    @property
    def reduces(self) -> bool:
        """Whether there is anything at work."""
        return bool(self.reducers) or self.image_size is not None or self.view is not None


NOTHING = Reduction()


@dataclass(frozen=True)
class Lesson:
    """Reductions and a teacher; by default neither: a whole model learns from labels alone.

    ``reductions``  one step after the other takes the next of them
    ``teacher``     whole model whose answers count beside the labels
    ``weight``      of KL(teacher || model) beside the cross-entropy; R-MeeTo (arXiv 2412.12496):
                    0.5
    """

    reductions: Sequence[Reduction] = (NOTHING,)
    teacher: Backbone | None = None
    weight: float = 0.0

    @property
    def reduces(self) -> bool:
        """Whether fewer tokens are left at any step."""
        return any(reduction.reduces for reduction in self.reductions)


def divergence(logits: Tensor, taught: Tensor) -> Tensor:
    """KL(taught || logits) in nats, mean over the images; both (B, classes)."""
    # "mean" would divide by the classes as well, which is no divergence.
    return F.kl_div(
        logits.log_softmax(1), taught.log_softmax(1), log_target=True, reduction="batchmean"
    )

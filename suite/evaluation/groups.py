"""A batch in groups of images with equally many tokens, each a batch of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backbones.sequence import TokenSequence, join_images


@dataclass(frozen=True)
class Group:
    """Some images of a batch: their ``rows`` in it (k,), and their ``tokens`` (k, L, ...)."""

    rows: Tensor
    tokens: TokenSequence

    @classmethod
    def whole(cls, tokens: TokenSequence) -> Group:
        """All images of a batch."""
        return cls(torch.arange(tokens.batch, device=tokens.position.device), tokens)

    def pick(self, chosen: Tensor) -> Group:
        """The images at `chosen` rows of the group, with their trace."""
        tokens = self.tokens.pick_images(chosen)
        # `pick_images` drops the trace, which a score at the next site may read.
        if self.tokens.trace is not None:
            tokens = replace(tokens, trace=self.tokens.trace.pick_images(chosen))
        return Group(self.rows[chosen], tokens)


def split(group: Group, values: Tensor) -> dict[int, Group]:
    """The images of `group` by their number in `values` (k,), ascending."""
    parts = {}
    # The host must know the values: each makes a batch of its own shape.
    for value in values.unique().tolist():
        parts[int(value)] = group.pick((values == value).nonzero()[:, 0])
    return parts


def by_length(groups: Sequence[Group]) -> list[Group]:
    """One group for all images with equally many tokens, the longest first."""
    alike: dict[int, list[Group]] = {}
    for group in groups:
        # Groups that meet again are joined: few large batches are faster than many small.
        alike.setdefault(group.tokens.length, []).append(group)
    joined = []
    for length in sorted(alike, reverse=True):
        members = alike[length]
        rows = torch.cat([group.rows for group in members])
        joined.append(Group(rows, join_images([group.tokens for group in members])))
    return joined


def in_order(groups: Sequence[Group], parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """What was read of each group, image by image in the order of the batch."""
    rows = torch.cat([group.rows for group in groups]).cpu().numpy()
    # Together the rows are 0 to B - 1, once each, so sorting them undoes the split.
    ordered: NDArray[Any] = np.concatenate(parts)[rows.argsort()]
    return ordered

"""Stochastic depth (Huang et al. 2016) for any backbone, applied at the sites of a reduction."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from timm.layers.drop import drop_path

from backbones.base import Reducer
from backbones.sequence import TokenSequence


@dataclass(frozen=True)
class DropPath:
    """Drops the last block's branch of an image with probability `rate`, and rescales the rest."""

    rate: float
    # No field of a block's trace: the tokens are enough.
    needs: ClassVar[frozenset[str]] = frozenset()

    def __call__(self, tokens: TokenSequence) -> TokenSequence:
        """`tokens` with branches dropped."""
        return replace(tokens, branch=drop_path(tokens.branch, self.rate, training=True))


def drop_paths(rate: float, depth: int) -> dict[int, Reducer]:
    """Reducers by site that drop block i's branch with probability ``rate * i / (depth - 1)``."""
    if not rate:
        return {}
    # The linear rule keeps block 0 always. The last block is kept too, since no site follows it.
    return {site: DropPath(rate * (site - 1) / (depth - 1)) for site in range(2, depth)}

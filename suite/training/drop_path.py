"""Stochastic depth (Huang et al. 2016) for any backbone, from outside: it stands where a reduction may stand."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from timm.layers.drop import drop_path

from backbones.base import Reducer
from backbones.sequence import TokenSequence


@dataclass(frozen=True)
class DropPath:
    """Leaves out the last block's branch of an image with probability `rate`, and makes up for it in the others."""

    rate: float
    needs: ClassVar[frozenset[str]] = frozenset()

    def __call__(self, tokens: TokenSequence) -> TokenSequence:
        """`tokens` with branches dropped."""
        return replace(tokens, branch=drop_path(tokens.branch, self.rate, training=True))


def drop_paths(rate: float, depth: int) -> dict[int, Reducer]:
    """A plan under which block i's branch is dropped with probability ``rate * i / (depth - 1)``.

    That of block 0 is always kept, as the linear rule wants; that of the last block, too, since no
    site follows it.
    """
    return (
        {site: DropPath(rate * (site - 1) / (depth - 1)) for site in range(2, depth)}
        if rate
        else {}
    )

"""Counts of surviving tokens, per cell and block, by position in the unreduced sequence.

For a few tracked images, the same for every cell, the surviving tokens are kept one by one, so that
the choices of two methods can be compared.

Where a backbone has halved its map of tokens, a token stands for the cell of the coarser map that
its position lies in: it counts at every position of that cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from backbones.sequence import TokenSequence
from suite.data.loading.compiled import compiled
from suite.evaluation.groups import Group, in_order

Counts = NDArray[np.int64]


# Compiled loops: numpy would need several passes and arrays of every token for what is one pass
# here, and this runs after every reduction of every cell.
@compiled
def _mark_alive(position: Counts, alive: NDArray[np.bool_], present: Counts) -> int:
    """Set ``alive[b, position[b, i]]`` and count images by position; -1, or one out of range."""
    length = alive.shape[1]
    for b in range(position.shape[0]):
        for i in range(position.shape[1]):
            here = position[b, i]
            if not 0 <= here < length:
                # -1 means success, so a negative position is reported as another invalid one.
                return int(here) if here >= 0 else length
            # Two tokens of a third party's method may bear one position, which counts once.
            if not alive[b, here]:
                alive[b, here] = True
                present[here] += 1
    return -1


@compiled
def _count_foreground(
    alive: NDArray[np.bool_], masks: NDArray[np.bool_], foreground: Counts
) -> None:
    """Count the images in which a position is alive and shows the object."""
    for b in range(alive.shape[0]):
        for i in range(alive.shape[1]):
            foreground[i] += alive[b, i] and masks[b, i]


def spread(alive: NDArray[np.bool_], grid: tuple[int, int], halvings: int) -> NDArray[np.bool_]:
    """Cells (B, rows x columns) of a coarser map in which any position of `alive` is set.

    `grid` are its rows and columns; a cell has 2^`halvings` of each, fewer at an odd edge.
    """
    rows, columns = grid
    side = 2**halvings
    # whole cells at the edges, too
    padding = ((0, 0), (0, -rows % side), (0, -columns % side))
    padded = np.pad(alive.reshape(-1, rows, columns), padding)
    batch, high, wide = padded.shape
    cells = padded.reshape(batch, high // side, side, wide // side, side).any((2, 4))
    full = cells.repeat(side, 1).repeat(side, 2)[:, :rows, :columns]
    return np.ascontiguousarray(full.reshape(batch, -1))


@dataclass
class SiteCounts:
    """Counts (L0,) of one cell at one block, and packed bits of tracked images."""

    present: Counts
    foreground: Counts
    alive: list[NDArray[np.uint8]] = field(default_factory=list)

    @classmethod
    def zeros(cls, length: int) -> SiteCounts:
        """No token at any of `length` positions."""
        return cls(np.zeros(length, np.int64), np.zeros(length, np.int64))


class TokenCounts:
    """Token counts of cells over one batch; `add` sums those of several batches.

    ``present`` counts the images in which the token of a position survives into a block, and
    ``foreground`` those in which the position also shows the object. ``alive`` has a bit for each
    tracked image, in their order: whether the token survives there.
    """

    def __init__(
        self,
        masks: Tensor | None = None,
        tracked: NDArray[np.bool_] | None = None,
        halvings: Sequence[int] = (),
    ) -> None:
        """`masks` (B, L0) mark the object, None: unknown; `tracked` (B,) the tracked images.

        `halvings` are the blocks that begin by halving the map of tokens (`backbones.shape`).
        """
        self._masks = None if masks is None else np.ascontiguousarray(masks.numpy())
        self._tracked = tracked if tracked is not None and tracked.any() else None
        self._halvings = halvings
        self._cells: dict[str, dict[int, SiteCounts]] = {}

    def observe(
        self,
        keys: Sequence[str],
        site: int,
        tokens: TokenSequence,
    ) -> None:
        """Count the tokens that enter block `site` for the cells `keys`, which share them."""
        self._add(keys, site, *self._alive(site, tokens))

    def observe_groups(self, key: str, site: int, groups: Sequence[Group]) -> None:
        """Count the tokens of one cell, whose images may have different numbers of them."""
        alive = in_order(groups, [self._alive(site, group.tokens)[0] for group in groups])
        self._add([key], site, alive, alive.sum(0))

    def _alive(self, site: int, tokens: TokenSequence) -> tuple[NDArray[np.bool_], Counts]:
        """Which positions (B, L0) have a token that enters block `site`, and in how many images."""
        position = np.ascontiguousarray(tokens.position.cpu().numpy())
        length = tokens.original_length
        alive = np.zeros((tokens.batch, length), np.bool_)
        present = np.zeros(length, np.int64)
        invalid = _mark_alive(position, alive, present)
        if invalid >= 0:
            raise ValueError(f"a token has position {invalid}, of {length}")
        # a site is before its block, and never before one that halves
        if times := sum(block <= site for block in self._halvings):
            alive = spread(alive, tokens.grid[1:], times)
            present = alive.sum(0)
        return alive, present

    def _add(
        self, keys: Sequence[str], site: int, alive: NDArray[np.bool_], present: Counts
    ) -> None:
        counts = SiteCounts(present, np.zeros(len(present), np.int64))
        if self._masks is None:
            counts.foreground -= 1  # unknown: stays negative in any sum
        else:
            _count_foreground(alive, self._masks, counts.foreground)
        if self._tracked is not None:
            counts.alive.append(np.packbits(alive[self._tracked], axis=1))
        for key in keys:
            self._cells.setdefault(key, {})[site] = counts

    def add(self, batch: TokenCounts) -> None:
        """Add the counts of another batch."""
        for key, sites in batch._cells.items():
            totals = self._cells.setdefault(key, {})
            for site, counts in sites.items():
                if site not in totals:
                    # A sum of its own for each cell, since cells share the counts of a batch.
                    totals[site] = SiteCounts.zeros(len(counts.present))
                total = totals[site]
                total.present += counts.present
                total.foreground += counts.foreground
                total.alive += counts.alive

    def frame(self, key: str) -> pd.DataFrame:
        """Counts of one cell as a table, a row for each block and position.

        It has no row if the cell runs on smaller images, whose positions are others.
        """
        sites = sorted(self._cells.get(key, {}).items())
        length = len(sites[0][1].present) if sites else 0
        # An empty array each, since a cell without sites has nothing to join.
        present = [np.empty(0, np.int64)]
        foreground = [np.empty(0, np.int64)]
        alive: list[bytes] = []
        for _, counts in sites:
            present.append(counts.present)
            foreground.append(counts.foreground)
            alive += _bits_by_position(counts.alive, length)
        # int32 and packed bits, since a run writes such a table for every cell and shard.
        blocks = np.array([site for site, _ in sites], dtype=np.int32)
        positions = np.arange(length, dtype=np.int32)
        return pd.DataFrame(
            {
                "block": np.repeat(blocks, length),
                "position": np.tile(positions, len(sites)),
                "present": np.concatenate(present),
                "foreground": np.concatenate(foreground),
                "alive": alive,
            }
        )


def _bits_by_position(packed: list[NDArray[np.uint8]], length: int) -> list[bytes]:
    """Turn rows of bits per image, batch by batch, into a row of bits per position."""
    if not packed:
        return [b""] * length
    rows = np.concatenate(packed)
    alive = np.unpackbits(rows, axis=1, count=length)
    return [row.tobytes() for row in np.packbits(alive.T, axis=1)]

"""Counts of the tokens that survive, per cell, block and place of the unreduced sequence.

For a few tracked images, the same for every cell, it is also kept which tokens survive, so that
the choices of two methods can be compared.
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

MAX_TRACKED = 256  # images at most whose surviving tokens are kept one by one
Counts = NDArray[np.int64]


def tracked_subset(indices: NDArray[np.int64]) -> NDArray[np.int64]:
    """Choose the images whose surviving tokens are kept: evenly spread, the same for every cell."""
    step = -(-len(indices) // MAX_TRACKED)  # rounded up, so that there are never more
    return indices[:: max(1, step)]


# Loops in place of numpy's scatter operations: this runs after every reduction of every cell, and
# one pass over the positions took a fraction of the time of several over whole arrays.
@compiled
def _mark_alive(position: Counts, alive: NDArray[np.bool_], present: Counts) -> int:
    """Set ``alive[b, position[b, i]]`` and count images per place; -1, or a position out of range."""
    for b in range(position.shape[0]):
        for i in range(position.shape[1]):
            place = position[b, i]
            if not 0 <= place < alive.shape[1]:
                # -1 means success, so a negative position is answered by another invalid one.
                return int(place) if place >= 0 else alive.shape[1]
            # Two tokens may carry one position (a third party's method): the place counts once.
            if not alive[b, place]:
                alive[b, place] = True
                present[place] += 1
    return -1


@compiled
def _count_foreground(
    alive: NDArray[np.bool_], masks: NDArray[np.bool_], foreground: Counts
) -> None:
    """Count the images in which a place is alive and shows the object."""
    for b in range(alive.shape[0]):
        for place in range(alive.shape[1]):
            foreground[place] += alive[b, place] and masks[b, place]


@dataclass
class SiteCounts:
    """Counts (places,) of one cell at one block, and packed bits of tracked images; see `TokenCounts`."""

    present: Counts
    foreground: Counts
    alive: list[NDArray[np.uint8]] = field(default_factory=list)


class TokenCounts:
    """Token counts of cells over one batch; `add` sums those of several batches.

    ``present`` counts the images in which the token of a place survives (under its own position)
    into a block, and ``foreground`` those in which the place also shows the object. ``alive`` has a
    bit for each tracked image, in their order: whether the token survives there.
    """

    def __init__(
        self, masks: Tensor | None = None, tracked: NDArray[np.bool_] | None = None
    ) -> None:
        """`masks` (B, L0) mark the object, None: unknown; `tracked` (B,) marks the tracked images."""
        self._masks = None if masks is None else np.ascontiguousarray(masks.numpy())
        self._tracked = tracked if tracked is not None and tracked.any() else None
        self._cells: dict[str, dict[int, SiteCounts]] = {}

    def observe(self, keys: Sequence[str], site: int, tokens: TokenSequence) -> None:
        """Count the tokens that enter block `site` for the cells `keys`, which share them."""
        position = np.ascontiguousarray(tokens.position.cpu().numpy())
        places = tokens.original_length
        alive = np.zeros((tokens.batch, places), np.bool_)
        counts = SiteCounts(np.zeros(places, np.int64), np.zeros(places, np.int64))
        invalid = _mark_alive(position, alive, counts.present)
        if invalid >= 0:
            raise ValueError(f"a token has position {invalid}, of {places}")
        if self._masks is None:
            counts.foreground -= 1  # stays negative in any sum: unknown
        else:
            _count_foreground(alive, self._masks, counts.foreground)
        if self._tracked is not None:
            counts.alive.append(np.packbits(alive[self._tracked], axis=1))
        for key in keys:
            self._cells.setdefault(key, {})[site] = counts

    def add(self, other: TokenCounts) -> None:
        """Add the counts of the next batch."""
        for key, sites in other._cells.items():
            totals = self._cells.setdefault(key, {})
            for site, counts in sites.items():
                total = totals.get(site)
                if total is None:
                    # Cells that share a prefix share its counts, so the first are copied.
                    totals[site] = SiteCounts(
                        counts.present.copy(), counts.foreground.copy(), list(counts.alive)
                    )
                else:
                    total.present += counts.present
                    total.foreground += counts.foreground
                    total.alive += counts.alive

    def frame(self, key: str) -> pd.DataFrame:
        """Table of one cell: block, place, present, foreground, alive; empty if its image size differs."""
        sites = sorted(self._cells.get(key, {}).items())
        places = len(sites[0][1].present) if sites else 0
        present, foreground = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        alive: list[bytes] = []
        for _, counts in sites:
            present.append(counts.present)
            foreground.append(counts.foreground)
            alive += _bits_by_place(counts.alive, places)
        blocks = np.array([site for site, _ in sites], dtype=np.int32)
        return pd.DataFrame(
            {
                "block": np.repeat(blocks, places),
                "position": np.tile(np.arange(places, dtype=np.int32), len(sites)),
                "present": np.concatenate(present),
                "foreground": np.concatenate(foreground),
                "alive": alive,
            }
        )


def unpacked(bits: Sequence[bytes], images: int) -> NDArray[np.bool_]:
    """Unpack ``alive`` of a block: which tracked images have the token of each place (images, places)."""
    packed = np.frombuffer(b"".join(bits), dtype=np.uint8).reshape(len(bits), -1)
    return np.unpackbits(packed, axis=1, count=images).T.astype(bool)


def _bits_by_place(packed: list[NDArray[np.uint8]], places: int) -> list[bytes]:
    """Turn rows of bits per image, batch by batch, into a row of bits per place."""
    if not packed:
        return [b""] * places
    alive = np.unpackbits(np.concatenate(packed), axis=1, count=places)
    return [row.tobytes() for row in np.packbits(alive.T, axis=1)]

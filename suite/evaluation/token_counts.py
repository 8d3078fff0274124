"""Which tokens are still there: counted per cell, block and place while the cells are evaluated.

On a few images, the same for every cell, it is also kept which ones, so that methods can be set
side by side.
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

WATCHED = 256  # images at most of which every surviving token is kept
Counts = NDArray[np.int64]


def watched(indices: NDArray[np.int64]) -> NDArray[np.int64]:
    """The images of a run whose surviving tokens are kept one by one: evenly spread, the same for every cell."""
    return indices[:: max(1, -(-len(indices) // WATCHED))]


@compiled
def _mark(position: Counts, alive: NDArray[np.bool_], present: Counts) -> int:
    """Set ``alive[b, position[b, i]]``, and count the images of each place; -1, or a position that is no place."""
    for b in range(position.shape[0]):
        for i in range(position.shape[1]):
            place = position[b, i]
            if not 0 <= place < alive.shape[1]:
                return int(place) if place >= 0 else alive.shape[1]
            if not alive[b, place]:
                alive[b, place] = True
                present[place] += 1
    return -1


@compiled
def _shown(alive: NDArray[np.bool_], masks: NDArray[np.bool_], foreground: Counts) -> None:
    """Count the images in which a place is alive and shows the object."""
    for b in range(alive.shape[0]):
        for place in range(alive.shape[1]):
            foreground[place] += alive[b, place] and masks[b, place]


@dataclass
class _Tally:
    """What is known of one cell at one block: see `Presence`."""

    present: Counts
    foreground: Counts
    alive: list[NDArray[np.uint8]] = field(default_factory=list)


class Presence:
    """Counts over the images of one slice; `observe` is what `suite.evaluation.tree` calls after every reduction.

    ``present`` counts the images in which the token of a place survives (under its own position) into a block, and
    ``foreground`` those of them in which the place shows the object. ``alive`` holds a bit for each watched image of
    the slice, in their order: whether the token survives there. Places are those of the unreduced sequence.
    """

    def __init__(self) -> None:
        self._tallies: dict[str, dict[int, _Tally]] = {}
        self._masks: NDArray[np.bool_] | None = None
        self._watched: NDArray[np.bool_] | None = None

    def begin_batch(self, masks: Tensor | None, watched: Tensor | None = None) -> None:
        """`masks` (B, L0) says where the object is in the batch that comes next, `watched` (B,) which images to keep.

        None: not known, and no image.
        """
        self._masks = None if masks is None else np.ascontiguousarray(masks.numpy())
        self._watched = None if watched is None or not bool(watched.any()) else watched.numpy()

    def observe(self, keys: Sequence[str], site: int, tokens: TokenSequence) -> None:
        """Count the tokens that enter block `site` for all cells that share them."""
        position = np.ascontiguousarray(tokens.position.cpu().numpy())
        places = tokens.original_length
        alive = np.zeros((tokens.batch, places), np.bool_)
        present, foreground = np.zeros(places, np.int64), np.zeros(places, np.int64)
        stranger = _mark(position, alive, present)
        if stranger >= 0:
            raise ValueError(f"a token has position {stranger}, of {places}")
        if self._masks is None:
            foreground -= 1
        else:
            _shown(alive, self._masks, foreground)
        kept = None if self._watched is None else np.packbits(alive[self._watched], axis=1)
        for key in keys:
            sites = self._tallies.setdefault(key, {})
            tally = sites.get(site)
            if tally is None:
                tally = sites[site] = _Tally(np.zeros_like(present), np.zeros_like(foreground))
            tally.present += present
            tally.foreground += foreground
            if kept is not None:
                tally.alive.append(kept)

    def frame(self, key: str) -> pd.DataFrame:
        """Of one cell: block, place, present, foreground, alive; no row for a cell on another image size."""
        tallies = sorted(self._tallies.get(key, {}).items())
        places = len(tallies[0][1].present) if tallies else 0
        none = np.empty(0, np.int64)
        return pd.DataFrame(
            {
                "block": np.repeat(np.array([site for site, _ in tallies], dtype=np.int32), places),
                "place": np.tile(np.arange(places, dtype=np.int32), len(tallies)),
                "present": np.concatenate([none, *(tally.present for _, tally in tallies)]),
                "foreground": np.concatenate([none, *(tally.foreground for _, tally in tallies)]),
                "alive": [bits for _, tally in tallies for bits in _by_place(tally.alive, places)],
            }
        )


def unpacked(bits: Sequence[bytes], images: int) -> NDArray[np.bool_]:
    """Which of `images` watched images have the token of each place (images, places), from ``alive`` of a block."""
    packed = np.frombuffer(b"".join(bits), dtype=np.uint8).reshape(len(bits), -1)
    return np.unpackbits(packed, axis=1, count=images).T.astype(bool)


def _by_place(packed: list[NDArray[np.uint8]], places: int) -> list[bytes]:
    """From rows of bits for each image, batch by batch, to a row of bits for each place."""
    if not packed:
        return [b""] * places
    alive = np.unpackbits(np.concatenate(packed), axis=1, count=places)
    return [row.tobytes() for row in np.packbits(alive.T, axis=1)]

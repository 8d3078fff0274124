"""Which tokens are still there: counted per cell, block and place while the cells are evaluated.

On a few images, the same for every cell, it is also kept which ones, so that methods can be set side by side.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from backbones.sequence import TokenSequence

WATCHED = 256  # images at most of which every surviving token is kept


def watched(indices: NDArray[np.int64]) -> NDArray[np.int64]:
    """The images of a run whose surviving tokens are kept one by one: evenly spread, the same for every cell."""
    return indices[:: max(1, -(-len(indices) // WATCHED))]


class Presence:
    """Counts over the images of one slice; `observe` is what `suite.evaluate` calls after every reduction.

    ``present`` counts the images in which the token of a place survives (under its own position) into a block, and
    ``foreground`` those of them in which the place shows the object. ``alive`` holds a bit for each watched image of
    the slice, in their order: whether the token survives there. Places are those of the unreduced sequence.
    """

    def __init__(self) -> None:
        self._present: dict[tuple[str, int], Tensor] = {}
        self._foreground: dict[tuple[str, int], Tensor] = {}
        self._alive: dict[tuple[str, int], list[NDArray[np.uint8]]] = {}
        self._masks: Tensor | None = None
        self._watched: Tensor | None = None

    def begin_batch(self, masks: Tensor | None, watched: Tensor | None = None) -> None:
        """`masks` (B, L0) says where the object is in the batch that comes next, `watched` (B,) which images to keep.

        None: not known, and no image.
        """
        self._masks = masks
        self._watched = watched

    def observe(self, keys: Sequence[str], site: int, tokens: TokenSequence) -> None:
        """Count the tokens that enter block `site` for all cells that share them."""
        alive = torch.zeros(tokens.batch, tokens.original_length, dtype=torch.bool, device=tokens.position.device)
        alive.scatter_(1, tokens.position, True)
        present = alive.sum(0).cpu()
        foreground = (alive.cpu() & self._masks).sum(0) if self._masks is not None else torch.full_like(present, -1)
        few = alive[:0] if self._watched is None else alive[self._watched.to(alive.device)]
        kept = np.packbits(few.cpu().numpy(), axis=1)
        for key in keys:
            slot = (key, site)
            self._present[slot] = self._present.get(slot, 0) + present
            self._foreground[slot] = self._foreground.get(slot, 0) + foreground
            self._alive.setdefault(slot, []).append(kept)

    def frame(self, key: str) -> pd.DataFrame:
        """Of one cell: block, place, present, foreground, alive; no row for a cell on another image size."""
        slots = sorted(slot for slot in self._present if slot[0] == key)
        places = len(self._present[slots[0]]) if slots else 0
        return pd.DataFrame(
            {
                "block": np.repeat(np.array([site for _, site in slots], dtype=np.int32), places),
                "place": np.tile(np.arange(places, dtype=np.int32), len(slots)),
                "present": _joined([self._present[slot] for slot in slots]),
                "foreground": _joined([self._foreground[slot] for slot in slots]),
                "alive": [bits for slot in slots for bits in _by_place(np.concatenate(self._alive[slot]), places)],
            }
        )


def unpacked(bits: Sequence[bytes], images: int) -> NDArray[np.bool_]:
    """Which of `images` watched images have the token of each place (images, places), from ``alive`` of a block."""
    packed = np.stack([np.frombuffer(row, dtype=np.uint8) for row in bits])
    return np.unpackbits(packed, axis=1, count=images).T.astype(bool)


def _by_place(packed: NDArray[np.uint8], places: int) -> list[bytes]:
    """From a row of bits for each image to a row of bits for each place."""
    alive = np.unpackbits(packed, axis=1, count=places)
    return [row.tobytes() for row in np.packbits(alive.T, axis=1)]


def _joined(counts: list[Tensor]) -> NDArray[np.int64]:
    return torch.cat(counts).numpy() if counts else np.empty(0, np.int64)

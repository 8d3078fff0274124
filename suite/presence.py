"""Which tokens are still there: counted per cell, block and place while the cells are evaluated."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from backbones.sequence import TokenSequence


class Presence:
    """Counts over the images of one slice; `observe` is what `suite.evaluate` calls after every reduction.

    ``present`` counts the images in which the token of a place survives (under its own position) into a block, and
    ``foreground`` those of them in which the place shows the object. Places are those of the unreduced sequence.
    """

    def __init__(self) -> None:
        self._present: dict[tuple[str, int], Tensor] = {}
        self._foreground: dict[tuple[str, int], Tensor] = {}
        self._masks: Tensor | None = None

    def begin_batch(self, masks: Tensor | None) -> None:
        """`masks` (B, L0) says where the object is in the batch that comes next; None if unknown."""
        self._masks = masks

    def observe(self, keys: Sequence[str], site: int, tokens: TokenSequence) -> None:
        """Count the tokens that enter block `site` for all cells that share them."""
        alive = torch.zeros(tokens.batch, tokens.original_length, dtype=torch.bool, device=tokens.position.device)
        alive.scatter_(1, tokens.position, True)
        present = alive.sum(0).cpu()
        foreground = (alive.cpu() & self._masks).sum(0) if self._masks is not None else torch.full_like(present, -1)
        for key in keys:
            slot = (key, site)
            self._present[slot] = self._present.get(slot, 0) + present
            self._foreground[slot] = self._foreground.get(slot, 0) + foreground

    def frame(self, key: str) -> pd.DataFrame:
        """Counts of one cell: block, place, present, foreground; no row for a cell on another image size."""
        slots = sorted(slot for slot in self._present if slot[0] == key)
        places = len(self._present[slots[0]]) if slots else 0
        return pd.DataFrame(
            {
                "block": np.repeat(np.array([site for _, site in slots], dtype=np.int32), places),
                "place": np.tile(np.arange(places, dtype=np.int32), len(slots)),
                "present": _joined([self._present[slot] for slot in slots]),
                "foreground": _joined([self._foreground[slot] for slot in slots]),
            }
        )


def _joined(counts: list[Tensor]) -> NDArray[np.int64]:
    return torch.cat(counts).numpy() if counts else np.empty(0, np.int64)

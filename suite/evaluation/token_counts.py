"""Counts of surviving tokens, per cell and block, by position in the unreduced sequence.

For a few tracked images, the same for every cell, the surviving tokens are kept one by one, so that
the choices of two methods can be compared.

Where a backbone has halved its map of tokens, a token stands for the cell of the coarser map that
its position lies in: it counts at every position of that cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from backbones.sequence import TokenSequence
from suite.data.loading.compiled import compiled
from suite.evaluation.groups import Group

Counts = NDArray[np.int64]
UNKNOWN = -1  # foreground of an image without a mask: stays negative in any sum
AT_ONCE = 64  # reductions that are counted at once on a GPU
NO_MASKS = np.empty((0, 0), np.bool_)


# A compiled loop: numpy would need several passes and arrays of every token for what is one pass
# here, and this runs after every reduction of every cell.
@compiled
def _count(
    position: Counts,
    masks: NDArray[np.bool_],
    tracked: Counts,
    counts: Counts,
    alive: NDArray[np.bool_],
) -> int:
    """Add the images of `position` (B, L) to `counts`, mark those `tracked`; -1, or a wrong one.

    Without rows of `masks` the foreground is left as it is.
    """
    length = counts.shape[1]
    masked = masks.shape[0] > 0
    there = np.empty(length, np.bool_)
    for b in range(position.shape[0]):
        there[:] = False
        for i in range(position.shape[1]):
            here = position[b, i]
            if not 0 <= here < length:
                # -1 means success, so a negative position is reported as another wrong one.
                return int(here) if here >= 0 else length
            # Two tokens of a third party's method may bear one position, which counts once.
            there[here] = True
        for i in range(length):
            counts[0, i] += there[i]
        if masked:
            for i in range(length):
                counts[1, i] += there[i] & masks[b, i]
    for t in range(tracked.shape[0]):
        for i in range(position.shape[1]):
            alive[t, position[tracked[t], i]] = True
    return -1


def spread(alive: Tensor, grid: tuple[int, int], halvings: int) -> Tensor:
    """Cells (B, rows x columns) of a coarser map in which any position of `alive` is set.

    `grid` are its rows and columns; a cell has 2^`halvings` of each, fewer at an odd edge.
    """
    rows, columns = grid
    side = 2**halvings
    # whole cells at the edges, too
    padded = F.pad(alive.view(-1, rows, columns), (0, -columns % side, 0, -rows % side))
    cells = padded.unflatten(2, (-1, side)).unflatten(1, (-1, side)).any(4).any(2)
    full = cells.repeat_interleave(side, 1).repeat_interleave(side, 2)[:, :rows, :columns]
    return full.flatten(1)


class _Counted(NamedTuple):
    """What was counted on the CPU after one reduction of the cells `keys`."""

    keys: Sequence[str]
    site: int
    counts: Counts  # (2, L0): present, foreground
    alive: NDArray[np.bool_]  # (tracked images, L0)


class _Marked(NamedTuple):
    """What is to be counted on a GPU after one reduction of the cells `keys`."""

    keys: Sequence[str]
    site: int
    alive: Tensor  # (B, L0)
    ends: Sequence[Tensor]  # the lowest and the highest position


class TokenCounts:
    """Token counts of cells over one batch.

    ``present`` counts the images in which the token of a position survives into a block, and
    ``foreground`` those in which the position also shows the object. Of each tracked image there is
    a bit: whether the token survives.

    On a GPU places are marked, and counted by `settle`: the host waits once a batch and not after
    each reduction, for which it has little to launch.
    """

    def __init__(
        self,
        masks: Tensor | None = None,
        tracked: NDArray[np.bool_] | None = None,
        halvings: Sequence[int] = (),
        device: str = "cpu",
    ) -> None:
        """`masks` (B, L0) mark the object, None: unknown; `tracked` (B,) the tracked images.

        `halvings` are the blocks that begin by halving the map of tokens (`backbones.shape`);
        `device` is that of the tokens.
        """
        self._masks = None if masks is None else masks.to(device)
        self._masks_here = NO_MASKS if masks is None else np.ascontiguousarray(masks.numpy())
        self._tracked = np.empty(0, np.int64) if tracked is None else tracked.nonzero()[0]
        self._tracked_there = torch.from_numpy(self._tracked).to(device)
        self._halvings = halvings
        self._counted: list[_Counted] = []
        self._marked: list[_Marked] = []
        # cells that share tokens share a row of the others
        self.rows: dict[str, dict[int, int]] = {}  # by key, then site
        self.counts = np.empty((0, 2, 0), np.int64)  # (rows, 2, L0)
        self.alive = np.empty((0, 0, 0), np.uint8)  # (rows, tracked images, bytes)

    def observe(
        self,
        keys: Sequence[str],
        site: int,
        tokens: TokenSequence,
    ) -> None:
        """Count the tokens that enter block `site` for the cells `keys`, which share them."""
        if not tokens.position.is_cpu or self._halved(site):
            self.observe_groups(keys, site, [Group.whole(tokens)])
            return
        # A compiled loop takes a fraction of the time of the operations.
        length = tokens.original_length
        counts = np.zeros((2, length), np.int64)
        if self._masks is None:
            counts[1] = UNKNOWN
        alive = np.zeros((len(self._tracked), length), np.bool_)
        position = np.ascontiguousarray(tokens.position.numpy())
        wrong = _count(position, self._masks_here, self._tracked, counts, alive)
        if wrong >= 0:
            raise ValueError(misplaced(wrong, wrong, length))
        self._counted.append(_Counted(keys, site, counts, alive))

    def observe_groups(self, keys: Sequence[str], site: int, groups: Sequence[Group]) -> None:
        """Count those of cells whose images may have different numbers of them.

        By operations of PyTorch, none of which makes the host wait for a GPU.
        """
        first = groups[0].tokens
        length = first.original_length
        marks, places = [], []
        for group in groups:
            position = group.tokens.position
            places.append(position.aminmax())
            # A wrong place is found by `settle`; here it would end all work on the GPU.
            inside = position.clamp(0, length - 1)
            unmarked = torch.zeros(len(position), length, dtype=torch.bool, device=position.device)
            marks.append(unmarked.scatter_(1, inside, True))
        ends, alive = places[0], marks[0]
        if len(groups) > 1:
            ends = torch.stack([end for both in places for end in both]).aminmax()
            alive = torch.cat(marks)[torch.cat([group.rows for group in groups]).argsort()]
        if times := self._halved(site):
            alive = spread(alive, first.grid[1:], times)
        if not alive.is_cpu:
            self._marked.append(_Marked(keys, site, alive, ends))
            return
        if wrong := misplaced(int(ends[0]), int(ends[1]), length):
            raise ValueError(wrong)
        counts, kept = self._summed(alive[None])
        self._counted.append(_Counted(keys, site, counts[0].numpy(), kept[0].numpy()))

    def _summed(self, alive: Tensor) -> tuple[Tensor, Tensor]:
        """Counts (n, 2, L0), and what is alive in tracked images (n, T, L0), of (n, B, L0)."""
        present = alive.sum(1)
        foreground = torch.full_like(present, UNKNOWN)
        if self._masks is not None:
            foreground = (alive & self._masks).sum(1)
        return torch.stack([present, foreground], 1), alive[:, self._tracked_there]

    def _halved(self, site: int) -> int:
        """How often the map was halved before a site, which is before its block."""
        return sum(block <= site for block in self._halvings)

    def settle(self) -> dict[str, str]:
        """Fill the rows, once a batch; by cell, why it failed: a position that is no place."""
        waiting: Sequence[_Counted | _Marked] = self._counted or self._marked
        for row, part in enumerate(waiting):
            for key in part.keys:
                self.rows.setdefault(key, {})[part.site] = row
        reasons = self._fetch(self._marked) if self._marked else {}
        if self._counted:
            self.counts = np.stack([part.counts for part in self._counted])
            self.alive = np.packbits(np.stack([part.alive for part in self._counted]), axis=2)
        self._counted, self._marked = [], []
        return reasons

    def _fetch(self, marked: Sequence[_Marked]) -> dict[str, str]:
        """Count on the GPU and copy once; by cell, the first position that is no place."""
        parts = []
        for first in range(0, len(marked), AT_ONCE):
            some = [part.alive for part in marked[first : first + AT_ONCE]]
            parts.append(self._summed(torch.stack(some)))
        counts, alive = (torch.cat(found).cpu().numpy() for found in zip(*parts, strict=True))
        self.counts, self.alive = counts, np.packbits(alive, axis=2)
        ends = torch.stack([end for part in marked for end in part.ends]).view(-1, 2).tolist()
        reasons: dict[str, str] = {}
        for part, (lowest, highest) in zip(marked, ends, strict=True):
            if wrong := misplaced(lowest, highest, counts.shape[2]):
                for key in part.keys:
                    reasons.setdefault(key, f"ValueError at site {part.site}: {wrong}")
        return reasons


class TokenSums:
    """Token counts of cells over all batches, a row for each cell and block."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[int, int]] = {}
        self._counts = np.empty((0, 2, 0), np.int64)
        self._alive: list[list[NDArray[np.uint8]]] = []

    def add(self, batch: TokenCounts) -> None:
        """Add the counts of a batch that is settled."""
        mine, theirs = [], []
        for key, sites in batch.rows.items():
            own = self._rows.setdefault(key, {})
            for site, row in sites.items():
                if site not in own:
                    own[site] = len(self._alive)
                    self._alive.append([])
                mine.append(own[site])
                theirs.append(row)
                self._alive[own[site]].append(batch.alive[row])
        new = len(self._alive) - len(self._counts)
        if new:
            length = batch.counts.shape[2]
            before = self._counts.reshape(-1, 2, length)
            self._counts = np.concatenate([before, np.zeros((new, 2, length), np.int64)])
        if mine:
            self._counts[mine] += batch.counts[theirs]

    def frame(self, key: str) -> pd.DataFrame:
        """Counts of one cell as a table, a row for each block and position.

        It has no row if the cell runs on smaller images, whose positions are others.
        """
        sites = sorted(self._rows.get(key, {}).items())
        length = self._counts.shape[2] if sites else 0
        counts = self._counts[[row for _, row in sites]]
        alive: list[bytes] = []
        for _, row in sites:
            alive += _bits_by_position(self._alive[row], length)
        # int32 and packed bits, since a run writes such a table for every cell and shard.
        blocks = np.array([site for site, _ in sites], dtype=np.int32)
        positions = np.arange(length, dtype=np.int32)
        return pd.DataFrame(
            {
                "block": np.repeat(blocks, length),
                "position": np.tile(positions, len(sites)),
                "present": counts[:, 0].ravel(),
                "foreground": counts[:, 1].ravel(),
                "alive": alive,
            }
        )


def misplaced(lowest: int, highest: int, length: int) -> str:
    """What is wrong with positions from `lowest` to `highest` in a sequence of `length`, or ""."""
    if lowest >= 0 and highest < length:
        return ""
    return f"a token has position {highest if highest >= length else lowest}, of {length}"


def _bits_by_position(packed: list[NDArray[np.uint8]], length: int) -> list[bytes]:
    """Turn rows of bits per image, batch by batch, into a row of bits per position."""
    rows = np.concatenate(packed)
    if not len(rows):
        return [b""] * length
    alive = np.unpackbits(rows, axis=1, count=length)
    return [row.tobytes() for row in np.packbits(alive.T, axis=1)]

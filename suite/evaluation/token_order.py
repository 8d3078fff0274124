"""Order of the surviving tokens against that of the image: Kendall's tau, image by image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backbones.sequence import TokenSequence
from suite.data.loading.compiled import compiled
from suite.evaluation.groups import Group, in_order

Integers = NDArray[np.int64]
COMPARED = 1 << 25  # pairs at once, a byte each


# By merging sorted runs: k log k steps for k numbers, and the k of one check for sorted rows, which
# are most. Counting all pairs is quadratic, and this runs after every reduction of every cell.
@compiled
def _count_inversions(rows: Integers, left_out: Integers, inversions: Integers) -> None:
    """Count pairs in descending order of each row (B, L) into `inversions` (B,).

    The indices `left_out` (B, S), ascending, are not looked at.
    """
    length = rows.shape[1]
    leaving = left_out.shape[1]
    count = length - leaving
    values = np.empty(count, np.int64)
    merged = np.empty(count, np.int64)
    for b in range(len(rows)):
        inversions[b] = 0
        ascending = True
        kept = 0
        skipped = 0
        for i in range(length):
            if skipped < leaving and left_out[b, skipped] == i:
                skipped += 1
                continue
            values[kept] = rows[b, i]
            if kept > 0 and values[kept - 1] > values[kept]:
                ascending = False
            kept += 1
        # Merge neighbouring runs of `width` sorted numbers until one is left.
        width = count if ascending else 1
        while width < count:
            for start in range(0, count, 2 * width):
                middle = min(start + width, count)
                stop = min(start + 2 * width, count)
                i = start
                j = middle
                for k in range(start, stop):
                    if j >= stop or (i < middle and values[i] <= values[j]):
                        merged[k] = values[i]
                        i += 1
                    else:
                        merged[k] = values[j]
                        # It is smaller than all that is left of the first run.
                        inversions[b] += middle - i
                        j += 1
            values, merged = merged, values
            width *= 2


def inversions(tokens: TokenSequence) -> Integers:
    """Pairs of patch tokens (B,) on the CPU that stand in the other order than in the image."""
    special = tokens.special.numpy()
    if special.shape[1] > 1:
        special = np.sort(special, axis=1)
    found = np.empty(tokens.batch, np.int64)
    position = np.ascontiguousarray(tokens.position.numpy())
    _count_inversions(position, np.ascontiguousarray(special), found)
    return found


def all_pairs(tokens: TokenSequence) -> Tensor:
    """Pairs of patch tokens (B,) that stand in the other order than in the image, on their device.

    All pairs are compared at once, so that nothing waits for a GPU as `inversions` would.
    """
    rows = tokens.position.gather(1, tokens.patches())
    at_once = max(1, COMPARED // max(1, rows.shape[1] ** 2))
    found = []
    for some in rows.split(at_once):
        descending = some[:, :, None] > some[:, None, :]
        found.append(descending.triu(1).sum((1, 2)))
    return torch.cat(found)


class OrderTracker:
    """Kendall's tau of the patch tokens that survive each site, for one batch of images.

    tau = 1 - 4 d / (k (k - 1)), d the inversions of k tokens: 1 for sorted and -1 for reversed
    ones, 0 on average for random ones (Kendall, Biometrika 1938); 1 for k < 2.

    What is counted on a GPU stays there until a mean is asked for, so that the host waits once a
    batch and not after each reduction.
    """

    def __init__(self) -> None:
        self._waiting: list[Any] = []  # inversions (B,): tensors on a GPU, else arrays
        self._pairs: list[Integers | int] = []  # of each: twice the pairs, (B,) or of all images
        self._rows: dict[str, list[int]] = {}  # of both, by cell, site by site
        self._tau = np.empty((0, 0))  # (rows, B)

    def observe(self, keys: Sequence[str], site: int, tokens: TokenSequence) -> None:
        """Look at the tokens that enter block `site` for the cells `keys`, which share them."""
        self._add(keys, _found(tokens), _pairs(tokens))

    def observe_groups(self, key: str, groups: Sequence[Group]) -> None:
        """Look at those of one cell, whose images may have different numbers of them."""
        found = torch.cat([torch.as_tensor(_found(group.tokens)) for group in groups])
        rows = torch.cat([group.rows for group in groups])
        counts = [np.full(len(group.rows), _pairs(group.tokens)) for group in groups]
        ordered = found[rows.argsort()]
        self._add([key], ordered.numpy() if ordered.is_cpu else ordered, in_order(groups, counts))

    def _add(self, keys: Sequence[str], found: Tensor | Integers, pairs: Integers | int) -> None:
        for key in keys:
            self._rows.setdefault(key, []).append(len(self._pairs))
        self._waiting.append(found)
        self._pairs.append(pairs)

    def mean_tau(self, key: str, images: int) -> Tensor:
        """Mean tau (`images`,) of one cell over its sites; 1 without any."""
        if self._waiting:
            if isinstance(self._waiting[0], Tensor):
                # one copy, since each waits for the GPU
                found = torch.stack(self._waiting).cpu().numpy()
            else:
                found = np.stack(self._waiting)
            self._waiting = []
            # one for all images, unless they lose different counts
            pairs = np.empty((len(found), max(map(np.size, self._pairs))), np.int64)
            for row, twice in enumerate(self._pairs):
                pairs[row] = twice
            self._tau = 1 - 4 * found / pairs
        if key not in self._rows:
            return torch.ones(images, dtype=torch.float64)
        return torch.from_numpy(self._tau[self._rows[key]]).mean(0)


def _found(tokens: TokenSequence) -> Tensor | Integers:
    return inversions(tokens) if tokens.position.is_cpu else all_pairs(tokens)


def _pairs(tokens: TokenSequence) -> int:
    """Twice the number of pairs of patch tokens; 1, which divides 0 as well, if there are none."""
    count = tokens.length - tokens.special.shape[1]
    return max(1, count * (count - 1))

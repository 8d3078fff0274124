"""Order of the surviving tokens against that of the image: Kendall's tau, image by image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backbones.sequence import TokenSequence
from suite.data.loading.compiled import compiled
from suite.evaluation.groups import Group, in_order

Integers = NDArray[np.int64]


# By merging sorted runs: k log k steps for k numbers, and the k of one check for sorted rows, which
# are most. Counting all pairs is quadratic, and this runs after every reduction of every cell.
@compiled
def _count_inversions(rows: Integers, left_out: Integers, inversions: Integers) -> None:
    """Count pairs in descending order of each row (B, L) into `inversions` (B,).

    The indices `left_out` (B, S), ascending, are not looked at.
    """
    count = rows.shape[1] - left_out.shape[1]
    values = np.empty(count, np.int64)
    merged = np.empty(count, np.int64)
    for b in range(len(rows)):
        inversions[b] = 0
        ascending = True
        for i in range(count):
            # The i-th index that is not left out: one further for each left out before it.
            source = i
            for s in range(left_out.shape[1]):
                if source >= left_out[b, s]:
                    source += 1
            values[i] = rows[b, source]
            if i > 0 and values[i - 1] > values[i]:
                ascending = False
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


def kendall(rows: Integers, left_out: Integers) -> NDArray[np.float64]:
    """Kendall's tau (B,) between rows of distinct numbers (B, L) and their ascending order.

    The indices `left_out` (B, S) of each row do not count; k = L - S numbers do.

    tau = 1 - 4 d / (k (k - 1)), d the pairs in descending order: 1 for sorted and -1 for reversed
    rows, 0 on average for random ones (Kendall, Biometrika 1938); 1 for k < 2.
    """
    skipped = left_out if left_out.shape[1] < 2 else np.sort(left_out, axis=1)
    count = rows.shape[1] - skipped.shape[1]
    descending = np.empty(len(rows), np.int64)
    _count_inversions(
        np.ascontiguousarray(rows),
        np.ascontiguousarray(skipped),
        descending,
    )
    pairs = max(1, count * (count - 1))  # twice their number; 1 saves a division of 0 by 0
    tau: NDArray[np.float64] = 1 - 4 * descending / pairs
    return tau


def tau_of(tokens: TokenSequence) -> NDArray[np.float64]:
    """Kendall's tau (B,) of the patch tokens."""
    # Special tokens are no part of the image's order: a method may put them anywhere.
    return kendall(tokens.position.cpu().numpy(), tokens.special.cpu().numpy())


class OrderTracker:
    """Kendall's tau of the patch tokens that survive each site, for one batch of images."""

    def __init__(self) -> None:
        self._tau: dict[str, list[NDArray[np.float64]]] = {}

    def observe(self, keys: Sequence[str], site: int, tokens: TokenSequence) -> None:
        """Measure the tokens that enter block `site` for the cells `keys`, which share them."""
        tau = tau_of(tokens)
        for key in keys:
            self._tau.setdefault(key, []).append(tau)

    def observe_groups(self, key: str, groups: Sequence[Group]) -> None:
        """Measure those of one cell, whose images may have different numbers of them."""
        tau = in_order(groups, [tau_of(group.tokens) for group in groups])
        self._tau.setdefault(key, []).append(tau)

    def mean_tau(self, key: str, images: int) -> Tensor:
        """Mean tau (`images`,) of one cell over its sites; 1 without any."""
        if key not in self._tau:
            return torch.ones(images, dtype=torch.float64)
        return torch.from_numpy(np.stack(self._tau[key])).mean(0)

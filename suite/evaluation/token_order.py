"""How far the order of the surviving tokens is from that of the image: Kendall's tau, image by image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backbones.sequence import TokenSequence
from suite.data.loading.compiled import compiled

Integers = NDArray[np.int64]


@compiled
def _inversions(rows: Integers, left_out: Integers, found: Integers) -> None:
    """Pairs in descending order of each row (B, L), without its places `left_out` (B, S, ascending), into `found` (B,).

    By merging, so in k log k steps for k numbers; sorted rows, the usual ones, are seen to be so in
    one.
    """
    batch, count = len(rows), rows.shape[1] - left_out.shape[1]
    ones, others = np.empty(count, np.int64), np.empty(count, np.int64)
    for b in range(batch):
        found[b] = 0
        ascending = True
        for i in range(count):
            place = i
            for s in range(left_out.shape[1]):
                if place >= left_out[b, s]:
                    place += 1
            ones[i] = rows[b, place]
            ascending = ascending and (i == 0 or ones[i - 1] <= ones[i])
        width = count if ascending else 1
        while width < count:
            for start in range(0, count, 2 * width):
                middle, stop = min(start + width, count), min(start + 2 * width, count)
                i, j = start, middle
                for k in range(start, stop):
                    if j >= stop or (i < middle and ones[i] <= ones[j]):
                        others[k] = ones[i]
                        i += 1
                    else:
                        others[k] = ones[j]
                        found[b] += middle - i
                        j += 1
            ones, others = others, ones
            width *= 2


def kendall(rows: Integers, left_out: Integers) -> NDArray[np.float64]:
    """Kendall's tau (B,) between each row of distinct numbers (B, L) and the ascending order; 1 where k < 2.

    The places `left_out` (B, S) are not looked at; k = L - S numbers are.

    tau = 1 - 4 d / (k (k - 1)), d the pairs that stand in descending order: 1 for sorted, -1 for
    reversed rows, 0 in the mean over random ones (Kendall, Biometrika 1938).
    """
    skipped = left_out if left_out.shape[1] < 2 else np.sort(left_out, axis=1)
    count = rows.shape[1] - skipped.shape[1]
    falling = np.empty(len(rows), np.int64)
    _inversions(np.ascontiguousarray(rows), np.ascontiguousarray(skipped), falling)
    tau: NDArray[np.float64] = 1 - 4 * falling / max(1, count * (count - 1))
    return tau


class OrderTracker:
    """Kendall's tau of the patch tokens that survive each site, for one batch of images."""

    def __init__(self) -> None:
        self._tau: dict[str, list[NDArray[np.float64]]] = {}

    def observe(self, keys: Sequence[str], site: int, tokens: TokenSequence) -> None:
        """Measure the tokens that enter block `site` for the cells `keys`, which share them."""
        tau = kendall(tokens.position.cpu().numpy(), tokens.special.cpu().numpy())
        for key in keys:
            self._tau.setdefault(key, []).append(tau)

    def mean_tau(self, key: str, images: int) -> Tensor:
        """Mean tau (`images`,) of one cell over its sites; 1 if it has none."""
        if key not in self._tau:
            return torch.ones(images, dtype=torch.float64)
        return torch.from_numpy(np.stack(self._tau[key])).mean(0)

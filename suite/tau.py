"""How far the order of the surviving tokens is from that of the image: Kendall's tau, image by image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from backbones.sequence import TokenSequence

AT_ONCE = 1 << 22  # pairs


def kendall(values: Tensor) -> Tensor:
    """Kendall's tau (B,) between each row of distinct numbers (B, k) and the ascending order; 1 where k < 2.

    tau = 1 - 4 d / (k (k - 1)), d the pairs that stand in descending order: 1 for sorted, -1 for reversed rows, 0 in
    the mean over random ones (Kendall, Biometrika 1938).
    """
    count = values.shape[1]
    if count < 2 or bool((values.diff(dim=1) > 0).all()):
        return torch.ones(values.shape[0], dtype=torch.float64)
    rows = values.split(max(1, AT_ONCE // count**2))
    falling = torch.cat([(part[:, :, None] > part[:, None, :]).triu(1).sum((1, 2)) for part in rows])
    return 1 - 4 * falling.double().cpu() / (count * (count - 1))


class Orders:
    """Tau of the patch tokens that survive each site, averaged over the sites of a cell, for one batch of images.

    `observe` is what `suite.evaluate` calls after every reduction.
    """

    def __init__(self) -> None:
        self._found: dict[str, list[Tensor]] = {}

    def observe(self, keys: Sequence[str], site: int, tokens: TokenSequence) -> None:
        """Measure the tokens that enter block `site`, for all cells that share them."""
        tau = kendall(tokens.position.gather(1, tokens.patches()))
        for key in keys:
            self._found.setdefault(key, []).append(tau)

    def of(self, key: str, images: int) -> Tensor:
        """Mean tau (`images`,) of one cell; 1 where it reduces nothing."""
        found = self._found.get(key)
        return torch.stack(found).mean(0) if found else torch.ones(images, dtype=torch.float64)

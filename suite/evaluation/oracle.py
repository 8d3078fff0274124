"""The leave-one-out oracle: the reducer that asks the labels which tokens can go."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from backbones.base import Backbone
from backbones.sequence import TokenSequence
from methods.parts.match import lowest
from suite.evaluation.token_edits import removed, without

ROUNDS = 8
MOST_IMAGES = 64


def leave_one_out(
    model: Backbone, tokens: TokenSequence, row: int, site: int, label: int
) -> Tensor:
    """Cross-entropy (n,) of one image when each of its n patch tokens in turn is missing from block `site` on."""
    count = tokens.length - tokens.special.shape[1]
    missing = removed(tokens, row, torch.arange(count))
    logits = model.readout(model.run(missing, site)).double()
    return F.cross_entropy(
        logits, torch.full((count,), label, device=logits.device), reduction="none"
    )


def rounds(remove: int) -> list[int]:
    """How many tokens go in each round where `remove` go at one site: equally many, fewer in the last."""
    step = -(-remove // ROUNDS)
    return [min(step, left) for left in range(remove, 0, -step)] if remove else []


class OracleReducer:
    """Takes `remove` patch tokens away at `site`, those first that the labelled loss misses least.

    `labels` maps the index of an image in its data set to its class.
    """

    needs: frozenset[str] = frozenset()

    def __init__(self, model: Backbone, labels: Mapping[int, int], remove: int, site: int) -> None:
        self.model, self.labels, self.remove, self.site = model, labels, remove, site

    def __call__(self, tokens: TokenSequence) -> TokenSequence:
        """The tokens left after up to eight rounds of ranking and removing."""
        for count in rounds(self.remove):
            tokens = without(tokens, lowest(self.losses(tokens), count))
        return tokens

    def losses(self, tokens: TokenSequence) -> Tensor:
        """Loss (B, n) without each patch token: high where the token is needed."""
        rows = [
            leave_one_out(self.model, tokens, row, self.site, self.labels[int(tokens.image[row])])
            for row in range(tokens.batch)
        ]
        return torch.stack(rows)

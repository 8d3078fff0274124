"""The leave-one-out oracle: remove the tokens whose absence raises the labelled loss least."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from backbones.base import Backbone
from backbones.sequence import TokenSequence
from methods.named.oracle import tokens_per_round
from methods.parts.match import lowest
from suite.evaluation.token_edits import removed, without


def leave_one_out(
    model: Backbone, tokens: TokenSequence, row: int, site: int, label: int
) -> Tensor:
    """Cross-entropy (n,) of one image without each of its n patch tokens from block `site` on."""
    count = tokens.length - tokens.special.shape[1]
    ranks = torch.arange(count)
    variants = model.run(removed(tokens, row, ranks), site)
    # float64, since many tokens hardly change the loss and their order would be that of rounding.
    logits = model.readout(variants).double()
    labels = torch.full((count,), label, device=logits.device)
    return F.cross_entropy(logits, labels, reduction="none")


class OracleReducer:
    """Remove `remove` patch tokens at `site`, in rounds, those first whose absence costs least.

    `labels` maps the index of an image in its data set to its class.
    """

    needs: frozenset[str] = frozenset()

    def __init__(
        self,
        model: Backbone,
        labels: Mapping[int, int],
        remove: int,
        site: int,
    ) -> None:
        self.model = model
        self.labels = labels
        self.remove = remove
        self.site = site

    def __call__(self, tokens: TokenSequence) -> TokenSequence:
        """Reduce `tokens`; they are ranked anew in every round."""
        for count in tokens_per_round(self.remove):
            tokens = without(tokens, lowest(self.losses(tokens), count))
        return tokens

    def losses(self, tokens: TokenSequence) -> Tensor:
        """Loss (B, n) without each patch token: high where the token is needed."""
        losses = []
        # One image at a time, since its n variants are already a large batch.
        for row, image in enumerate(tokens.image.tolist()):
            label = self.labels[image]
            losses.append(leave_one_out(self.model, tokens, row, self.site, label))
        return torch.stack(losses)

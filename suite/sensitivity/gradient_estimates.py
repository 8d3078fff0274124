"""What one backward pass says a token is worth: gradient times activation, and the product of their lengths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from backbones.base import Backbone
from backbones.sequence import TokenSequence
from suite.evaluation.outcomes import loss_and_margin


@dataclass(frozen=True)
class Estimates:
    """Estimates for every token at the entrance of each layer, (layers, B, L) each, in fp64.

    With x a token (the sum of its two streams) and g the gradient of the loss or of the margin there: ``loss`` and
    ``margin`` are -g x, the change to first order when x goes to 0 (gradient times activation: Molchanov et al.,
    "Pruning Convolutional Neural Networks for Resource Efficient Inference", ICLR 2017, arXiv:1611.06440, for feature
    maps). ``bound`` is |g| |x|, the most that a step as long as x could change the loss to first order.
    """

    loss: Tensor
    margin: Tensor
    bound: Tensor


def gradient_estimates(
    model: Backbone, embedded: TokenSequence, labels: Tensor, layers: Sequence[int]
) -> Estimates:
    """One pass forward, one backward for the loss and one for the margin.

    `embedded` enters block 0 and must not come from inference mode; `labels` (B,) are on its
    device.
    """
    with torch.enable_grad():
        tokens, values, nudges = embedded, [], []
        for block in range(model.depth):
            if block in layers:
                values.append((tokens.residual + tokens.branch).detach().double())
                # The gradient is asked of a zero added there: the residual itself also flows into
                # its own branch.
                nudges.append(torch.zeros_like(tokens.branch, requires_grad=True))
                tokens = replace(tokens, branch=tokens.branch + nudges[-1])
            tokens = model.run(tokens, block, block + 1)
        logits = model.readout(tokens)
        loss, margin = (
            part.sum() for part in loss_and_margin(logits, logits.log_softmax(1), labels)
        )
    by_loss = torch.autograd.grad(loss, nudges, retain_graph=True)
    by_margin = torch.autograd.grad(margin, nudges)
    return Estimates(
        loss=torch.stack([-(g.double() * x).sum(-1) for g, x in zip(by_loss, values, strict=True)]),
        margin=torch.stack(
            [-(g.double() * x).sum(-1) for g, x in zip(by_margin, values, strict=True)]
        ),
        bound=torch.stack(
            [g.double().norm(dim=-1) * x.norm(dim=-1) for g, x in zip(by_loss, values, strict=True)]
        ),
    )

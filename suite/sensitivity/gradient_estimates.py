"""Estimate from gradients what removing each token would change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from backbones.base import Backbone
from backbones.sequence import TokenSequence
from suite.evaluation.outcomes import loss_and_margin


def gradient_estimates(
    model: Backbone,
    embedded: TokenSequence,
    labels: Tensor,
    layers: Sequence[int],
) -> dict[str, Tensor]:
    """Estimate the effect of each token entering each of `layers`, (layers, B, L) in fp64.

    With x a token (the sum of its two streams) and g the gradient of the loss or the margin there:

    ``estimate_loss``, ``estimate_margin``
        -g·x, the first-order change when x goes to 0 (gradient times activation: Molchanov et al.,
        "Pruning Convolutional Neural Networks for Resource Efficient Inference", ICLR 2017,
        arXiv:1611.06440, for feature maps)
    ``bound_loss``
        |g| |x|, the largest first-order change of the loss for any step of length |x|

    It takes one forward pass and one backward pass each for the loss and the margin. `embedded`
    enters block 0 and must not come from inference mode; `labels` (B,) are on its device.
    """
    with torch.enable_grad():
        tokens = embedded
        activations, probes = [], []
        for block in range(model.depth):
            if block in layers:
                activations.append((tokens.residual + tokens.branch).detach())
                # Differentiate with respect to a zero added to the branch. The residual has also
                # produced the branch that enters with it: its gradient would include that path.
                probes.append(torch.zeros_like(tokens.branch, requires_grad=True))
                tokens = replace(tokens, branch=tokens.branch + probes[-1])
            tokens = model.run(tokens, block, block + 1)
        logits = model.readout(tokens)
        loss, margin = loss_and_margin(logits, logits.log_softmax(1), labels)
        loss_gradients = torch.autograd.grad(loss.sum(), probes, retain_graph=True)
        margin_gradients = torch.autograd.grad(margin.sum(), probes)
    # fp64, since the products nearly cancel over the channels where a norm follows.
    x = torch.stack(activations).double()
    by_loss = torch.stack(loss_gradients).double()
    by_margin = torch.stack(margin_gradients).double()
    return {
        "estimate_loss": -(by_loss * x).sum(-1),
        "estimate_margin": -(by_margin * x).sum(-1),
        "bound_loss": by_loss.norm(dim=-1) * x.norm(dim=-1),
    }

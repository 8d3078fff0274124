"""Estimate from gradients what removing each token would change."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from backbones.base import Backbone
from backbones.sequence import TokenSequence


def gradient_estimates(
    model: Backbone,
    embedded: TokenSequence,
    measures: Callable[[Tensor], Mapping[str, Tensor]],
    layers: Sequence[int],
) -> dict[str, Tensor]:
    """Estimate the effect of each token entering each of `layers`, (layers, B, L) in fp64.

    `measures` gives the loss (B,) of logits under the name ``loss``, and perhaps the ``margin``.
    With x a token (the sum of its two streams) and g the gradient of either there:

    ``estimate_loss``, ``estimate_margin``
        -g·x, the first-order change when x goes to 0 (gradient times activation: Molchanov et al.,
        "Pruning Convolutional Neural Networks for Resource Efficient Inference", ICLR 2017,
        arXiv:1611.06440, for feature maps)
    ``bound_loss``
        |g| |x|, the largest first-order change of the loss for any step of length |x|

    It takes one forward pass and one backward pass for each measure. `embedded` enters block 0 and
    must not come from inference mode.
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
        gradients = {}
        for name, values in measures(model.readout(tokens)).items():
            gradients[name] = torch.autograd.grad(values.sum(), probes, retain_graph=True)
    # fp64, since the products nearly cancel over the channels where a norm follows.
    x = torch.stack(activations).double()
    slopes = {name: torch.stack(parts).double() for name, parts in gradients.items()}
    estimates = {f"estimate_{name}": -(slope * x).sum(-1) for name, slope in slopes.items()}
    return estimates | {"bound_loss": slopes["loss"].norm(dim=-1) * x.norm(dim=-1)}

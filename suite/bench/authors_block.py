"""Vim's block as its authors run it on CUDA: a yardstick from the same public functions.

Activations are (B, E, L) from the first product to the last. Each direction is one call of
`causal_conv1d_fn`, two products and one call of `selective_scan_fn`; the second direction takes the
flipped sequence, and its output is flipped back. Addition and norm are one pass, here by the
suite's own program.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from torch import Tensor, nn
from torch.nn import functional

from backbones.layers.block import Block
from backbones.layers.mixer import BidirectionalMixer
from backbones.layers.scan_weights import Direction
from backbones.scan.stock import conv_function, scan_function
from backbones.scan.triton_norm import add_norm
from backbones.sequence import TokenSequence


class AuthorsBlock(nn.Module):
    """The weights of a block in the authors' sequence of operations, for inference."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.block = block

    def forward(self, tokens: TokenSequence, needs: frozenset[str] = frozenset()) -> TokenSequence:
        """Run the block on `tokens`; ValueError if `needs` names a trace field."""
        # their fused kernels return nothing of what happens inside
        if needs:
            raise ValueError("the authors' block has no trace")
        norm = self.block.norm
        # one pass over the tokens, as their fused norm
        residual, u = add_norm(tokens.branch, tokens.residual, norm.weight, norm.eps)
        branch = authors_mixer(self.block.mixer, u)
        return replace(tokens, branch=branch, residual=residual, trace=None)


def authors_mixer(mixer: BidirectionalMixer, u: Tensor) -> Tensor:
    """The output of `BidirectionalMixer.forward` for tokens (B, L, C)."""
    batch, length, _ = u.shape
    # channels first, which is the layout of their kernels
    columns = u.reshape(batch * length, -1).t()
    xz = mixer.in_proj.weight @ columns
    xz = xz.view(-1, batch, length).transpose(0, 1)
    weights = mixer.scan_weights
    forward, backward = weights.directions
    A = weights.state_matrix()
    # they flip the sequence for the second direction, and its output back
    flipped = _direction(backward, A[1], xz.flip(-1), mixer)
    y = _direction(forward, A[0], xz, mixer) + flipped.flip(-1)
    if weights.divide:
        y = y / 2
    return functional.linear(y.transpose(1, 2), mixer.out_proj.weight)


def _direction(weights: Direction, A: Tensor, xz: Tensor, mixer: BidirectionalMixer) -> Tensor:
    """Gated output (B, E, L) of one direction, which begins at the first token."""
    batch, _, length = xz.shape
    x, z = xz.chunk(2, dim=1)
    conv, dt_proj = weights.conv, weights.dt_proj
    x = conv_function()(x, conv.weight.squeeze(1), conv.bias, activation="silu")
    rows = x.transpose(1, 2).reshape(batch * length, -1)
    rows = functional.linear(rows, weights.x_proj.weight)
    dt, B, C = rows.split([mixer.dt_rank, mixer.d_state, mixer.d_state], dim=-1)
    delta = dt_proj.weight @ dt.t()
    delta = delta.view(-1, batch, length).transpose(0, 1)
    # their kernel takes tokens last, in memory too
    B = B.view(batch, length, -1).transpose(1, 2).contiguous()
    C = C.view(batch, length, -1).transpose(1, 2).contiguous()
    D = weights.D.float()
    bias = dt_proj.bias.float()
    y: Tensor = scan_function()(x, delta, A, B, C, D, z, bias, True)
    return y


def authors_blocks(blocks: Iterable[nn.Module]) -> nn.ModuleList:
    """The same weights in the authors' blocks."""
    return nn.ModuleList(AuthorsBlock(block) for block in blocks if isinstance(block, Block))

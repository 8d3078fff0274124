"""The block as Vim's authors run it on CUDA: the yardstick of our own, from the same public functions.

Activations are (B, E, L) from the first product to the last. Each direction is one call of
`causal_conv1d_fn`, two products and one call of `selective_scan_fn`; the second direction sees the
sequence flipped, and its output is flipped back. Addition and norm are one pass, here by our own
program.
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


class StockBlock(nn.Module):
    """A block's weights under the authors' sequence of operations; for inference, and without traces."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.block = block

    def forward(self, tokens: TokenSequence, needs: frozenset[str] = frozenset()) -> TokenSequence:
        """Run the block on `tokens`; ValueError if anything of its trace is needed."""
        if needs:
            raise ValueError("the stock block shows no trace")
        norm = self.block.norm
        residual, u = add_norm(tokens.branch, tokens.residual, norm.weight, norm.eps)
        return replace(tokens, branch=stock_mix(self.block.mixer, u), residual=residual, trace=None)


def stock_mix(mixer: BidirectionalMixer, u: Tensor) -> Tensor:
    """What `BidirectionalMixer.forward` computes for tokens (B, L, C)."""
    batch, length, _ = u.shape
    xz = mixer.in_proj.weight @ u.reshape(batch * length, -1).t()
    xz = xz.view(-1, batch, length).transpose(0, 1)
    weights = mixer.scan_weights
    forward, backward = weights.directions
    A = weights.state_matrix()
    y = _direction(forward, A[0], xz, mixer) + _direction(backward, A[1], xz.flip(-1), mixer).flip(
        -1
    )
    y = y / 2 if mixer.divide else y
    return functional.linear(y.transpose(1, 2), mixer.out_proj.weight)


def _direction(part: Direction, A: Tensor, xz: Tensor, mixer: BidirectionalMixer) -> Tensor:
    """Gated output (B, E, L) of one direction that begins at the first token."""
    batch, _, length = xz.shape
    x, z = xz.chunk(2, dim=1)
    x = conv_function()(x, part.conv.weight.squeeze(1), part.conv.bias, activation="silu")
    rows = functional.linear(x.transpose(1, 2).reshape(batch * length, -1), part.x_proj.weight)
    dt, B, C = rows.split([mixer.dt_rank, mixer.d_state, mixer.d_state], dim=-1)
    delta = (part.dt_proj.weight @ dt.t()).view(-1, batch, length).transpose(0, 1)
    B, C = (part.view(batch, length, -1).transpose(1, 2).contiguous() for part in (B, C))
    y: Tensor = scan_function()(
        x, delta, A, B, C, part.D.float(), z, part.dt_proj.bias.float(), True
    )
    return y


def stock_blocks(blocks: Iterable[nn.Module]) -> nn.ModuleList:
    """The same weights in stock blocks."""
    return nn.ModuleList(StockBlock(block) for block in blocks if isinstance(block, Block))

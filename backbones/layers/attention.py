"""The two half blocks of a vision transformer: attention, and the MLP behind it.

Each is a block of its own (add the last branch to the residual, normalise, transform), so that the
place between attention and MLP is a site: there ToMe and EViT reduce. The layers themselves are
timm's, under timm's names.

For inference on a CPU in fp32 the half blocks multiply by oneDNN and attend by torch's fused
kernel; with gradients everything is written out, which is also what FLOPs are counted on.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from backbones.common.errors import UserError
from backbones.layers import batch_invariant
from backbones.layers.norm import layer_norm
from backbones.sequence import TokenSequence, Trace

TRACED = frozenset({"keys", "cls_attention"})


def log_size(tokens: TokenSequence, dtype: torch.dtype) -> Tensor | None:
    """Proportional attention (ToMe, arXiv 2210.09461): log of each token's size (B, 1, 1, L), exactly 0 for size 1.

    Added to the logits of attention it makes a token of size s count as s tokens; None unless
    `tokens.weighted`.
    """
    wide = torch.promote_types(dtype, tokens.size.dtype)
    return tokens.size.to(wide).log().to(dtype)[:, None, None, :] if tokens.weighted else None


class AttentionHalf(nn.Module):
    """residual += branch; branch = attention(norm(residual))."""

    def __init__(self, layer: Any) -> None:
        """`layer` is a `timm.models.vision_transformer.Block`, where the parameters stay registered."""
        super().__init__()
        self.norm, self.attention = layer.norm1, layer.attn

    def forward(self, tokens: TokenSequence, needs: frozenset[str] = frozenset()) -> TokenSequence:
        """Run the half block; the trace of the result holds the fields named in `needs`."""
        if not needs <= TRACED:
            raise UserError(
                f"attention has no {', '.join(sorted(needs - TRACED))}: it has {', '.join(sorted(TRACED))}"
            )
        layer = self.attention
        residual = tokens.residual + tokens.branch
        u = layer_norm(self.norm, residual)
        fast = serves_fast(u)
        # (3, B, heads, L, width)
        qkv = batch_invariant.linear(u, layer.qkv.weight, layer.qkv.bias, fast=fast).unflatten(
            2, (3, layer.num_heads, -1)
        )
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        bias = log_size(tokens, u.dtype)
        shown: dict[str, Tensor] = {"keys": k.mean(1)} if "keys" in needs else {}
        weights = attention_weights(q, k, layer.scale, bias) if torch.is_grad_enabled() else None
        if weights is None:
            mixed = functional.scaled_dot_product_attention(
                q, k, v, attn_mask=bias, scale=layer.scale
            )
        else:
            mixed = weights @ v
        if "cls_attention" in needs:
            place = tokens.special[:, None, :1, None]
            if weights is None:  # the fused kernel keeps no weights: the one row is worked out anew
                reader = q.take_along_dim(place, 2) * layer.scale
                # not a matrix product: of one query its bits depend on the batch
                logits = (reader * k).sum(-1)[:, :, None]
                row = (logits if bias is None else logits + bias).softmax(-1)
            else:
                row = weights.take_along_dim(place, 2)
            shown["cls_attention"] = row.mean(1)[:, 0]
        mixed = mixed.transpose(1, 2).flatten(2)
        branch = batch_invariant.linear(mixed, layer.proj.weight, layer.proj.bias, fast=fast)
        return replace(tokens, branch=branch, residual=residual, trace=Trace(**shown))


class MlpHalf(nn.Module):
    """residual += branch; branch = mlp(norm(residual))."""

    def __init__(self, layer: Any) -> None:
        """`layer` is a `timm.models.vision_transformer.Block`, where the parameters stay registered."""
        super().__init__()
        self.norm, self.mlp = layer.norm2, layer.mlp

    def forward(self, tokens: TokenSequence, needs: frozenset[str] = frozenset()) -> TokenSequence:
        """Run the half block, which has nothing to show."""
        if needs:
            raise UserError(
                f"an MLP has no {', '.join(sorted(needs))}: reduce behind attention, at the listed sites"
            )
        up, down = self.mlp.fc1, self.mlp.fc2
        residual = tokens.residual + tokens.branch
        u = layer_norm(self.norm, residual)
        fast = serves_fast(u)
        inner = batch_invariant.linear(u, up.weight, up.bias, fast=fast, gelu=True)
        branch = batch_invariant.linear(inner, down.weight, down.bias, fast=fast)
        return replace(tokens, branch=branch, residual=residual, trace=None)


def attention_weights(q: Tensor, k: Tensor, scale: float, bias: Tensor | None) -> Tensor:
    """softmax(scale q k^T + bias) of queries (B, H, M, D) over keys (B, H, L, D): (B, H, M, L)."""
    logits = (q * scale) @ k.transpose(-2, -1)
    return (logits if bias is None else logits + bias).softmax(-1)


def serves_fast(x: Tensor) -> bool:
    """Whether oneDNN may multiply: inference on a CPU in fp32."""
    return x.device.type == "cpu" and x.dtype == torch.float32 and not torch.is_grad_enabled()

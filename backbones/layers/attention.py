"""The two half blocks of a vision transformer: attention, and the MLP behind it.

Each is a block of its own (add the last branch to the residual, normalise, transform), so that the
place between attention and MLP is a site: there ToMe and EViT reduce. The layers themselves are
timm's, under timm's names.

Inference on a CPU in fp32 multiplies by oneDNN and attends by torch's fused kernel; with gradients
everything is written out, which is also what FLOPs are counted on.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from backbones.common.errors import UserError
from backbones.layers.batch_invariant import linear
from backbones.layers.norm import layer_norm
from backbones.sequence import TokenSequence, Trace

TRACED = frozenset({"keys", "cls_attention"})


def log_size(tokens: TokenSequence, dtype: torch.dtype) -> Tensor | None:
    """Proportional attention (ToMe, arXiv 2210.09461): log of token sizes (B, 1, 1, L).

    Added to the logits of attention it makes a token of size s count as s tokens; it is exactly 0
    for size 1. None unless `tokens.weighted`.
    """
    if not tokens.weighted:
        return None
    # in fp32 at least: a low precision would round large sizes
    wide = torch.promote_types(dtype, tokens.size.dtype)
    logs = tokens.size.to(wide).log().to(dtype)
    return logs[:, None, None, :]


class AttentionHalf(nn.Module):
    """Residual += branch; branch = attention(norm(residual))."""

    def __init__(self, layer: Any) -> None:
        """`layer` is a `timm.models.vision_transformer.Block`, which keeps the parameters."""
        super().__init__()
        self.norm, self.attention = layer.norm1, layer.attn

    def forward(self, tokens: TokenSequence, needs: frozenset[str] = frozenset()) -> TokenSequence:
        """Run the half block; the trace of the result has the fields named in `needs`."""
        if not needs <= TRACED:
            missing = ", ".join(sorted(needs - TRACED))
            raise UserError(f"attention has no {missing}: it has {', '.join(sorted(TRACED))}")
        layer = self.attention
        residual = tokens.residual + tokens.branch
        u = layer_norm(self.norm, residual)
        fast = can_run_fast(u)
        qkv = linear(u, layer.qkv.weight, layer.qkv.bias, fast=fast)
        # (B, L, 3 * heads * width) to (3, B, heads, L, width)
        qkv = qkv.unflatten(2, (3, layer.num_heads, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        bias = log_size(tokens, u.dtype)
        if torch.is_grad_enabled():
            weights = attention_weights(q, k, layer.scale, bias)
            mixed = weights @ v
        else:
            weights = None
            mixed = functional.scaled_dot_product_attention(
                q,
                k,
                v,
                attn_mask=bias,
                scale=layer.scale,
            )
        shown: dict[str, Any] = {}
        if "keys" in needs:
            shown["keys"] = k.mean(1)
        if "cls_attention" in needs:
            place = tokens.special[:, None, :1, None]
            if weights is None:
                # The fused kernel returns no weights: compute the class token's row. A matrix
                # product is avoided, since its bits for a single query depend on the batch.
                query = q.take_along_dim(place, 2) * layer.scale
                logits = (query * k).sum(-1)[:, :, None]
                row = (logits if bias is None else logits + bias).softmax(-1)
            else:
                row = weights.take_along_dim(place, 2)
            shown["cls_attention"] = row.mean(1)[:, 0]
        # heads side by side again
        mixed = mixed.transpose(1, 2).flatten(2)
        branch = linear(mixed, layer.proj.weight, layer.proj.bias, fast=fast)
        return replace(tokens, branch=branch, residual=residual, trace=Trace(**shown))


class MlpHalf(nn.Module):
    """Residual += branch; branch = mlp(norm(residual))."""

    def __init__(self, layer: Any) -> None:
        """`layer` keeps the parameters, under the names of timm's `Block`."""
        super().__init__()
        self.norm, self.mlp = layer.norm2, layer.mlp

    def forward(self, tokens: TokenSequence, needs: frozenset[str] = frozenset()) -> TokenSequence:
        """Run the half block; it has no trace."""
        if needs:
            raise UserError(
                f"an MLP has no {', '.join(sorted(needs))}: "
                "reduce behind attention or mixer, at the listed sites"
            )
        up, down = self.mlp.fc1, self.mlp.fc2
        residual = tokens.residual + tokens.branch
        u = layer_norm(self.norm, residual)
        fast = can_run_fast(u)
        inner = linear(u, up.weight, up.bias, fast=fast, gelu=True)
        branch = linear(inner, down.weight, down.bias, fast=fast)
        return replace(tokens, branch=branch, residual=residual, trace=None)


def attention_weights(q: Tensor, k: Tensor, scale: float, bias: Tensor | None) -> Tensor:
    """softmax(scale q k^T + bias) of queries (B, H, M, D) and keys (B, H, L, D): (B, H, M, L)."""
    logits = (q * scale) @ k.transpose(-2, -1)
    return (logits if bias is None else logits + bias).softmax(-1)


def can_run_fast(x: Tensor) -> bool:
    """Whether oneDNN may multiply: inference on a CPU in fp32."""
    return x.device.type == "cpu" and x.dtype == torch.float32 and not torch.is_grad_enabled()

"""Vision transformers, ToMe and EViT as their authors describe them, query by query.

Shares nothing with the product; state dicts are those of the published checkpoints. One image at a
time.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

State = dict[str, Tensor]
Reduce = Callable[[Tensor, Tensor, Tensor, list[float]], tuple[Tensor, list[float]]]


def normed(x: Tensor, state: State, at: str) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    scaled = centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt()
    return scaled * state[f"{at}.weight"] + state[f"{at}.bias"]


def affine(x: Tensor, state: State, at: str) -> Tensor:
    return x @ state[f"{at}.weight"].T + state[f"{at}.bias"]


def attended(
    x: Tensor, state: State, at: str, heads: int, size: list[float]
) -> tuple[Tensor, Tensor, Tensor]:
    """Attention among tokens (L, C) of these sizes; also the keys and the first token's row."""
    dim = x.shape[1]
    width = dim // heads
    q, k, v = affine(x, state, f"{at}.qkv").split(dim, dim=1)
    out = torch.zeros_like(x)
    row = torch.zeros(len(x), dtype=x.dtype)
    for head in range(heads):
        part = slice(head * width, (head + 1) * width)
        for i in range(len(x)):
            weights = [
                s * math.exp((q[i, part] @ k[j, part]).item() / math.sqrt(width))
                for j, s in enumerate(size)
            ]
            shares = torch.tensor(weights, dtype=x.dtype) / sum(weights)
            out[i, part] = sum(
                (shares[j] * v[j, part] for j in range(len(x))), torch.zeros(width, dtype=x.dtype)
            )
            if i == 0:
                row += shares / heads
    keys = torch.stack([k[:, head * width : (head + 1) * width] for head in range(heads)]).mean(0)
    return affine(out, state, f"{at}.proj"), keys, row


def fed(x: Tensor, state: State, at: str) -> Tensor:
    inner = affine(x, state, f"{at}.fc1")
    return affine(inner * 0.5 * (1 + torch.erf(inner / math.sqrt(2))), state, f"{at}.fc2")


def patches(state: State, image: Tensor, patch: int) -> list[Tensor]:
    weight, bias = state["patch_embed.proj.weight"], state["patch_embed.proj.bias"]
    cuts = range(0, image.shape[1], patch)
    return [
        torch.einsum("ochw,chw->o", weight, image[:, top : top + patch, left : left + patch]) + bias
        for top in cuts
        for left in cuts
    ]


def by_hand(
    state: State, image: Tensor, config: dict[str, Any], reduce: Mapping[int, Reduce] | None = None
) -> Tensor:
    """Logits of one image (3, S, S): the forward pass as its authors describe it.

    `reduce` names layers between whose attention and MLP the tokens are reduced.
    """
    x = (
        torch.stack([state["cls_token"][0, 0], *patches(state, image, config["patch"])])
        + state["pos_embed"][0]
    )
    size = [1.0] * len(x)
    for layer in range(config["layers"]):
        at = f"blocks.{layer}"
        out, keys, row = attended(
            normed(x, state, f"{at}.norm1"), state, f"{at}.attn", config["heads"], size
        )
        x = x + out
        if reduce and layer in reduce:
            x, size = reduce[layer](x, keys, row, size)
        x = x + fed(normed(x, state, f"{at}.norm2"), state, f"{at}.mlp")
    return affine(normed(x[:1], state, "norm"), state, "head")[0]


def tome(removed: int) -> Reduce:
    """ToMe as published."""
    # Token 0 is the class token; even places merge into odd ones; sizes count in attention.

    def reduce(
        x: Tensor, keys: Tensor, row: Tensor, size: list[float]
    ) -> tuple[Tensor, list[float]]:
        unit = keys / keys.norm(dim=1, keepdim=True)
        a, b = range(0, len(x), 2), range(1, len(x), 2)
        edges = []
        for i in a:
            if i:
                likeness = [float(unit[i] @ unit[j]) for j in b]
                best = max(range(len(likeness)), key=lambda place: likeness[place])
                edges.append((likeness[best], i, b[best]))
        into = {i: j for _, i, j in sorted(edges, reverse=True)[:removed]}
        rows, sizes = [x[i] for i in a if i not in into], [size[i] for i in a if i not in into]
        for j in b:
            group = [j, *(i for i, target in into.items() if target == j)]
            whole = sum(size[i] for i in group)
            rows.append(sum((size[i] * x[i] for i in group), torch.zeros_like(x[0])) / whole)
            sizes.append(whole)
        return torch.stack(rows), sizes

    return reduce


def evit(removed: int) -> Reduce:
    """EViT as published."""
    # The patches the class token attends to stay, by descending attention; the others are fused.

    def reduce(
        x: Tensor, keys: Tensor, row: Tensor, size: list[float]
    ) -> tuple[Tensor, list[float]]:
        ranked = sorted(range(1, len(x)), key=lambda i: -float(row[i]))
        kept, lost = ranked[: len(ranked) - removed - 1], ranked[len(ranked) - removed - 1 :]
        extra = sum((float(row[i]) * x[i] for i in lost), torch.zeros_like(x[0]))
        rows = [x[0], *(x[i] for i in kept), extra]
        return torch.stack(rows), [1.0] * len(rows)

    return reduce

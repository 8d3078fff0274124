"""Adventurer as its released code computes it, token by token, also with tokens missing.

Shares nothing with the product; state dicts are those of the published checkpoints.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

State = Mapping[str, Tensor]


def silu(x: Tensor) -> Tensor:
    return x / (1 + torch.exp(-x))


def rms(x: Tensor, weight: Tensor) -> Tensor:
    return x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt() * weight


def scanned(rows: list[Tensor], state: State, at: str, gaps: list[Tensor]) -> list[Tensor]:
    """The mixer on rows (C,) in the order in which it reads them.

    `gaps` (H,) is time that passes before each row, with nothing read.
    """
    A, D = -torch.exp(state[f"{at}A_log"]), state[f"{at}D"]
    kernel, bias = state[f"{at}conv1d.weight"][:, 0], state[f"{at}conv1d.bias"]
    heads, inner = len(A), state[f"{at}norm.weight"].shape[0]
    width = inner // heads
    states = (kernel.shape[0] - inner) // 2
    projected = [state[f"{at}in_proj.weight"] @ row for row in rows]
    read = [row[inner : len(row) - heads] for row in projected]
    h = torch.zeros(heads, width, states, dtype=rows[0].dtype)
    out = []
    for t, row in enumerate(projected):
        convolved = bias.clone()
        for back in range(4):
            if t >= back:
                convolved = convolved + kernel[:, 3 - back] * read[t - back]
        convolved = silu(convolved)
        x, B, C = convolved.split([inner, states, states])
        delta = torch.log1p(torch.exp(row[len(row) - heads :] + state[f"{at}dt_bias"]))
        y = torch.zeros(inner, dtype=row.dtype)
        for head in range(heads):
            channels = slice(head * width, (head + 1) * width)
            h[head] = h[head] * math.exp(float((delta[head] + gaps[t][head]) * A[head]))
            h[head] = h[head] + delta[head] * torch.outer(x[channels], B)
            y[channels] = h[head] @ C + D[head] * x[channels]
        gated = rms(y * silu(row[:inner]), state[f"{at}norm.weight"])
        out.append(state[f"{at}out_proj.weight"] @ gated)
    return out


def block(x: Tensor, state: State, layer: int, gaps: Tensor) -> Tensor:
    """One block on tokens (L, C); `gaps` (L, H) is time passed between a token and the one before."""
    at = f"layers.{layer}."
    u = rms(x, state[f"{at}norm.weight"])
    backwards = layer in (2, 3)
    order = [*range(len(x) - 1)]
    if backwards:
        order.reverse()
    order.append(len(x) - 1)
    # A gap lies between two neighbours; after the first token, read last but one, comes the last.
    passed = list(gaps.flip(0)) if backwards else list(gaps)
    rows = [u.mean(0)] + [u[i] for i in order]
    mixed = scanned(rows, state, f"{at}mixer.", [torch.zeros_like(gaps[0]), *passed])
    x = x.clone()
    for i, row in zip(order, mixed[1:], strict=True):
        x[i] += row
    v = rms(x, state[f"{at}norm_mlp.weight"])
    one, two, three = ((state[f"{at}mlp.w{i}.weight"], state[f"{at}mlp.w{i}.bias"]) for i in "123")
    hidden = silu(v @ one[0].T + one[1]) * (v @ two[0].T + two[1])
    return x + hidden @ three[0].T + three[1]


def adventurer(
    state: State,
    image: Tensor,
    depth: int,
    stride: int | None = None,
    kept: Mapping[int, list[int]] | None = None,
    gaps: Mapping[int, Tensor] | None = None,
) -> Tensor:
    """Logits of one image (3, S, S); `kept` lists the tokens that remain before a block.

    `gaps` (L, H) before a block hold from there on.
    """
    weight, bias = state["patch_embed.proj.weight"], state["patch_embed.proj.bias"]
    patch = weight.shape[-1]
    stride = stride or patch
    side = (image.shape[1] - patch) // stride + 1
    tokens = []
    for place in range(side * side):
        top, left = place // side * stride, place % side * stride
        window = image[:, top : top + patch, left : left + patch]
        tokens.append(torch.einsum("ochw,chw->o", weight, window) + bias)
    x = torch.stack([*tokens, state["cls_token"][0, 0]]) + state["pos_embed"][0]
    places = list(range(len(x)))
    heads = len(state["layers.0.mixer.A_log"])
    passed = x.new_zeros(len(x), heads)
    for layer in range(depth):
        if kept and layer in kept:
            x = x[[places.index(place) for place in kept[layer]]]
            places = kept[layer]
            passed = x.new_zeros(len(x), heads)
        if gaps and layer in gaps:
            passed = gaps[layer]
        x = block(x, state, layer, passed)
    final = rms(x[-1], state["norm_f.weight"])
    return state["head.weight"] @ final + state["head.bias"]

"""PlainMamba as its authors describe it, token by token, also with tokens missing.

Shares nothing with the product; state dicts are those of the published checkpoints (OpenMMLab's
prefixes).
"""

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

State = Mapping[str, Tensor]
Cell = tuple[int, int]


def silu(x: Tensor) -> Tensor:
    return x / (1 + torch.exp(-x))


def gelu(x: Tensor) -> Tensor:
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def layer_norm(x: Tensor, state: State, at: str, eps: float) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return (
        centred / (centred.square().mean(-1, keepdim=True) + eps).sqrt() * state[f"{at}.weight"]
        + state[f"{at}.bias"]
    )


def batch_norm(x: Tensor, state: State, at: str) -> Tensor:
    """Of (C, H, W), by the running statistics."""
    mean, var, weight, bias = (
        state[f"{at}.{name}"] for name in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean[:, None, None]) / (var[:, None, None] + 1e-5).sqrt() * weight[
        :, None, None
    ] + bias[:, None, None]


def convolved(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """(I, H, W) by (O, I, k, k), padded by k // 2, one output pixel at a time."""
    side = weight.shape[-1]
    reach = side // 2
    padded = torch.zeros(x.shape[0], x.shape[1] + 2 * reach, x.shape[2] + 2 * reach, dtype=x.dtype)
    padded[:, reach : reach + x.shape[1], reach : reach + x.shape[2]] = x
    out = torch.zeros(
        weight.shape[0], -(-x.shape[1] // stride), -(-x.shape[2] // stride), dtype=x.dtype
    )
    for row in range(out.shape[1]):
        for column in range(out.shape[2]):
            window = padded[
                :, row * stride : row * stride + side, column * stride : column * stride + side
            ]
            out[:, row, column] = torch.einsum("oihw,ihw->o", weight, window)
    return out


def patches(state: State, image: Tensor, patch: int) -> Tensor:
    at = "backbone.patch_embed."
    half = convolved(image, state[f"{at}stem.0.weight"], 2)
    half = batch_norm(half, state, f"{at}stem.1").clamp(min=0)
    layer = 0
    while f"{at}convs.{layer}.weight" in state:
        half = convolved(half, state[f"{at}convs.{layer}.weight"], 1)
        half = batch_norm(half, state, f"{at}convs.{layer + 1}").clamp(min=0)
        layer += 3
    weight, side = state[f"{at}projection.weight"], patch // 2
    rows = [
        torch.einsum("oihw,ihw->o", weight, half[:, top : top + side, left : left + side])
        for top in range(0, half.shape[1], side)
        for left in range(0, half.shape[2], side)
    ]
    return torch.stack(rows) + state[f"{at}projection.bias"]


def walk(height: int, width: int, kind: int) -> list[tuple[Cell, int]]:
    """Cells in the order of a walk, with the move that reaches each.

    Moves: 0 start, 1 right, 2 left, 3 up, 4 down. Kinds: rows from the top, rows from the bottom,
    columns from the left, columns from the right; each begins where the one before it in its pair
    ends.
    """
    long, short = (height, width) if kind < 2 else (width, height)
    line, place, ahead = 0, 0, True
    if kind % 2:
        line, ahead = long - 1, long % 2 == 0
        place = 0 if ahead else short - 1
    found: list[tuple[Cell, int]] = []
    reached = 0
    for _ in range(height * width):
        found.append(((line, place) if kind < 2 else (place, line), reached))
        following = place + (1 if ahead else -1)
        if 0 <= following < short:
            place = following
            reached = (1 if ahead else 2) if kind < 2 else (4 if ahead else 3)
        else:
            ahead = not ahead
            line += -1 if kind % 2 else 1
            reached = {0: 4, 1: 3, 2: 1, 3: 2}[kind]
    return found


def mixed(u: Tensor, places: list[Cell], sides: Cell, state: State, at: str) -> Tensor:
    """The mixer on tokens (L, C) at these cells, in sequence order."""
    projected = u @ state[f"{at}in_proj.weight"].T + state[f"{at}in_proj.bias"]
    x, z = projected.chunk(2, dim=1)
    kernel, bias = state[f"{at}conv2d.weight"][:, 0], state[f"{at}conv2d.bias"]
    reach = kernel.shape[-1] // 2
    token_at = {place: i for i, place in enumerate(places)}
    conv = torch.zeros_like(x)
    for i, (row, column) in enumerate(places):
        for down in range(-reach, reach + 1):
            for right in range(-reach, reach + 1):
                if (row + down, column + right) in token_at:
                    conv[i] += (
                        kernel[:, down + reach, right + reach]
                        * x[token_at[row + down, column + right]]
                    )
    conv = silu(conv + bias)
    rows = conv @ state[f"{at}x_proj.weight"].T
    A, D = -torch.exp(state[f"{at}A_log"]), state[f"{at}D"]
    states = A.shape[1]
    dt, B, C = rows[:, : -2 * states], rows[:, -2 * states : -states], rows[:, -states:]
    projected_dt = dt @ state[f"{at}dt_proj.weight"].T + state[f"{at}dt_proj.bias"]
    # the authors' scan adds the bias that their projection has added already
    delta = torch.log1p(torch.exp(projected_dt + state[f"{at}dt_proj.bias"]))
    y = torch.zeros_like(x)
    for kind in range(4):
        met = [
            (token_at[cell], reached) for cell, reached in walk(*sides, kind) if cell in token_at
        ]
        h = torch.zeros(x.shape[1], states, dtype=x.dtype)
        for t, (i, reached) in enumerate(met):
            # Inputs come in the order of the walk; timescale, B and C in that of the sequence.
            into = B[t] + state[f"{at}direction_Bs"][reached]
            h = torch.exp(delta[t][:, None] * A) * h + (delta[t] * conv[i])[:, None] * into[None]
            y[i] += (h * C[t]).sum(1) + D * conv[i]
    return (y * silu(z)) @ state[f"{at}out_proj.weight"].T + state[f"{at}out_proj.bias"]


def layers(
    state: State, image: Tensor, patch: int, depth: int, kept: Mapping[int, list[int]] | None = None
) -> Iterator[Tensor]:
    """Tokens (L, C) of one image (3, H, W) after each layer; `kept` lists those that remain before it."""
    rows, side = image.shape[1] // patch, image.shape[2] // patch
    x = patches(state, image, patch) + state["backbone.pos_embed"][0]
    places = [(i // side, i % side) for i in range(rows * side)]
    for layer in range(depth):
        if kept and layer in kept:
            chosen = [places.index((i // side, i % side)) for i in kept[layer]]
            x, places = x[chosen], [places[i] for i in chosen]
        at = f"backbone.layers.{layer}."
        x = x + mixed(
            layer_norm(x, state, f"{at}norm", 1e-5), places, (rows, side), state, f"{at}mamba."
        )
        if f"{at}dw.0.weight" in state:
            image_of = x.T.reshape(-1, rows, side)
            depthwise = torch.cat(
                [
                    convolved(image_of[c : c + 1], state[f"{at}dw.0.weight"][c : c + 1], 1)
                    for c in range(len(image_of))
                ]
            )
            x = gelu(batch_norm(depthwise, state, f"{at}dw.1")).reshape(len(image_of), -1).T
        yield x


def plainmamba(
    state: State, image: Tensor, patch: int, depth: int, kept: Mapping[int, list[int]] | None = None
) -> Tensor:
    """Logits of one image (3, S, S); `kept` lists the tokens that remain before a block."""
    *_, x = layers(state, image, patch, depth, kept)
    mean = layer_norm(x, state, "backbone.ln1", 1e-6).mean(0)
    return state["head.fc.weight"] @ mean + state["head.fc.bias"]

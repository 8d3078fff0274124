"""Vision Mambas as their authors describe them, one image at a time; no code of the product.

Slow and in whatever precision the weights have; state dicts are those of the published checkpoints.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

State = dict[str, Tensor]


def silu(x: Tensor) -> Tensor:
    return x / (1 + torch.exp(-x))


def rms(x: Tensor, weight: Tensor) -> Tensor:
    return x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt() * weight


def scanned(state: State, at: str, suffix: str, x: Tensor, z: Tensor) -> Tensor:
    """One direction on (L, E) inputs already in the order in which it reads them."""
    kernel, bias = state[f"{at}conv1d{suffix}.weight"][:, 0], state[f"{at}conv1d{suffix}.bias"]
    A = -torch.exp(state[f"{at}A{suffix}_log"])
    length, inner, states = len(x), x.shape[1], A.shape[1]
    convolved = torch.zeros_like(x)
    for t in range(length):
        for tap in range(4):
            if t - 3 + tap >= 0:
                convolved[t] += kernel[:, tap] * x[t - 3 + tap]
    u = silu(convolved + bias)
    rows = u @ state[f"{at}x_proj{suffix}.weight"].T
    rank = rows.shape[1] - 2 * states
    dt, B, C = rows[:, :rank], rows[:, rank : rank + states], rows[:, rank + states :]
    delta = torch.log1p(
        torch.exp(dt @ state[f"{at}dt_proj{suffix}.weight"].T + state[f"{at}dt_proj{suffix}.bias"])
    )
    h = torch.zeros(inner, states, dtype=x.dtype)
    out = torch.zeros_like(x)
    for t in range(length):
        h = torch.exp(delta[t][:, None] * A) * h + (delta[t] * u[t])[:, None] * B[t][None]
        out[t] = (h * C[t]).sum(1) + state[f"{at}D{suffix}"] * u[t]
    return out * silu(z)


def patch_rows(state: State, image: Tensor, stride: int) -> list[Tensor]:
    """Tokens of the patches of one image (3, S, S), row by row."""
    weight, bias = state["patch_embed.proj.weight"], state["patch_embed.proj.bias"]
    patch = weight.shape[-1]
    side = (image.shape[1] - patch) // stride + 1
    tokens = []
    for row in range(side):
        for column in range(side):
            window = image[
                :, row * stride : row * stride + patch, column * stride : column * stride + patch
            ]
            tokens.append(torch.einsum("ochw,chw->o", weight, window) + bias)
    return tokens


def branches(
    state: State, hidden: Tensor, depth: int, share: float
) -> Iterator[tuple[Tensor, Tensor]]:
    """Both streams behind each block, of tokens (L, C); `share` scales the sum of directions."""
    residual = torch.zeros_like(hidden)
    for layer in range(depth):
        at = f"layers.{layer}.mixer."
        residual = residual + hidden
        xz = rms(residual, state[f"layers.{layer}.norm.weight"]) @ state[f"{at}in_proj.weight"].T
        x, z = xz.chunk(2, dim=1)
        forward = scanned(state, at, "", x, z)
        backward = scanned(state, at, "_b", x.flip(0), z.flip(0)).flip(0)
        hidden = (forward + backward) * share @ state[f"{at}out_proj.weight"].T
        yield residual, hidden


def through_blocks(state: State, hidden: Tensor, depth: int, share: float) -> Tensor:
    """All blocks and the final norm on tokens (L, C)."""
    *_, (residual, hidden) = branches(state, hidden, depth, share)
    return rms(residual + hidden, state["norm_f.weight"])


def vim(state: State, image: Tensor, stride: int, depth: int) -> Tensor:
    """Logits of one image (3, S, S): the class token in the middle, the directions averaged."""
    tokens = patch_rows(state, image, stride)
    middle = len(tokens) // 2
    tokens.insert(middle, state["cls_token"][0, 0])
    final = through_blocks(state, torch.stack(tokens) + state["pos_embed"][0], depth, 0.5)[middle]
    return state["head.weight"] @ final + state["head.bias"]


def videomamba(state: State, image: Tensor, stride: int, depth: int) -> Tensor:
    """Logits of one image (3, S, S): the class token first, the directions summed."""
    tokens = [state["cls_token"][0, 0], *patch_rows(state, image, stride)]
    final = through_blocks(state, torch.stack(tokens) + state["pos_embed"][0], depth, 1.0)[0]
    return state["head.weight"] @ final + state["head.bias"]


def videomamba_video(state: State, clip: Tensor, stride: int, depth: int) -> Tensor:
    """Logits of one clip (3, T, S, S)."""
    # image tokens of every frame, with the frame's embedding added to its patches
    flat = dict(state) | {"patch_embed.proj.weight": state["patch_embed.proj.weight"][:, :, 0]}
    position = state["pos_embed"][0]
    tokens = [state["cls_token"][0, 0] + position[0]]
    for frame in range(clip.shape[1]):
        for place, token in enumerate(patch_rows(flat, clip[:, frame], stride)):
            tokens.append(token + position[1 + place] + state["temporal_pos_embedding"][0, frame])
    final = through_blocks(state, torch.stack(tokens), depth, 1.0)[0]
    return state["head.weight"] @ final + state["head.bias"]


def mambareg(state: State, image: Tensor, stride: int, depth: int) -> Tensor:
    """Logits of one image (3, S, S): a register after each stretch of patches, all read."""
    patches = [
        row + where
        for row, where in zip(patch_rows(state, image, stride), state["pos_embed"][0], strict=True)
    ]
    registers = list(state["cls_token"][0] + state["pos_embed_cls"][0])
    stretch = len(patches) // (len(registers) + 1)
    tokens, read = [], []
    for register in registers:
        tokens += patches[:stretch]
        patches = patches[stretch:]
        read.append(len(tokens))
        tokens.append(register)
    final = through_blocks(state, torch.stack(tokens + patches), depth, 0.5)[read]
    if "neck.weight" in state:
        narrow = torch.cat([state["neck.weight"] @ row for row in final])
        joined = rms(narrow, state["norm_neck.weight"])
    else:
        joined = torch.cat(list(final))
    return state["head.weight"] @ joined + state["head.bias"]

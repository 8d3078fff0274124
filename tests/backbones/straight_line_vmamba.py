"""VMamba without gates as its authors describe it, place by place, also on smaller maps.

Shares nothing with the product; state dicts are those of the published checkpoints.
"""

import math
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor

State = Mapping[str, Tensor]
Map = Tensor  # (rows, columns, channels)


def silu(x: Tensor) -> Tensor:
    return x / (1 + torch.exp(-x))


def gelu(x: Tensor) -> Tensor:
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def softplus(x: Tensor) -> Tensor:
    return x.clamp(min=0) + torch.log1p(torch.exp(-x.abs()))


def layer_norm(x: Tensor, state: State, at: str) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    scale = (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    return centred / scale * state[f"{at}.weight"] + state[f"{at}.bias"]


def window(x: Map, row: int, column: int) -> Tensor:
    """The 3 x 3 places round one (3, 3, channels), zeros beyond the edge."""
    out = torch.zeros(3, 3, x.shape[2], dtype=x.dtype)
    for i in range(3):
        for j in range(3):
            r, c = row + i - 1, column + j - 1
            if 0 <= r < x.shape[0] and 0 <= c < x.shape[1]:
                out[i, j] = x[r, c]
    return out


def strided(x: Map, state: State, at: str) -> Map:
    """A 3 x 3 convolution at every other row and column, with bias."""
    weight, bias = state[f"{at}.weight"], state[f"{at}.bias"]
    lines: list[Tensor] = []
    for row in range(0, x.shape[0], 2):
        places: list[Tensor] = []
        for column in range(0, x.shape[1], 2):
            seen = window(x, row, column)
            places.append(torch.einsum("oikl,kli->o", weight, seen) + bias)
        lines.append(torch.stack(places))
    return torch.stack(lines)


def depthwise(x: Map, weight: Tensor) -> Map:
    out = torch.empty_like(x)
    for row in range(x.shape[0]):
        for column in range(x.shape[1]):
            out[row, column] = torch.einsum("ekl,kle->e", weight[:, 0], window(x, row, column))
    return out


def places(rows: int, columns: int, direction: int) -> list[tuple[int, int]]:
    """The places of a map in the order of a scan."""
    by_row = [(row, column) for row in range(rows) for column in range(columns)]
    by_column = [(row, column) for column in range(columns) for row in range(rows)]
    return [by_row, by_column, by_row[::-1], by_column[::-1]][direction]


def scanned(x: Map, state: State, at: str, direction: int) -> Map:
    """One scan of x (rows, columns, E), token by token."""
    read = state[f"{at}.x_proj_weight"][direction]
    widen, bias = (state[f"{at}.dt_projs_{name}"][direction] for name in ("weight", "bias"))
    inner, rank = widen.shape
    part = slice(direction * inner, (direction + 1) * inner)
    A, D = -torch.exp(state[f"{at}.A_logs"][part]), state[f"{at}.Ds"][part]
    states = A.shape[1]
    h = torch.zeros_like(A)
    out = torch.empty_like(x)
    for row, column in places(x.shape[0], x.shape[1], direction):
        u = x[row, column]
        projected = read @ u
        B, C = projected[rank : rank + states], projected[rank + states :]
        delta = softplus(widen @ projected[:rank] + bias)
        h = torch.exp(delta[:, None] * A) * h + delta[:, None] * B * u[:, None]
        out[row, column] = h @ C + D * u
    return out


def mixed(x: Map, state: State, at: str) -> Map:
    x = x @ state[f"{at}.in_proj.weight"].T
    x = silu(depthwise(x, state[f"{at}.conv2d.weight"]))
    y = torch.zeros_like(x)
    for direction in range(4):
        y = y + scanned(x, state, at, direction)
    return layer_norm(y, state, f"{at}.out_norm") @ state[f"{at}.out_proj.weight"].T


def stages(
    state: State,
    image: Tensor,
    depths: tuple[int, ...],
    reductions: Mapping[int, Callable[[Map], Map]] | None = None,
) -> Iterator[Map]:
    """The map of an image (3, H, W) at the end of each stage.

    `reductions` act on the streams, before and behind the mixer, of the layers that they name by
    number from the first.
    """
    reductions = reductions or {}
    x = strided(image.permute(1, 2, 0), state, "patch_embed.0")
    x = gelu(layer_norm(x, state, "patch_embed.2"))
    x = layer_norm(strided(x, state, "patch_embed.5"), state, "patch_embed.7")
    layer = 0
    for stage, depth in enumerate(depths):
        if stage:
            at = f"layers.{stage - 1}.downsample"
            x = layer_norm(strided(x, state, f"{at}.1"), state, f"{at}.3")
        for index in range(depth):
            at = f"layers.{stage}.blocks.{index}"
            branch = mixed(layer_norm(x, state, f"{at}.norm"), state, f"{at}.op")
            if layer in reductions:
                x, branch = reductions[layer](x), reductions[layer](branch)
            x = x + branch
            hidden = layer_norm(x, state, f"{at}.norm2") @ state[f"{at}.mlp.fc1.weight"].T
            hidden = gelu(hidden + state[f"{at}.mlp.fc1.bias"])
            x = x + hidden @ state[f"{at}.mlp.fc2.weight"].T + state[f"{at}.mlp.fc2.bias"]
            layer += 1
        yield x


def vmamba(
    state: State,
    image: Tensor,
    depths: tuple[int, ...],
    reductions: Mapping[int, Callable[[Map], Map]] | None = None,
) -> Tensor:
    """Logits of an image (3, H, W), under `reductions` as in `stages`."""
    *_, x = stages(state, image, depths, reductions)
    mean = layer_norm(x, state, "classifier.norm").flatten(0, 1).mean(0)
    return state["classifier.head.weight"] @ mean + state["classifier.head.bias"]

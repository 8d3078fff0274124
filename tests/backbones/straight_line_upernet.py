"""UPerNet's head in plain loops, from the paper's figure and the released configuration; shares nothing with the product.

State dicts are those of OpenMMLab's files. Maps are (C, H, W), of one image.
"""

import torch
from straight_line_plain import State, batch_norm, convolved
from torch import Tensor

POOLED = (1, 2, 3, 6)


def enlarged(x: Tensor, height: int, width: int) -> Tensor:
    """Bilinear, pixel by pixel; a place outside takes the rim."""
    out = torch.zeros(x.shape[0], height, width, dtype=x.dtype)
    for row in range(height):
        for column in range(width):
            y = min(max((row + 0.5) * x.shape[1] / height - 0.5, 0), x.shape[1] - 1)
            z = min(max((column + 0.5) * x.shape[2] / width - 0.5, 0), x.shape[2] - 1)
            top, left = int(y), int(z)
            for down, right, share in (
                (0, 0, (1 - y + top) * (1 - z + left)),
                (1, 0, (y - top) * (1 - z + left)),
                (0, 1, (1 - y + top) * (z - left)),
                (1, 1, (y - top) * (z - left)),
            ):
                if share:
                    out[:, row, column] += share * x[:, top + down, left + right]
    return out


def mean_pooled(x: Tensor, side: int) -> Tensor:
    """The mean of each of side x side cells, which overlap where the sides do not divide."""
    out = torch.zeros(x.shape[0], side, side, dtype=x.dtype)
    for i in range(side):
        for j in range(side):
            rows = range(i * x.shape[1] // side, -(-(i + 1) * x.shape[1] // side))
            columns = range(j * x.shape[2] // side, -(-(j + 1) * x.shape[2] // side))
            cells = [x[:, row, column] for row in rows for column in columns]
            out[:, i, j] = sum(cells) / len(cells)  # type: ignore[call-overload]
    return out


def module(x: Tensor, state: State, at: str) -> Tensor:
    """Convolution, batch norm, ReLU."""
    return batch_norm(convolved(x, state[f"{at}.conv.weight"], 1), state, f"{at}.bn").clamp(min=0)


def upernet(state: State, maps: list[Tensor]) -> Tensor:
    """Logits (K, H, W) at the places of the first map."""
    at = "decode_head."
    last = maps[-1]
    pyramid = [last]
    for number, side in enumerate(POOLED):
        small = module(mean_pooled(last, side), state, f"{at}psp_modules.{number}.1")
        pyramid.append(enlarged(small, *last.shape[1:]))
    levels = [
        module(features, state, f"{at}lateral_convs.{level}")
        for level, features in enumerate(maps[:-1])
    ]
    levels.append(module(torch.cat(pyramid), state, f"{at}bottleneck"))
    for level in reversed(range(len(levels) - 1)):
        levels[level] = levels[level] + enlarged(levels[level + 1], *levels[level].shape[1:])
    outputs = [
        module(features, state, f"{at}fpn_convs.{level}")
        for level, features in enumerate(levels[:-1])
    ]
    outputs = [enlarged(each, *maps[0].shape[1:]) for each in [*outputs, levels[-1]]]
    together = module(torch.cat(outputs), state, f"{at}fpn_bottleneck")
    weight, bias = state[f"{at}conv_seg.weight"][:, :, 0, 0], state[f"{at}conv_seg.bias"]
    return torch.einsum("kc,chw->khw", weight, together) + bias[:, None, None]

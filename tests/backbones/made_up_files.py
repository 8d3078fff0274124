"""Made-up checkpoints in the layout of every published file.

They are narrow (16 channels, one block), so that each takes a moment; what they contain beside the
weights, and under which names, is as published.
"""

import argparse
from typing import Any

import torch
from published_layouts import (
    Table,
    class_token,
    headed,
    plain,
    registers,
    staged,
    transformer,
    video,
)
from torch import Tensor

from backbones.checkpoints.published import PublishedFile
from backbones.common.naming import bracketed

NARROW: dict[str, Any] = {"dim": 16, "depth": 1}
REDUCE = {"mambareg_small": 2, "mambareg_base": 4, "mambareg_large": 8}


def narrow(name: str) -> dict[str, Any]:
    """Settings that make the backbone `name` as small as its made-up file."""
    if name.startswith(("deit", "vit")):
        return {"dim": 16, "layers": 1, "heads": 2}
    if name.startswith("vmamba"):
        return {"dim": 16, "third": 1}
    if name.startswith("adventurer"):
        # one head of 64 channels
        return {"dim": 32, "depth": 1}
    return NARROW | ({"registers": 4} if name.startswith("mambareg") else {})


def layout(row: PublishedFile) -> Table:
    """Names and shapes in the narrowed file."""
    name, settings = bracketed(row.backbone)
    if name.startswith(("deit", "vit")):
        return transformer(16, 1)
    if name.startswith("adventurer"):
        side = int(settings.get("image_size", 224)) // int(settings.get("patch", 16))
        patch = int(settings.get("patch", 16))
        table = headed(32, 1)
        return table | {
            "pos_embed": (1, side**2 + 1, 32),
            "patch_embed.proj.weight": (32, 3, patch, patch),
        }
    if name.startswith("vmamba"):
        return staged(16, 1, 1 if name == "vmamba_tiny" else 2)
    if name.startswith("plainmamba"):
        return plain(16, 1, 1 if name == "plainmamba_l1" else 2)
    if name.startswith("mambareg"):
        neck = 16 // REDUCE[name]
        return registers(16, 1, 4, 1) | {
            "neck.weight": (neck, 16),
            "norm_neck.weight": (4 * neck,),
            "head.weight": (1000, 4 * neck),
        }
    tokens = (int(settings.get("image_size", 224)) // 16) ** 2 + 1
    if name.endswith("stride8"):
        tokens = 730
    table = class_token(16, 1)
    if name.endswith("video"):
        table = video(16, 1, int(settings.get("frames", 8)))
    return table | {
        "pos_embed": (1, tokens, 16),
        "head.weight": (row.classes, 16),
        "head.bias": (row.classes,),
    }


def drawn(table: Table, seed: int) -> dict[str, Tensor]:
    """Random weights under these names."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in table.items():
        if name.endswith("num_batches_tracked"):
            weights[name] = torch.tensor(seed)
        else:
            weights[name] = torch.randn(shape, generator=generator)
    return weights


def made_up(row: PublishedFile) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Content of a file in the layout of `row`, and the weights to take from it."""
    weights, averaged = drawn(layout(row), 1), drawn(layout(row), 2)
    if row.layout == "bare":
        return weights, weights
    if row.layout == "state_dict":
        content = {"meta": {"epoch": 300}, "state_dict": weights, "optimizer": {}}
        return content, {own_name(name): weights[name] for name in weights}
    content = {
        "model": weights,
        "model_ema": averaged,
        "optimizer": {"state": {}},
        "epoch": 299,
        "args": argparse.Namespace(lr=5e-4),
    }
    return content, averaged if row.layout == "model_ema" else weights


def own_name(name: str) -> str:
    """The name of one of OpenMMLab's weights without the prefixes of backbone and head."""
    return name.removeprefix("backbone.").replace("head.fc.", "head.")

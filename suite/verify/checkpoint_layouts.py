"""Checkpoint layouts: names and shapes of every backbone, and a made-up file of every published layout, loaded.

The files are narrow (16 channels, one block), so that each takes a moment; what they hold beside
the weights, and under which names, is as published.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from backbones import BACKBONES, create_model
from backbones.checkpoints.published import PublishedFile, published_files
from backbones.common.errors import UserError
from backbones.common.naming import bracketed
from suite.verify.line import Line, judged
from suite.verify.published_layouts import (
    Table,
    class_token,
    plain,
    published,
    registers,
    transformer,
    video,
)

NARROW: dict[str, Any] = {"dim": 16, "depth": 1}
REDUCE = {"mambareg_small": 2, "mambareg_base": 4, "mambareg_large": 8}


def layout_lines() -> Iterator[Line]:
    """A line for each backbone whose layout was published, one for each published or bundled file."""
    for name in BACKBONES:
        table = published(name)
        if table is not None:
            with torch.device("meta"):
                state = create_model(name).state_dict()
            yield judged(
                "checkpoints",
                name,
                differing(state, table),
                f"{len(table)} names and shapes as published",
            )
    with TemporaryDirectory() as folder:
        for row in published_files():
            named = (
                f"{row.backbone} on {row.data}, {row.split}, its card"
                if row.source == "bundled"
                else row.file
            )
            yield judged(
                "checkpoints", named, _loading(row, Path(folder)), f"layout '{row.layout}' loads"
            )


def differing(state: dict[str, Tensor], table: Table) -> str:
    """The first name or shape in which `state` is not as published; empty if there is none."""
    for name in sorted(state.keys() | table.keys()):
        found, wanted = tuple(state[name].shape) if name in state else None, table.get(name)
        if found != wanted:
            return (
                f"{name} is {found or 'not there'}, published is {wanted or 'nothing of that name'}"
            )
    return ""


def _loading(row: PublishedFile, folder: Path) -> str:
    """What goes wrong when a file of the layout of `row` is loaded; empty if every weight arrives."""
    try:
        if row.source == "bundled":
            create_model(row.backbone, "bundled")
            return ""
        held, wanted = made_up(row)
        file = folder / row.file
        if file.suffix == ".safetensors":
            save_file(held, file)
        else:
            torch.save(held, file)
        model = create_model(row.backbone, str(file), **narrow(row.backbone))
    except UserError as error:
        return str(error)
    state = model.state_dict()
    lost = [
        name
        for name, tensor in wanted.items()
        if name not in state or not torch.equal(state[name], tensor)
    ]
    lost += [name for name in state if name not in wanted]
    if lost:
        return f"{lost[0]} is not what the file holds"
    provenance = model.provenance
    branch = provenance.branch if provenance else None
    return (
        ""
        if branch == row.layout
        else f"weights were taken from '{branch}', not from '{row.layout}'"
    )


def narrow(name: str) -> dict[str, Any]:
    """Settings that make `name` small."""
    if name.startswith(("deit", "vit")):
        return {"dim": 16, "layers": 1, "heads": 2}
    return NARROW | ({"registers": 4} if name.startswith("mambareg") else {})


def layout(row: PublishedFile) -> Table:
    """Names and shapes in the narrowed file."""
    name, settings = bracketed(row.backbone)
    if name.startswith(("deit", "vit")):
        return transformer(16, 1)
    if name.startswith("plainmamba"):
        return plain(16, 1, 1 if name == "plainmamba_l1" else 2)
    if name.startswith("mambareg"):
        neck = 16 // REDUCE[name]
        return registers(16, 1, 4, 1) | {
            "neck.weight": (neck, 16),
            "norm_neck.weight": (4 * neck,),
            "head.weight": (1000, 4 * neck),
        }
    tokens = (
        730 if name.endswith("stride8") else (int(settings.get("image_size", 224)) // 16) ** 2 + 1
    )
    table = (
        video(16, 1, int(settings.get("frames", 8)))
        if name.endswith("video")
        else class_token(16, 1)
    )
    return table | {
        "pos_embed": (1, tokens, 16),
        "head.weight": (row.classes, 16),
        "head.bias": (row.classes,),
    }


def drawn(table: Table, seed: int) -> dict[str, Tensor]:
    """Random weights under these names."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.tensor(seed)
        if name.endswith("num_batches_tracked")
        else torch.randn(shape, generator=generator)
        for name, shape in table.items()
    }


def made_up(row: PublishedFile) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What a file of the layout of `row` holds, and the weights that are to be taken from it."""
    weights, averaged = drawn(layout(row), 1), drawn(layout(row), 2)
    if row.layout == "bare":
        return weights, weights
    if row.layout == "state_dict":
        held = {"meta": {"epoch": 300}, "state_dict": weights, "optimizer": {}}
        return held, {own(name): weights[name] for name in weights}
    training = {"optimizer": {"state": {}}, "epoch": 299, "args": argparse.Namespace(lr=5e-4)}
    return {
        "model": weights,
        "model_ema": averaged,
        **training,
    }, averaged if row.layout == "model_ema" else weights


def own(name: str) -> str:
    """The name of a weight of OpenMMLab's without what it puts before the backbone's and the head's."""
    return name.removeprefix("backbone.").replace("head.fc.", "head.")

"""What became of every token of a few images, block by block, for the report to draw over their pixels."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from backbones.base import Backbone
from backbones.sequence import TokenSequence
from suite.data.base import Dataset
from suite.evaluation.tree import Failure, evaluate, jobs_for
from suite.plan.cells import Cell

DROPPED, IN_SPECIAL = -1, -2


def groups(tokens: TokenSequence) -> Tensor:
    """For each grid place (B, patches): the grid place of the token it lives in now, DROPPED, or IN_SPECIAL."""
    assert tokens.owner is not None
    special = tokens.position.gather(1, tokens.special)
    owner_place = tokens.position.gather(1, tokens.owner.clamp(min=0))
    before = (special[:, None, :] < owner_place[:, :, None]).sum(2)
    in_special = (special[:, None, :] == owner_place[:, :, None]).any(2)
    group = torch.where(in_special, IN_SPECIAL, owner_place - before)
    group = torch.where(tokens.owner < 0, DROPPED, group)
    is_patch = torch.ones_like(group, dtype=torch.bool).scatter_(1, special, False)
    return group[is_patch].view(group.shape[0], -1)


def side_by_side(group: Tensor, grid: tuple[int, int, int]) -> Tensor:
    """Groups (B, T H W) of a clip's places as those of one picture of H rows and T W columns."""
    frames, height, width = grid
    if frames == 1:
        return group
    place = (
        torch.arange(group.shape[1], device=group.device)
        .view(frames, height, width)
        .transpose(0, 1)
        .flatten()
    )
    moved = place.argsort()  # where each place of the clip comes to stand
    return torch.where(group >= 0, moved[group.clamp(min=0)], group)[:, place]


def gallery(
    model: Backbone, images: Tensor, index: Tensor, labels: Tensor, cells: Sequence[Cell]
) -> pd.DataFrame:
    """One row for each image, cell and site: group of every grid place after that site, and both predictions.

    `images` (B, 3, S, S) are normalised, `index` (B,) their places in `dataset`; cells on other
    image sizes are left out, since nothing is removed there. Of videos they are one clip each, and
    its frames stand side by side.
    """
    found_groups: dict[str, dict[int, Tensor]] = {}

    def observe(keys: Sequence[str], site: int, tokens: TokenSequence) -> None:
        group = side_by_side(groups(tokens), tokens.grid).cpu()
        for key in keys:
            found_groups.setdefault(key, {})[site] = group

    tracked = [
        cell for cell in cells if cell.image_size == model.image_size and cell.plan is not None
    ]
    with torch.inference_mode():
        tokens = model.embed(images, index).tracked()
        jobs = jobs_for(tracked, model, index, labels)
        found = {job.key: logits for job, logits in evaluate(model, tokens, jobs, observe)}
    dense = next(found[cell.key] for cell in tracked if cell.budget is None)
    assert isinstance(dense, Tensor)
    rows = []
    for cell in tracked:
        logits = found[cell.key]
        if not isinstance(logits, Failure):
            for site, group in found_groups.get(cell.key, {}).items():
                rows += _rows(cell, site, group, logits, dense, index, labels)
    return pd.DataFrame(rows)


def _rows(
    cell: Cell,
    site: int,
    group: Tensor,
    logits: Tensor,
    dense: Tensor,
    index: Tensor,
    labels: Tensor,
) -> list[dict[str, Any]]:
    probability, before = logits.double().softmax(1).cpu(), dense.double().softmax(1).cpu()
    return [
        {
            "backbone": cell.backbone,
            "label": cell.label,
            "budget": cell.budget,
            "seed": cell.seed,
            "image": int(index[row]),
            "block": site,
            "owner": group[row].numpy().astype(np.int32),
            "label_true": int(labels[row]),
            "prediction": int(probability[row].argmax()),
            "dense_prediction": int(before[row].argmax()),
            "confidence": float(probability[row].max()),
            "dense_confidence": float(before[row].max()),
        }
        for row in range(len(index))
    ]


def pictures(
    dataset: Dataset, index: Tensor, image_size: int, why: Mapping[int, str]
) -> pd.DataFrame:
    """The pixels under the token grid of each image, as PNG, and why it was chosen."""
    rows = []
    for image in index.tolist():
        buffer = io.BytesIO()
        Image.fromarray(dataset.view(image, image_size)).save(buffer, format="PNG")
        label = int(dataset.labels[image])
        rows.append(
            {
                "image": image,
                "png": buffer.getvalue(),
                "label_true": label,
                "why": why.get(image, ""),
            }
        )
    return pd.DataFrame(rows)

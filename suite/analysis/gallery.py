"""The gallery: what becomes of every token of a few images, block by block."""

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
from suite.analysis.segmented import segmented_images
from suite.data import pictured
from suite.data.base import Dataset
from suite.evaluation.adaptive import Adaptive, evaluate_adaptive
from suite.evaluation.groups import Group, in_order
from suite.evaluation.tree import Failure, evaluate, jobs_for
from suite.plan.cells import Cell
from suite.plan.prepare import Prepared
from suite.system.out_of_memory import with_smaller_batch

# Marks of a patch that lives in no other patch's token.
DROPPED, IN_SPECIAL = -1, -2
# Why a picture is shown on which methods go wrong first, by task.
FIRST = {"classification": "broken first by", "segmentation": "loses most under"}


def gallery_tables(
    prepared: Prepared, cells: Sequence[Cell], first_errors: pd.DataFrame
) -> dict[str, pd.DataFrame]:
    """The tables ``gallery`` and ``images``, of the spec's images and of first errors.

    Of segmentation also ``segmented``. `cells` are those that succeeded. Without images in the spec
    there is no gallery.
    """
    wanted = prepared.spec.gallery
    if not isinstance(wanted, int):
        wanted = tuple(image for image in wanted if image not in prepared.left_out)
    chosen = pictured(prepared.indices, wanted)
    if not chosen:
        return {}
    # Baselines break images everywhere; the gallery is about methods.
    named = [cell.label for cell in cells if cell.method.method.family != "baseline"]
    words = FIRST[prepared.dataset.task]
    errors = first_error_pictures(first_errors, named, words)
    drawn = "drawn at random" if isinstance(wanted, int) else "chosen"
    # An image that was chosen says so, even if it is a first error, too.
    why = errors | dict.fromkeys(chosen, drawn)
    index = torch.tensor([*chosen, *(image for image in errors if image not in chosen)])
    labels = torch.from_numpy(prepared.dataset.labels[index.numpy()])
    frames, segmented = [], []
    for name, model in prepared.backbones.items():
        # one clip of a video: its tokens are drawn, not the mean of its views
        data = prepared.data[name].once()
        samples = data.samples(index.numpy(), model.image_size)
        images = torch.from_numpy(samples).to(prepared.device)
        members = [cell for cell in cells if cell.backbone == name and cell.seed == 0]
        if members and model.task == "segmentation":
            truth = data.truths(index.numpy(), model.image_size)
            segmented.append(segmented_images(model, images, index, truth, members))
        if members:
            frames.append(gallery_in_parts(model, images, index, labels, members))
    # One picture an image for all backbones, so the sharpest.
    name, largest = max(prepared.backbones.items(), key=lambda item: item[1].image_size)
    found = {"segmented": pd.concat(segmented, ignore_index=True)} if segmented else {}
    return found | {
        "gallery": pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(),
        "images": picture_table(prepared.data[name].once(), index, largest.image_size, why),
    }


def first_error_pictures(table: pd.DataFrame, labels: Sequence[str], words: str) -> dict[int, str]:
    """The image on which each method of `labels` goes wrong first, and which methods those are.

    `words` come before their names.
    """
    methods: dict[int, list[str]] = {}
    for label, rows in table[table.label.isin(list(labels))].groupby("label", sort=False):
        methods.setdefault(int(rows.image.iloc[0]), []).append(str(label))
    return {image: f"{words} {', '.join(names)}" for image, names in methods.items()}


def gallery_in_parts(
    model: Backbone, images: Tensor, index: Tensor, labels: Tensor, cells: Sequence[Cell]
) -> pd.DataFrame:
    """`gallery`, with fewer images at once if memory runs out; the rows are the same."""

    def of_parts(size: int) -> pd.DataFrame:
        parts = zip(images.split(size), index.split(size), labels.split(size), strict=True)
        return pd.concat([gallery(model, *part, cells) for part in parts], ignore_index=True)

    frame, _ = with_smaller_batch(len(index), of_parts, f"the gallery of {model.name}")
    if frame.empty:
        return frame
    # Cell by cell, as of all images at once, not part by part.
    columns = ["label", "budget", "seed", "block"]
    group = frame.groupby(columns, sort=False, dropna=False).ngroup()
    return frame.iloc[group.argsort(kind="stable")].reset_index(drop=True)


def gallery(
    model: Backbone, images: Tensor, index: Tensor, labels: Tensor, cells: Sequence[Cell]
) -> pd.DataFrame:
    """One row for each image, cell and site: where every patch's token is, and both answers.

    `images` (B, 3, S, S) are normalised, `index` (B,) their numbers in the data set. Of a video
    they are one clip, whose frames are put side by side. Cells on a smaller image are left out,
    since nothing is removed there.
    """
    sites: dict[str, dict[int, Tensor]] = {}

    def observe(keys: Sequence[str], site: int, tokens: TokenSequence) -> None:
        # To the CPU at once: a map for every cell and site would fill the device's memory.
        owner = owners(tokens)
        for key in keys:
            sites.setdefault(key, {})[site] = owner

    tracked = [cell for cell in cells if cell.plan and cell.image_size == model.image_size]
    with torch.inference_mode():
        tokens = model.embed(images, index).tracked()
        jobs = jobs_for(tracked, model, index, labels)
        logits = {job.key: answer for job, answer in evaluate(model, tokens, jobs, observe)}
        for cell in tracked:
            if cell.adaptive:
                sites[cell.key], logits[cell.key] = adaptive_owners(model, tokens, cell)
    # The dense cell has no budget and is always among those tracked.
    dense = next(logits[cell.key] for cell in tracked if cell.budget is None)
    assert isinstance(dense, Tensor)
    rows = []
    for cell in tracked:
        answer = logits[cell.key]
        if isinstance(answer, Failure):
            continue
        for site, owner in sites.get(cell.key, {}).items():
            rows += _rows(cell, site, owner, answer, dense, index, labels)
    return pd.DataFrame(rows)


def adaptive_owners(
    model: Backbone, tokens: TokenSequence, cell: Cell
) -> tuple[dict[int, Tensor], Tensor | Failure]:
    """Where every patch's token is after each site under adaptive counts, and the logits."""
    sites: dict[int, Tensor] = {}

    def observe(site: int, groups: Sequence[Group]) -> None:
        parts = [owners(group.tokens).numpy() for group in groups]
        sites[site] = torch.from_numpy(in_order(groups, parts))

    answer = evaluate_adaptive(model, tokens, cell.key, cell.steps(), observe)
    return sites, answer.logits if isinstance(answer, Adaptive) else answer


def owners(tokens: TokenSequence) -> Tensor:
    """`patch_owners`, of the frames of a clip side by side, on the CPU."""
    return side_by_side(patch_owners(tokens), tokens.grid).cpu()


def patch_owners(tokens: TokenSequence) -> Tensor:
    """For each patch (B, patches) the patch whose token it lives in, DROPPED or IN_SPECIAL."""
    assert tokens.owner is not None
    special = tokens.position.gather(1, tokens.special)
    owner = tokens.position.gather(1, tokens.owner.clamp(min=0))
    # Positions count special tokens too: less those before it, a position is a patch.
    before = (special[:, None, :] < owner[:, :, None]).sum(2)
    in_special = (special[:, None, :] == owner[:, :, None]).any(2)
    patch = torch.where(in_special, IN_SPECIAL, owner - before)
    patch = torch.where(tokens.owner < 0, DROPPED, patch)
    # Each image has as many special tokens, so the rest is rectangular again.
    is_patch = torch.ones_like(patch, dtype=torch.bool).scatter_(1, special, False)
    return patch[is_patch].view(patch.shape[0], -1)


def side_by_side(owner: Tensor, grid: tuple[int, int, int]) -> Tensor:
    """Owners (B, T H W) of a clip's patches as those of one picture of H rows and T W columns."""
    frames, height, width = grid
    if frames == 1:
        return owner
    patches = torch.arange(owner.shape[1], device=owner.device)
    # In the order of the picture: row by row, and in a row frame by frame.
    order = patches.view(frames, height, width).transpose(0, 1).flatten()
    moved = order.argsort()  # where each patch of the clip is in the picture
    return torch.where(owner >= 0, moved[owner.clamp(min=0)], owner)[:, order]


def _rows(
    cell: Cell,
    site: int,
    owner: Tensor,
    logits: Tensor,
    dense: Tensor,
    index: Tensor,
    labels: Tensor,
) -> list[dict[str, Any]]:
    """One row for each image of one cell after one site."""
    prediction, confidence = answers(logits)
    dense_prediction, dense_confidence = answers(dense)
    rows = []
    for row in range(len(index)):
        rows.append(
            {
                "backbone": cell.backbone,
                "label": cell.label,
                "budget": cell.budget,
                "seed": cell.seed,
                "image": int(index[row]),
                "block": site,
                "owner": owner[row].numpy().astype(np.int32),
                "label_true": int(labels[row]),
                "prediction": int(prediction[row]),
                "dense_prediction": int(dense_prediction[row]),
                "confidence": float(confidence[row]),
                "dense_confidence": float(dense_confidence[row]),
            }
        )
    return rows


def answers(logits: Tensor) -> tuple[Tensor, Tensor]:
    """The class (B,) that each image is given, and its softmax (B,); -1 and NaN where pixels are.

    `segmented_images` has the answers of segmentation.
    """
    if logits.ndim > 2:
        nothing = torch.full((len(logits),), -1)
        return nothing, torch.full((len(logits),), torch.nan)
    # fp64, so that a confidence near 1 is not rounded to it
    confidence, prediction = logits.double().softmax(1).cpu().max(1)
    return prediction, confidence


def picture_table(
    dataset: Dataset, index: Tensor, image_size: int, why: Mapping[int, str]
) -> pd.DataFrame:
    """The pixels under the tokens of each image, as PNG, and why it was chosen."""
    rows = []
    for image in index.tolist():
        buffer = io.BytesIO()
        Image.fromarray(dataset.view(image, image_size)).save(buffer, format="PNG")
        rows.append(
            {
                "image": image,
                "png": buffer.getvalue(),
                "label_true": int(dataset.labels[image]),
                "why": why.get(image, ""),
            }
        )
    return pd.DataFrame(rows)

"""From a finished training run to bundled weights and their card."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from backbones.base import Backbone
from suite.system.atomic_files import replacing, write_text
from suite.training.images import FINAL, TrainingImages
from suite.training.loop import Trainer, normalise
from suite.training.recipes import HeadRecipe, Recipe

STORED = {"fp32": torch.float32, "fp16": torch.float16}


def accuracy(model: Backbone, dataset: TrainingImages, device: str, batch: int = 250) -> float:
    """Top-1 of `model` on all images of `dataset`, a fraction."""
    # `suite.evaluation` reads a `Dataset`; these images may be decoded already.
    hits = 0
    model = model.eval()
    with torch.no_grad():
        for start in range(0, len(dataset.labels), batch):
            chosen = np.arange(start, min(start + batch, len(dataset.labels)))
            pixels = torch.from_numpy(dataset.render(chosen, variant=0))
            images = pixels.permute(0, 3, 1, 2).to(device)
            logits = model(normalise(images, dataset, model.image_size))
            hits += int((logits.argmax(1).cpu().numpy() == dataset.labels[chosen]).sum())
    return hits / len(dataset.labels)


def write_weights(
    path: Path, model: Backbone, stored: str = "fp32", record: Mapping[str, str] | None = None
) -> None:
    """Write the weights as safetensors, rounded to the precision they are `stored` in.

    A `record` of the training is the file's metadata.
    """
    dtype = STORED[stored]
    # The model is rounded too: its accuracy on the card shall be that of the file.
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype).to(parameter.dtype)
    tensors = {}
    for name, value in model.state_dict().items():
        kind = dtype if value.is_floating_point() else value.dtype
        tensors[name] = value.detach().to("cpu", kind).contiguous()
    # One entry where bytes are to be equal: safetensors writes several in any order.
    metadata = dict(record or {"format": "pt", "backbone": model.name})
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata=metadata)


def write_card(
    path: Path, trainer: Trainer, scores: dict[str, tuple[float, int]], command: str
) -> None:
    """Write origin, recipe and accuracy of the weights beside it, which `command` trains.

    `scores` are (top-1, images) by split.
    """
    recipe, results = trainer.recipe, []
    for split, (top1, count) in scores.items():
        results.append(f"| {split} | {count:,} | {100 * top1:.2f} % |")
    results_text = "\n".join(results)
    done = trainer.done
    with path.with_suffix(".safetensors").open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    parameters = sum(parameter.numel() for parameter in trainer.model.parameters())
    write_text(
        path,
        f"""# {recipe.backbone}

Trained on `{recipe.dataset}` by `{command}`: {done.epoch} epochs,
{done.step:,} steps, {done.seconds / 60:.1f} minutes of training on {done.hardware}.
Parameters: {parameters:,}; the exponentially averaged weights, {recipe.stored}.
SHA-256 of the file: `{sha256}`.

| split | images | top-1 |
|---|---|---|
{results_text}

Choices were made on `dev`; `{FINAL[recipe.dataset]}` was read once, for this card.
Seed {recipe.seed}. Made to compare token reduction methods, not to classify images.

{recipe_table(recipe)}
""",
    )


def recipe_table(recipe: Recipe | HeadRecipe) -> str:
    """All settings of a recipe, as a table of a card."""
    rows = ["| recipe | |", "|---|---|"]
    for name, value in asdict(recipe).items():
        rows.append(f"| {name} | {_cell(value)} |")
    return "\n".join(rows)


def _cell(value: object) -> str:
    """A setting of a recipe in words."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {part}" for name, part in value.items())
    if isinstance(value, tuple) and value and isinstance(value[0], dict):
        phases = [f"{phase['epochs']} epochs at {phase['image_size']} px" for phase in value]
        return ", then ".join(phases)
    return str(value)

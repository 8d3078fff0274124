"""From a finished fine-tuning to a file of weights, its card, and the comparison that uses it."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from backbones import own_weights
from backbones.base import Backbone
from backbones.common.errors import UserError
from backbones.common.naming import with_settings
from suite.config.command_line import command_line
from suite.data.loading.loader import batches
from suite.system.atomic_files import write_text
from suite.system.hardware import set_products
from suite.training.export import recipe_table, write_weights
from suite.training.fine_tune import SMALLEST_CROP, FineTuning, Prepared
from suite.training.own_images import OwnImages

UNWRITABLE = re.compile(r"[\[\],]")  # signs that a setting in brackets cannot have


def held_out_top1(model: Backbone, images: OwnImages, device: str, batch: int = 32) -> float:
    """Top-1 of `model` on all held-out images as a comparison sees them, a fraction.

    UserError for one that cannot be read.
    """
    # Evaluation never rounds products to TF32, as training may.
    set_products("fp32")
    hits = 0
    model = model.eval()
    with torch.inference_mode():
        for part in batches(images.held_out, images.held_rows, batch, model.image_size):
            if part.damaged:
                raise UserError(next(iter(part.damaged.values())))
            logits = model(part.images.to(device))
            hits += int((logits.argmax(1).cpu() == part.labels).sum())
    return hits / len(images.held_rows)


def compare_command(wish: FineTuning, split: str | None) -> str:
    """The command that compares methods on the trained weights and the held-out images."""
    out = wish.out
    if out.is_relative_to(Path.cwd()):
        out = out.relative_to(Path.cwd())
    bare, _ = own_weights(wish.backbone)
    settings: dict[str, object] = {"backbones": with_settings(bare, weights=str(out))}
    if UNWRITABLE.search(str(out)):
        settings = {"backbones": bare, "checkpoint": out}
    settings["data"] = wish.data
    if split:
        settings["split"] = split
    return command_line("compare", settings)


def write_results(prepared: Prepared, top1: float) -> None:
    """Write the card, then the weights with the record of their training."""
    wish, images, model = prepared.wish, prepared.images, prepared.trainer.model
    text = card(prepared, top1)
    write_text(wish.out.with_suffix(".md"), text)
    # Last: while they are not there, the same command goes on.
    write_weights(wish.out, model, record=images.record.metadata())


def card(prepared: Prepared, top1: float) -> str:
    """Origin, images, recipe and accuracy of the weights, in Markdown."""
    wish, images, trainer = prepared.wish, prepared.images, prepared.trainer
    done, recipe = trainer.done, trainer.recipe
    classes = []
    for number, name in enumerate(images.record.classes):
        classes.append(f"{number} {name}")
    parted = "; ".join(images.notes)
    crop = SMALLEST_CROP[wish.augment]
    shown = "centres" if crop == 1 else f"random crops of {100 * crop:g} % of the area or more"
    return f"""# {wish.out.stem}

`{recipe.backbone}`, trained on `{wish.data}`: {done.epoch} epochs, {done.step:,} steps,
{done.seconds / 60:.1f} minutes on {done.hardware}.
It began with {prepared.begins_with}. The exponentially averaged weights, fp32; epochs show {shown}.

{parted[0].upper()}{parted[1:]}.
The file holds hashes of the images that were trained on, so that `compare` leaves them out.

| held out | images | top-1 |
|---|---|---|
| {images.split or "a part"} | {len(images.held_rows):,} | {100 * top1:.2f} % |

Classes: {", ".join(classes)}.

{recipe_table(recipe)}

```bash
{compare_command(wish, images.split)}
```
"""

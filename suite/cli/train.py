"""`train`: train the bundled backbones."""

from __future__ import annotations

import math
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backbones.common.errors import UserError
from suite.cli.paths import absolute
from suite.store.locks import file_lock

if TYPE_CHECKING:
    from suite.training.loop import Trainer


def train(
    recipe: Annotated[str, typer.Option(help="Recipe (python -m suite list recipes).")],
    out: Annotated[
        Path | None,
        typer.Option(parser=absolute, help="Folder of the resumable state and the weights."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    kernel: Annotated[str, typer.Option(help="Selective scan kernel.")] = "auto",
    workers: Annotated[
        int, typer.Option(min=0, help="Processes that render images ahead of the model.")
    ] = 1,
    max_minutes: Annotated[
        float, typer.Option(help="Stop after the epoch that passes this; 0: never.")
    ] = 0.0,
    source: Annotated[
        Path | None,
        typer.Option(parser=absolute, help="Folder of the source images, or Parquet."),
    ] = None,
    final: Annotated[
        bool, typer.Option(help="When finished, read the last split and write it in the card.")
    ] = False,
) -> int:
    """Train a bundled backbone by its recipe. Rerun the command to resume."""
    # Imported late: the help of all commands must not wait for PyTorch.
    from suite.system.hardware import check_workers, pick_device
    from suite.training.distributed import process_group
    from suite.training.images import training_images
    from suite.training.recipes import find_recipe

    selected = find_recipe(recipe)
    check_workers(workers)
    # Not `max_minutes < 0`, which a NaN would pass.
    if not max_minutes >= 0:
        raise UserError(
            f"--max-minutes cannot be {max_minutes}: give minutes from 0 on, 0 for no end"
        )
    folder = out or Path("runs") / f"train-{recipe}"
    picked_device = pick_device(device)
    images_from = str(source) if source else None
    with process_group(picked_device) as group:
        # One process of the group takes the lock for all.
        lock = file_lock(folder / "train.lock", wait=False) if group.is_main else nullcontext(True)
        with lock as is_free:
            if not is_free:
                raise UserError(
                    f"another process trains in {folder}: wait for it, or use another --out"
                )
            if group.is_main:
                # Half-written by a process that was killed.
                for path in folder.glob(".*.tmp"):
                    path.unlink()
            # The first process decodes pictures into the folder, where the others read them.
            with group.main_first():
                images = training_images(selected.dataset, "train", images_from, folder)
            from suite.training.loop import Trainer

            trainer = Trainer(selected, images, folder, picked_device, workers, kernel, group)
            return _finish(trainer, max_minutes, images_from, final)


def _finish(trainer: Trainer, max_minutes: float, images_from: str | None, final: bool) -> int:
    """Train until the recipe or the time is over; then write the weights and their card."""
    from suite.training import export
    from suite.training.images import FINAL, training_images

    recipe, folder = trainer.recipe, trainer.out

    def report(figures: dict[str, float]) -> None:
        parts = " ".join(f"{name} {value:.4g}" for name, value in figures.items())
        print(f"{parts} of {recipe.epochs} epochs", flush=True)

    finished = trainer.run(report, max_minutes * 60 or math.inf)
    if not trainer.group.is_main:
        return 0
    if not finished:
        print(
            f"stopped after epoch {trainer.done.epoch} of {recipe.epochs}: "
            "run the same command to continue"
        )
        return 0
    model = trainer.model.eval()
    model.load_state_dict(trainer.ema)
    export.write_weights(folder / f"{recipe.backbone}.safetensors", model, recipe.stored)
    scores = {}
    for split in ("dev", FINAL[recipe.dataset]) if final else ("dev",):
        images = training_images(recipe.dataset, split, images_from, folder)
        count = len(images.labels)
        top1 = export.accuracy(model, images, trainer.device)
        scores[split] = (top1, count)
        print(f"top-1 on {split}: {100 * top1:.2f} % of {count:,} images")
    export.write_card(folder / f"{recipe.backbone}.md", recipe, trainer, scores)
    print(f"weights and card in {folder}")
    return 0

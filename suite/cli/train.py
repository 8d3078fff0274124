"""`train`: make the bundled weights again."""

from __future__ import annotations

import math
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backbones.common.errors import UserError
from suite.store.locks import claimed

if TYPE_CHECKING:
    from suite.training.loop import Trainer


def train(
    recipe: Annotated[str, typer.Option(help="Recipe (python -m suite list recipes).")],
    out: Annotated[
        Path | None, typer.Option(help="Folder of the resumable state and the weights.")
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
        Path | None, typer.Option(help="Folder of the source images, or Parquet.")
    ] = None,
    final: Annotated[
        bool, typer.Option(help="When finished, read the last split and write it in the card.")
    ] = False,
) -> int:
    """Train a bundled backbone by its recipe; run again, it goes on where it stood."""
    from suite.system.hardware import check_workers, pick_device
    from suite.training.distributed import joined
    from suite.training.images import training_images
    from suite.training.recipes import recipe as find_recipe

    plan = find_recipe(recipe)
    check_workers(workers)
    if not max_minutes >= 0:
        raise UserError(
            f"--max-minutes cannot be {max_minutes}: give minutes from 0 on, 0 for no end"
        )
    folder = out or Path("runs") / f"train-{recipe}"
    where = pick_device(device)
    images_from = str(source) if source else None
    with (
        joined(where) as ranks,
        claimed(folder / "train.lock", wait=False) if ranks.first else nullcontext(True) as mine,
    ):
        if not mine:
            raise UserError(
                f"another process trains in {folder}: wait for it, or use another --out"
            )
        if ranks.first:
            for path in folder.glob(".*.tmp"):
                path.unlink()  # half-written by a process that was killed
        with ranks.one_before_the_others():
            training = training_images(plan.dataset, "train", images_from, folder)
        from suite.training.loop import Trainer

        trainer = Trainer(plan, training, folder, where, workers, kernel, ranks)
        return _finish(trainer, max_minutes, images_from, final)


def _finish(trainer: Trainer, max_minutes: float, source: str | None, final: bool) -> int:
    from suite.training import export
    from suite.training.images import FINAL, training_images

    plan, folder = trainer.recipe, trainer.out

    def tell(figures: dict[str, float]) -> None:
        parts = " ".join(f"{name} {value:.4g}" for name, value in figures.items())
        print(f"{parts} of {plan.epochs} epochs", flush=True)

    finished = trainer.run(tell, max_minutes * 60 or math.inf)
    if not trainer.ranks.first:
        return 0
    if not finished:
        print(
            f"stopped after epoch {trainer.done.epoch} of {plan.epochs}: the same command goes on from there"
        )
        return 0
    model = export.averaged_model(trainer)
    export.write_weights(folder / f"{plan.backbone}.safetensors", model, plan.stored)
    scores = {}
    for split in ("dev", FINAL[plan.dataset]) if final else ("dev",):
        images = training_images(plan.dataset, split, source, folder)
        scores[split] = (export.accuracy(model, images, trainer.device), len(images.labels))
        print(f"top-1 on {split}: {100 * scores[split][0]:.2f} % of {len(images.labels):,} images")
    export.write_card(folder / f"{plan.backbone}.md", plan, trainer, scores)
    print(f"weights and card in {folder}")
    return 0

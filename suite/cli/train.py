"""`train`: fine-tune a backbone on images of one's own, or train the bundled ones again."""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backbones.common.errors import UserError
from backbones.common.naming import with_settings
from suite.cli.paths import absolute
from suite.store.locks import file_lock
from suite.system.durations import duration

if TYPE_CHECKING:
    from suite.training.distributed import ProcessGroup
    from suite.training.fine_tune import FineTuning, Prepared
    from suite.training.loop import Trainer
    from suite.training.recipes import HeadRecipe

# What the help calls the groups of options that no other command has.
WHAT = "Options for what is trained"
HOW = "Options for how it is trained"
BUNDLED = "Options to train bundled weights again"
STOPPED = "stopped after epoch {} of {}: run the same command to continue"


def train(
    backbone: Annotated[
        str | None,
        typer.Option(
            help="Backbone to fine-tune: a name, name[weights=FILE], or file.py:NAME.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="Images to train on, such as imagefolder:PATH.", rich_help_panel=WHAT),
    ] = None,
    image_size: Annotated[
        int | None,
        typer.Option(help="Side of the model's images; the backbone's own.", rich_help_panel=WHAT),
    ] = None,
    from_scratch: Annotated[
        bool,
        typer.Option(
            "--from-scratch",
            help="Begin with drawn weights, not trained ones.",
            rich_help_panel=WHAT,
        ),
    ] = False,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Passes over the images; 20.", rich_help_panel=HOW)
    ] = None,
    lr: Annotated[
        float | None,
        typer.Option(help="Largest learning rate; 0.001, from scratch 0.002.", rich_help_panel=HOW),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(min=1, help="Images a step; 64, of few images fewer.", rich_help_panel=HOW),
    ] = None,
    augment: Annotated[
        str | None,
        typer.Option(help="none, light (crops, mirrored) or strong; light.", rich_help_panel=HOW),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(help="fp32, or bf16 on CUDA (mixed precision); fp32.", rich_help_panel=HOW),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="Name of the recipe, without --backbone and --data (python -m suite list "
            "recipes).",
            rich_help_panel=BUNDLED,
        ),
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option(
            parser=absolute,
            help="Folder of the source images, or a Parquet file.",
            rich_help_panel=BUNDLED,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Another draw of weights, batches and augmentation; 0, as of bundled weights.",
            rich_help_panel=BUNDLED,
        ),
    ] = None,
    final: Annotated[
        bool,
        typer.Option(
            help="When finished, read the last split, for the card.", rich_help_panel=BUNDLED
        ),
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    kernel: Annotated[str, typer.Option(help="Selective scan kernel.")] = "auto",
    workers: Annotated[
        int, typer.Option(min=0, help="Processes that render images ahead of the model.")
    ] = 1,
    max_minutes: Annotated[
        float, typer.Option(help="Stop after the epoch that passes this; 0: never.")
    ] = 0.0,
    out: Annotated[
        Path | None,
        typer.Option(parser=absolute, help="File of the weights; of a recipe, a folder."),
    ] = None,
) -> int:
    """Fine-tune a backbone on your images, or train a bundled one. Rerun to resume."""
    own = {
        "--backbone": backbone,
        "--data": data,
        "--epochs": epochs,
        "--lr": lr,
        "--batch-size": batch_size,
        "--image-size": image_size,
        "--augment": augment,
        "--precision": precision,
        "--from-scratch": from_scratch or None,
    }
    of_recipes = {"--source": source, "--seed": seed, "--final": final or None}
    given = [flag for flag, value in own.items() if value is not None]
    check_run_options(workers, max_minutes)
    if recipe is not None:
        if given:
            raise UserError(f"{given[0]} does not go with --recipe, which says all: leave one out")
        run = RecipeRun(recipe, seed or 0, str(source) if source else None, final)
        return train_recipe(run, out, device, kernel, workers, max_minutes)
    if backbone is None or data is None:
        raise UserError(
            "nothing says what to train: give --backbone NAME and --data imagefolder:PATH for "
            "images of your own, or --recipe NAME for bundled weights"
        )
    for flag, value in of_recipes.items():
        if value is not None:
            raise UserError(f"{flag} is for --recipe: leave it out")
    from suite.training.fine_tune import FineTuning
    from suite.training.first_weights import plain_name

    if image_size is not None:
        backbone = with_settings(backbone, image_size=image_size)
    optional = {
        "epochs": epochs,
        "learning_rate": lr,
        "batch": batch_size,
        "augment": augment,
        "precision": precision,
    }
    chosen: dict[str, Any] = {name: part for name, part in optional.items() if part is not None}
    wish = FineTuning(
        backbone,
        data,
        out or absolute(f"{plain_name(backbone)}-trained.safetensors"),
        scratch=from_scratch,
        **chosen,
    )
    return fine_tune(wish, device, kernel, workers, max_minutes)


def check_run_options(workers: int, max_minutes: float) -> None:
    """UserError for more workers than cores, or minutes that are no length of time."""
    # Imported late: the help of all commands must not wait for PyTorch.
    from suite.system.hardware import check_workers

    check_workers(workers)
    # Not `max_minutes < 0`, which a NaN would pass.
    if not max_minutes >= 0:
        raise UserError(
            f"--max-minutes cannot be {max_minutes}: give minutes from 0 on, 0 for no end"
        )


@contextmanager
def alone_in(folder: Path, group: ProcessGroup) -> Iterator[None]:
    """Lock `folder` for this training; UserError if another process trains there."""
    # One process of the group takes the lock for all.
    if not group.is_main:
        yield
        return
    with file_lock(folder / "train.lock", wait=False) as is_free:
        if not is_free:
            raise UserError(
                f"another process trains in {folder}: wait for it, or use another --out"
            )
        # Half-written by a process that was killed.
        for path in folder.glob(".*.tmp"):
            path.unlink()
        yield


@contextmanager
def nothing_left_of(folder: Path, group: ProcessGroup) -> Iterator[None]:
    """Take a folder away again in which an error left nothing to go on from."""
    try:
        yield
    except UserError:
        if group.is_main and not any(folder.glob("*.safetensors")):
            shutil.rmtree(folder, ignore_errors=True)
        raise


def fine_tune(wish: FineTuning, device: str, kernel: str, workers: int, max_minutes: float) -> int:
    """Train on a user's images, and write weights and card beside each other."""
    from suite.system.hardware import check_precision, pick_device
    from suite.terminal.lines import print_note, print_result
    from suite.training.distributed import process_group
    from suite.training.fine_tune import prepare, seconds_left

    picked_device = pick_device(device)
    check_precision(wish.precision, picked_device)
    with process_group(picked_device) as group:
        with alone_in(wish.folder, group), nothing_left_of(wish.folder, group):
            prepared = prepare(wish, picked_device, workers, kernel, group)
            trainer = prepared.trainer
            if group.is_main:
                for note in prepared.notes:
                    print_note(f"note: {note}", sys.stdout)
                about = duration(seconds_left(trainer))
                print_result(
                    f"{prepared.work}: about {about}; {wish.folder} is what it resumes from"
                )
            if not trainer.run(report_of(prepared), max_minutes * 60 or math.inf):
                if group.is_main:
                    print_result(STOPPED.format(trainer.done.epoch, trainer.recipe.epochs))
                return 0
            if group.is_main:
                finish(prepared)
        if group.is_main:
            shutil.rmtree(wish.folder)
    return 0


def report_of(prepared: Prepared) -> Callable[[dict[str, float]], None]:
    """What prints the figures of an epoch, and how long the others will take."""
    from suite.terminal.lines import print_result

    epochs = prepared.trainer.recipe.epochs

    def report(figures: dict[str, float]) -> None:
        epoch = int(figures["epoch"])
        left = duration(figures["seconds"] * (epochs - epoch))
        then = f", {left} left" if epoch < epochs else ""
        print_result(
            f"epoch {epoch} of {epochs}: loss {figures['loss']:.3f}, "
            f"{100 * figures['top1']:.1f} % of the training images{then}"
        )

    return report


def finish(prepared: Prepared) -> None:
    """Tell the accuracy on the held-out images, write weights and card, and say how to go on."""
    from suite.terminal.lines import print_result
    from suite.training.own_export import compare_command, held_out_top1, write_results

    trainer, images = prepared.trainer, prepared.images
    model = trainer.model.eval()
    model.load_state_dict(trainer.ema)
    top1 = held_out_top1(model, images, trainer.device)
    write_results(prepared, top1)
    where = f"of {images.split}" if images.split else "held out"
    print_result(f"top-1: {100 * top1:.2f} % of the {len(images.held_rows):,} images {where}")
    out = prepared.wish.out
    print_result(f"weights: {out}, card: {out.with_suffix('.md').name} beside it")
    # whole, so that it can be copied
    print(f"compare methods on them: {compare_command(prepared.wish, images.split)}")


@dataclass(frozen=True)
class RecipeRun:
    """Bundled weights that are trained again, or drawn anew under another seed.

    ``source``  folder of the source images; None: where they are usually found
    ``final``   whether the last split is read for the card
    """

    recipe: str
    seed: int
    source: str | None
    final: bool

    @property
    def folder(self) -> Path:
        """Where it goes unless another folder is named."""
        return Path("runs") / f"train-{self.recipe}{f'-seed{self.seed}' if self.seed else ''}"

    @property
    def command(self) -> str:
        """The command that trains the same weights."""
        return f"python -m suite train --recipe {self.recipe}" + (
            f" --seed {self.seed}" if self.seed else ""
        )


def train_recipe(
    run: RecipeRun,
    out: Path | None,
    device: str,
    kernel: str,
    workers: int,
    max_minutes: float,
) -> int:
    """Train weights by their recipe into the folder `out`."""
    from suite.system.hardware import pick_device
    from suite.training.distributed import process_group
    from suite.training.images import training_images
    from suite.training.recipes import HeadRecipe, find_recipe

    selected = find_recipe(run.recipe, run.seed)
    folder = out or run.folder
    picked_device = pick_device(device)
    if isinstance(selected, HeadRecipe):
        return train_head_recipe(selected, folder, picked_device, kernel, run)
    with process_group(picked_device) as group, alone_in(folder, group):
        # The first process decodes pictures into the folder, where the others read them.
        with group.main_first():
            images = training_images(selected.dataset, "train", run.source, folder)
        from suite.training.loop import Trainer

        trainer = Trainer(selected, images, folder, picked_device, workers, kernel, group)
        return finish_recipe(trainer, max_minutes, run)


def train_head_recipe(
    recipe: HeadRecipe, folder: Path, device: str, kernel: str, run: RecipeRun
) -> int:
    """Train a head by its recipe, and write it with its card into `folder`."""
    from suite.terminal.lines import print_result
    from suite.training import heads

    def report(figures: dict[str, float]) -> None:
        print_result(epoch_line(figures, recipe.epochs))

    print_result(f"features of {recipe.images:,} images first; the body stays as it is")
    folder.mkdir(parents=True, exist_ok=True)
    trained = heads.train_recipe(recipe, run.source, device, kernel, report)
    scores = {}
    for split in ("dev", "test") if run.final else ("dev",):
        images = heads.segmentation_images(split, run.source)
        scores[split] = found = heads.score(trained.model, images, device)
        print_result(f"mIoU on {split}: {100 * found.miou:.2f} % of {found.images:,} images")
    heads.write_head(folder / f"{recipe.backbone}.safetensors", trained.model)
    card = folder / f"{recipe.backbone}.md"
    heads.write_head_card(card, recipe, trained, scores, run.command)
    print_result(f"weights and card in {folder}")
    return 0


def epoch_line(figures: dict[str, float], epochs: int) -> str:
    """The figures of one epoch, in a line."""
    parts = " ".join(f"{name} {value:.4g}" for name, value in figures.items())
    return f"{parts} of {epochs} epochs"


def finish_recipe(trainer: Trainer, max_minutes: float, run: RecipeRun) -> int:
    """Train until the recipe or the time is over; then write the weights and their card."""
    from suite.terminal.lines import print_result
    from suite.training import export
    from suite.training.images import FINAL, training_images

    recipe, folder = trainer.recipe, trainer.out

    def report(figures: dict[str, float]) -> None:
        print_result(epoch_line(figures, recipe.epochs))

    finished = trainer.run(report, max_minutes * 60 or math.inf)
    if not trainer.group.is_main:
        return 0
    if not finished:
        print_result(STOPPED.format(trainer.done.epoch, recipe.epochs))
        return 0
    model = trainer.model.eval()
    model.load_state_dict(trainer.ema)
    weights = folder / f"{recipe.backbone}.safetensors"
    export.write_weights(weights, model, recipe.stored)
    scores = {}
    for split in ("dev", FINAL[recipe.dataset]) if run.final else ("dev",):
        images = training_images(recipe.dataset, split, run.source, folder)
        count = len(images.labels)
        top1 = export.accuracy(model, images, trainer.device)
        scores[split] = (top1, count)
        print_result(f"top-1 on {split}: {100 * top1:.2f} % of {count:,} images")
    export.write_card(weights.with_suffix(".md"), trainer, scores, run.command)
    print_result(f"weights and card in {folder}")
    return 0

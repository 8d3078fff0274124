"""Carry out the trainings of a run one after the other, by the loop of `suite.training`."""

from __future__ import annotations

import copy
import math
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from backbones.common.errors import UserError
from suite.retrain.files import STATES, Files, Finished, sha256
from suite.retrain.prepare import Retraining, Training
from suite.store.schema import Retrained
from suite.system.durations import duration
from suite.system.out_of_memory import out_of_memory
from suite.training.distributed import ProcessGroup
from suite.training.export import write_weights
from suite.training.fine_tune import seconds_left
from suite.training.images import TrainingImages
from suite.training.loop import Trainer, fingerprint

Say = Callable[[str], None]


def train_all(
    retraining: Retraining, folder: Path, group: ProcessGroup, say: Say
) -> dict[str, Finished]:
    """See that every training is finished in the run's `folder`; their records by name.

    `say` receives what is to be trained and at what cost, then the progress, a line each.
    """
    done, todo = {}, []
    for training in retraining.trainings:
        finished = Files(folder, training).finished(fingerprint_of(retraining, training))
        # The processes of a group must agree, and each looks at another moment.
        if not group.broadcast(float(finished is None)):
            assert finished is not None
            done[training.name] = finished
        else:
            todo.append(training)
    if todo:
        done |= train_these(retraining, todo, folder, group, say)
    # As a comparison computes, whatever training was allowed.
    torch.set_float32_matmul_precision("highest")
    if group.is_main:
        shutil.rmtree(folder / STATES, ignore_errors=True)
    return done


def train_these(
    retraining: Retraining, todo: list[Training], folder: Path, group: ProcessGroup, say: Say
) -> dict[str, Finished]:
    """Carry out the trainings `todo`; their records by name."""
    images: dict[str, TrainingImages] = {}
    for backbone in dict.fromkeys(training.backbone for training in todo):
        with group.main_first():
            (folder / STATES).mkdir(parents=True, exist_ok=True)
            model = retraining.models[backbone]
            images[backbone] = retraining.data.images_for(model, retraining.crop, folder / STATES)
    seconds = {}
    # All are timed before one begins, while the whole price can still be declined.
    for training in todo:
        with enough_memory(retraining, training):
            trainer = trainer_of(retraining, training, images[training.backbone], folder, group)
            seconds[training.name] = seconds_left(trainer)
            say(f"{training.called}: {trainer.work}, about {duration(seconds[training.name])}")
    say(f"trainings to go: {len(todo)}, about {duration(sum(seconds.values()))}")
    # All trainings have as many images, and batches of one size.
    if trainer.batches.left_out:
        say(trainer.batches.left_out)
    done = {}
    for training in todo:
        of_others = [seconds[other.name] for other in todo if other.name not in done]
        later = sum(of_others) - seconds[training.name]
        with enough_memory(retraining, training):
            trainer = trainer_of(retraining, training, images[training.backbone], folder, group)
            trainer.run(progress(training, trainer, seconds[training.name], later, say))
        done[training.name] = finish(retraining, training, trainer, Files(folder, training))
    return done


def trainer_of(
    retraining: Retraining,
    training: Training,
    images: TrainingImages,
    folder: Path,
    group: ProcessGroup,
) -> Trainer:
    """The trainer of one training, at its beginning or where it was interrupted."""
    spec, model = retraining.spec, retraining.models[training.backbone]
    return Trainer(
        retraining.recipe(training),
        images,
        Files(folder, training).states,
        retraining.prepared.device,
        spec.loaders,
        spec.kernel,
        group,
        # Every training of a backbone begins with the same weights.
        lambda: copy.deepcopy(model),
        retraining.beginning(training),
        retraining.lesson(training),
    )


def fingerprint_of(retraining: Retraining, training: Training) -> str:
    """Hash of all that a training depends on."""
    return fingerprint(retraining.recipe(training), retraining.beginning(training))


@contextmanager
def enough_memory(retraining: Retraining, training: Training) -> Iterator[None]:
    """Turn an error of memory into a UserError that names the batch."""
    try:
        yield
    except Exception as error:
        if not out_of_memory(error):
            raise
        batch = retraining.recipe(training).batch
        raise UserError(
            f"memory ran out while training {training.called} on {batch} images a step: give a "
            f"smaller --train-batch, such as {max(1, batch // 2)}"
        ) from error


def progress(
    training: Training, trainer: Trainer, seconds: float, later: float, say: Say
) -> Callable[[dict[str, float]], None]:
    """What says the figures of an epoch, and how long all trainings will take from there.

    This one was estimated to take `seconds`, those after it `later`; the estimates are corrected by
    the time that an epoch takes.
    """
    epochs = trainer.recipe.epochs
    # A training cut off before its last record has no epoch left.
    expected = seconds / max(1, epochs - trainer.done.epoch)

    def report(figures: dict[str, float]) -> None:
        epoch, took = int(figures["epoch"]), figures["seconds"]
        if not math.isfinite(figures["loss"]):
            raise UserError(
                f"{training.called}: the loss is no number any more in epoch {epoch}: choose an "
                f"--lr below {trainer.recipe.learning_rate:g}"
            )
        left = took * (epochs - epoch) + later * took / expected
        then = f", {duration(left)} left for all" if left else ""
        say(
            f"{training.called}, epoch {epoch} of {epochs}: loss {figures['loss']:.3f}, "
            f"{100 * figures['top1']:.1f} % of the training images{then}"
        )

    return report


def finish(retraining: Retraining, training: Training, trainer: Trainer, files: Files) -> Finished:
    """The record of a training that is over; the main process writes it after the weights."""
    spec, recipe, done = retraining.spec, trainer.recipe, trainer.done
    if trainer.group.is_main:
        model = trainer.model.eval()
        # The running mean of the weights is what is kept, as by `suite train`.
        model.load_state_dict(trainer.ema)
        write_weights(files.weights, model, record=retraining.data.record.metadata())
    retrained = Retrained(
        backbone=training.backbone,
        name=training.name,
        budgets=[cell.budget or 0.0 for cell in training.cells],
        epochs=done.epoch,
        steps=done.step,
        images=done.step * recipe.batch,
        batch=recipe.batch,
        learning_rate=recipe.learning_rate,
        distill=spec.distill,
        augment=retraining.augment,
    )
    # The other processes wrote no file, and their records go nowhere.
    digest = sha256(files.weights) if trainer.group.is_main else ""
    finished = Finished(
        fingerprint=done.fingerprint,
        sha256=digest,
        curve=done.curve,
        retrained=retrained,
        seconds=done.seconds,
        hardware=done.hardware,
    )
    if trainer.group.is_main:
        files.write_record(finished)
        # Last: without weights and record a training resumes from its state.
        shutil.rmtree(files.states)
    return finished

"""Carry out the trainings of a run one after the other, by the loop of `suite.training`."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from backbones.common.errors import UserError
from suite.data.base import digest
from suite.retrain.files import STATES, Files, Finished, Tried, sha256
from suite.retrain.prepare import Retraining, Training
from suite.retrain.rates import best, diverged, kept_words, tried
from suite.store.schema import Retrained
from suite.system.durations import duration
from suite.system.hardware import set_products
from suite.system.out_of_memory import out_of_memory
from suite.training.distributed import ProcessGroup
from suite.training.export import write_weights
from suite.training.fine_tune import seconds_left
from suite.training.images import TrainingImages
from suite.training.loop import DivergedError, Trainer, fingerprint

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
        run = TrainingRun.begin(retraining, todo, folder, group, say)
        done |= {training.name: run.finished(training) for training in todo}
    # As a comparison computes, whatever training was allowed.
    set_products(retraining.spec.precision)
    if group.is_main:
        shutil.rmtree(folder / STATES, ignore_errors=True)
    return done


@dataclass(frozen=True)
class TrainingRun:
    """What the trainings of a run share while they last.

    ``images``    by backbone, what is trained on
    ``held_out``  by backbone, what chooses a learning rate; empty where there is but one
    ``seconds``   by training and rate, what is still to go
    """

    retraining: Retraining
    folder: Path
    group: ProcessGroup
    say: Say
    images: dict[str, TrainingImages] = field(default_factory=dict)
    held_out: dict[str, TrainingImages] = field(default_factory=dict)
    seconds: dict[tuple[str, float], float] = field(default_factory=dict)

    @classmethod
    def begin(
        cls,
        retraining: Retraining,
        todo: Sequence[Training],
        folder: Path,
        group: ProcessGroup,
        say: Say,
    ) -> TrainingRun:
        """Open the images; say what there is to train, and how long each of it takes."""
        run = cls(retraining, folder, group, say)
        for backbone in dict.fromkeys(training.backbone for training in todo):
            with group.main_first():
                run.open_images(backbone)
        # All are timed before one begins, while the whole price can still be declined.
        # All trainings have as many images, and batches of one size.
        left_out = {run.estimate(training) for training in todo}
        rates = len(retraining.spec.rates)
        count = f"{len(todo)}, at {rates} learning rates each" if rates > 1 else f"{len(todo)}"
        say(f"trainings to go: {count}, about {duration(sum(run.seconds.values()))}")
        for text in filter(None, left_out):
            say(text)
        return run

    def open_images(self, backbone: str) -> None:
        """Make the training images of a backbone ready, and those that are held out."""
        states = self.folder / STATES
        states.mkdir(parents=True, exist_ok=True)
        data, model = self.retraining, self.retraining.models[backbone]
        self.images[backbone] = data.data.images_for(model, data.crop, states)
        if data.held_out:
            # Whole pictures, as an evaluation sees them.
            self.held_out[backbone] = data.held_out.images_for(model, 1.0, states)

    def estimate(self, training: Training) -> str:
        """Say how much there is to train, and how long at all rates; which images no batch has."""
        rates, seconds = self.retraining.spec.rates, 0.0
        for rate in rates:
            trainer = self.trainer(training, rate)
            with enough_memory(self.retraining, training):
                self.seconds[training.name, rate] = seconds_left(trainer)
            seconds += self.seconds[training.name, rate]
        # The last rate is begun last, and has most to go.
        each = f" at each of {len(rates)} learning rates" if len(rates) > 1 else ""
        self.say(f"{training.called}: {trainer.work}{each}, about {duration(seconds)}")
        return trainer.batches.left_out

    def trainer(self, training: Training, rate: float) -> Trainer:
        """The trainer of a training at one learning rate, at its beginning or where it was cut."""
        images = self.images[training.backbone]
        with enough_memory(self.retraining, training):
            return trainer_of(self.retraining, training, rate, images, self.folder, self.group)

    def finished(self, training: Training) -> Finished:
        """The record of a training, once it is over; of several rates the best one is kept."""
        tries, seconds = [], 0.0
        for rate in self.retraining.spec.rates:
            trainer = self.trainer(training, rate)
            tries += self.run(training, trainer)
            seconds += trainer.done.seconds
        if tries:
            # One process decides for all, whose sums may differ in the last digit.
            place = int(self.group.broadcast(float(best(tries, training.called))))
            kept = tries[place]
            self.say(f"{training.called}: {kept_words(kept)}")
            # As its last epoch left it. The process that writes deletes the states, so that
            # no other may read them now.
            if self.group.is_main:
                trainer = self.trainer(training, kept.learning_rate)
        retrained = retrained_by(self.retraining, training, trainer)
        files = Files(self.folder, training)
        if self.group.is_main:
            model = trainer.model.eval()
            # The running mean of the weights is what is kept, as by `suite train`.
            model.load_state_dict(trainer.ema)
            write_weights(files.weights, model, record=self.retraining.data.record.metadata())
        finished = Finished(
            fingerprint=fingerprint_of(self.retraining, training),
            # The other processes wrote no file, and their records go nowhere.
            sha256=sha256(files.weights) if self.group.is_main else "",
            tried=tries,
            curve=trainer.done.curve,
            retrained=retrained,
            seconds=seconds,
            hardware=trainer.done.hardware,
        )
        if self.group.is_main:
            files.write_record(finished)
            # Last: without weights and record a training resumes from its states.
            shutil.rmtree(files.states)
        return finished

    def run(self, training: Training, trainer: Trainer) -> list[Tried]:
        """Train to the end; what images say that were held out, where there are any."""
        held_out, rate = self.held_out.get(training.backbone), trainer.recipe.learning_rate
        called = training.called if held_out is None else f"{training.called} at rate {rate:g}"
        expected = self.seconds.pop((training.name, rate))
        report = progress(called, trainer, expected, sum(self.seconds.values()), self.say)
        try:
            with enough_memory(self.retraining, training):
                trainer.run(report)
                return [] if held_out is None else [tried(trainer, held_out)]
        except DivergedError as error:
            if held_out is None:
                raise UserError(f"{training.called}: {error}") from None
            self.say(f"{called}: the loss is no number any more; it is not chosen")
            return [diverged(rate, held_out)]


def trainer_of(
    retraining: Retraining,
    training: Training,
    rate: float,
    images: TrainingImages,
    folder: Path,
    group: ProcessGroup,
) -> Trainer:
    """The trainer of one training, at its beginning or where it was interrupted."""
    spec, model = retraining.spec, retraining.models[training.backbone]
    return Trainer(
        retraining.recipe(training, rate),
        images,
        Files(folder, training).state(rate),
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
    beginning = retraining.beginning(training)
    each = []
    for rate in retraining.spec.rates:
        each.append(fingerprint(retraining.recipe(training, rate), beginning))
    if retraining.held_out is None:
        return each[0]
    return digest([each, retraining.held_out.identity])


@contextmanager
def enough_memory(retraining: Retraining, training: Training) -> Iterator[None]:
    """Turn an error of memory into a UserError that names the batch."""
    try:
        yield
    except Exception as error:
        if not out_of_memory(error):
            raise
        batch = retraining.recipe(training, retraining.spec.rates[0]).batch
        raise UserError(
            f"memory ran out while training {training.called} on {batch} images a step: give a "
            f"smaller --train-batch, such as {max(1, batch // 2)}"
        ) from error


def progress(
    called: str, trainer: Trainer, seconds: float, later: float, say: Say
) -> Callable[[dict[str, float]], None]:
    """What says the figures of an epoch, and how long all trainings will take from there.

    This one, `called` so, was estimated to take `seconds`, those after it `later`; the estimates
    are corrected by the time that an epoch takes.
    """
    epochs = trainer.recipe.epochs
    # A training cut off before its last record has no epoch left.
    expected = seconds / max(1, epochs - trainer.done.epoch)

    def report(figures: dict[str, float]) -> None:
        epoch, took = int(figures["epoch"]), figures["seconds"]
        left = took * (epochs - epoch) + later * took / expected
        then = f", {duration(left)} left for all" if left else ""
        say(
            f"{called}, epoch {epoch} of {epochs}: loss {figures['loss']:.3f}, "
            f"{100 * figures['top1']:.1f} % of the training images{then}"
        )

    return report


def retrained_by(retraining: Retraining, training: Training, trainer: Trainer) -> Retrained:
    """How the weights of `trainer` were trained."""
    recipe, done = trainer.recipe, trainer.done
    return Retrained(
        backbone=training.backbone,
        name=training.name,
        budgets=[cell.budget or 0.0 for cell in training.cells],
        epochs=done.epoch,
        steps=done.step,
        images=done.step * recipe.batch,
        batch=recipe.batch,
        learning_rate=recipe.learning_rate,
        distill=retraining.spec.distill,
        augment=retraining.augment,
    )

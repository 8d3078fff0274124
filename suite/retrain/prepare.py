"""Lay out a retraining: the comparison it is beside, and a training for each method and budget."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F

from backbones.base import Backbone
from backbones.common.errors import UserError, describe_error
from backbones.common.labels import data_name
from methods.spec import parse_all
from suite.data.base import digest
from suite.plan.cells import Cell, file_digest
from suite.plan.loading import load_model, state_hash
from suite.plan.prepare import Prepared, prepare
from suite.plan.schedule import ADAPTIVE
from suite.plan.settings import TUNED
from suite.retrain.spec import RetrainSpec
from suite.retrain.training_data import TrainingData, open_training_data, parted
from suite.training.augment import NONE
from suite.training.fine_tune import SMALLEST_CROP, STRONG, check_learns, check_steps
from suite.training.lesson import NOTHING, Lesson, Reduction
from suite.training.own_images import of_images_alone
from suite.training.recipes import Phase, Recipe

TRAINED_UNDER = ("sequence", "image")  # kinds of methods


@dataclass(frozen=True)
class Training:
    """One training: the weights of a `backbone` under the plans of `cells`, one a budget.

    The control has none: the whole model, trained alike. ``name`` is that of its files.
    """

    name: str
    backbone: str
    cells: tuple[Cell, ...] = ()

    @property
    def called(self) -> str:
        """What is trained, in words."""
        if not self.cells:
            return f"{self.backbone}, the whole model as a control"
        shares = ", ".join(f"{100 * (cell.budget or 0.0):.4g}" for cell in self.cells)
        return f"{self.backbone} under {self.cells[0].label} at -{shares} % FLOPs"


@dataclass(frozen=True)
class Retraining:
    """A retraining that can begin: the comparison without it, the images, and its trainings.

    ``data``      what all trainings are on
    ``held_out``  training images beside these, which choose among learning rates; None for one rate
    ``models``    by backbone the weights that all its trainings begin with, in fp32 at least
    """

    spec: RetrainSpec
    prepared: Prepared
    data: TrainingData
    held_out: TrainingData | None
    models: Mapping[str, Backbone]
    trainings: tuple[Training, ...]

    @property
    def augment(self) -> str:
        """How images are augmented."""
        return self.spec.augment or self.data.augment

    @property
    def crop(self) -> float:
        """The least share of a picture that a crop keeps."""
        return SMALLEST_CROP[self.augment]

    def recipe(self, training: Training, rate: float) -> Recipe:
        """The recipe of a training at a learning rate: the same for all of one backbone."""
        spec, strong = self.spec, self.augment == "strong"
        return Recipe(
            backbone=training.backbone,
            dataset=data_name(spec.data),
            phases=(Phase(self.models[training.backbone].image_size, spec.epochs),),
            # An epoch leaves out images that fill no batch: it would have no step.
            batch=min(spec.train_batch, len(self.data.rows)),
            learning_rate=rate,
            # As in R-MeeTo's release: from 2e-5 down to 1e-6.
            minimum_rate=rate / 20,
            warmup_epochs=spec.epochs / 10,
            betas=(0.9, 0.999),
            horizontal_flip=self.augment != "none",
            augmentation=STRONG if strong else NONE,
            precision="bf16" if spec.precision == "bf16" else "fp32",
        )

    def lesson(self, training: Training) -> Lesson:
        """The reductions of a training, and the whole model as its teacher if one is asked for."""
        reductions = [reduction_of(cell) for cell in training.cells] or [NOTHING]
        if not self.spec.distill:
            return Lesson(reductions)
        # A copy, since these weights are also what the trainings begin with.
        teacher = copy.deepcopy(self.models[training.backbone]).eval().requires_grad_(False)
        return Lesson(reductions, teacher, self.spec.distill)

    def beginning(self, training: Training) -> str:
        """Digest of what the recipe does not say: weights, images, reductions and the teacher."""
        reductions = []
        for cell in training.cells:
            assert cell.plan is not None
            removals = {str(at): one.model_dump() for at, one in cell.plan.removals.items()}
            # Of the image: its size, and the window, if one is taken.
            what = cell.parts.canonical() if cell.parts else None
            size = [] if cell.composition else [cell.image_size]
            reductions.append([what, removals, *size])
        model = self.models[training.backbone]
        images = [self.data.identity, self.crop]
        return digest([state_hash(model), images, reductions, self.spec.distill])


@of_images_alone()
def prepare_retraining(spec: RetrainSpec, folder: Path | None = None) -> Retraining:
    """Open data and models and lay out all trainings; UserError for what cannot be trained.

    What a run in `folder` has chosen by images, it keeps.
    """
    check_methods(spec)
    data, held_out = open_training_data(spec), None
    if len(spec.rates) > 1:
        data, held_out = parted(data)
    # Nothing is evaluated on what is trained on.
    prepared = prepare(spec, further=False, folder=folder, trained_on=data.record.images)
    check_trains(prepared)
    models = {name: model_in_full(prepared, name) for name in spec.named}
    for model in models.values():
        if model.code is not None:
            check_learns(model)
    images = len(data.rows)
    mend = "more --epochs or --train-images, or --train-batch"
    check_steps(images, min(spec.train_batch, images), spec.epochs, mend)
    trainings = laid_out(prepared, spec.mixed)
    for training in trainings:
        for cell in training.cells:
            # Methods of the suite have gradients; a third party's code must show it.
            if file_digest(cell.method):
                check_gradient(models[training.backbone], cell)
    # The plan has the settings in their one spelling.
    assert isinstance(prepared.spec, RetrainSpec)
    return Retraining(prepared.spec, prepared, data, held_out, models, trainings)


def check_methods(spec: RetrainSpec) -> None:
    """UserError for a method that leaves all tokens, or not equally many of every image."""
    for method in parse_all(spec.methods):
        if method.method.kind not in TRAINED_UNDER:
            raise UserError(
                f"{method} is no reduction to train under, as methods that remove tokens or look "
                "at fewer pixels are: leave it out of retrain"
            )
        if method.method.kind == "image":  # has no schedule
            continue
        # A method that was never tuned has the schedule of its own.
        common = method.method.schedule if spec.schedule == TUNED else spec.schedule
        if (method.schedule or common) == ADAPTIVE.name:
            raise UserError(
                f"{method}: under the schedule {ADAPTIVE.name} the images of a batch keep "
                "different numbers of tokens: choose another for retrain"
            )


def check_trains(prepared: Prepared) -> None:
    """UserError for a backbone that takes clips, or that no method can run on."""
    for name, model in prepared.backbones.items():
        if model.frames > 1:
            raise UserError(f"{name} takes clips: retrain takes a backbone for images")
        cells = asked(prepared, name)
        if not any(cell.plan for cell in cells):
            cell = cells[0]
            raise UserError(f"{cell.label} cannot be retrained on {name}: {cell.reason}")


def asked(prepared: Prepared, backbone: str) -> list[Cell]:
    """The cells of one seed that a training is asked for, in the order of the run."""
    cells = []
    for cell in prepared.cells:
        # One training serves all seeds: one for each would multiply the price.
        own = cell.backbone == backbone and cell.role == "asked" and not cell.seed
        if own and cell.budget in prepared.spec.budgets:
            cells.append(cell)
    return cells


def model_in_full(prepared: Prepared, name: str) -> Backbone:
    """The weights of a backbone before they were rounded for an evaluation in bf16."""
    if prepared.spec.precision != "bf16":
        return prepared.models[name]
    spec, dataset = prepared.spec, prepared.dataset
    text = spec.named[name]
    return load_model(text, spec.checkpoint, spec.kernel, dataset, prepared.device, torch.float32)


def laid_out(prepared: Prepared, mixed: bool) -> tuple[Training, ...]:
    """The trainings of all backbones: the control, then one a method and budget, or a method."""
    trainings: list[Training] = []
    for backbone in prepared.spec.named:
        trainings.append(Training(f"{backbone}-none", backbone))
        cells = [cell for cell in asked(prepared, backbone) if cell.plan]
        if mixed:
            of_method: dict[str, list[Cell]] = {}
            for cell in cells:
                of_method.setdefault(cell.label, []).append(cell)
            for label, own in of_method.items():
                trainings.append(Training(f"{backbone}-{label}-mixed", backbone, tuple(own)))
            continue
        for cell in cells:
            trainings.append(Training(f"{backbone}-{cell.label}-{cell.budget}", backbone, (cell,)))
    return in_files(trainings)


def in_files(trainings: Iterable[Training]) -> tuple[Training, ...]:
    """The trainings under names that files may have, no two of them the same."""
    named: dict[str, Training] = {}
    for training in trainings:
        name = re.sub(r"[^\w.+-]+", "_", training.name).strip("_")[:100]
        if name in named:
            # Names may differ only in what files cannot have, or beyond the cut.
            name = f"{name}-{digest(training.name)[:8]}"
        named[name] = replace(training, name=name)
    return tuple(named.values())


def reduction_of(cell: Cell) -> Reduction:
    """What is at work in a training under the plan of `cell`, as in an evaluation of it."""
    # A method of the sequence leaves images as they come, in every phase of a recipe.
    size = None if cell.composition else cell.image_size
    return Reduction(cell.reducers(), size, cell.view)


def check_gradient(model: Backbone, cell: Cell) -> None:
    """UserError unless a loss under a third party's reduction has a gradient before its sites."""
    copied = copy.deepcopy(model).train()
    size, shape = model.image_size, model.describe()
    parameter = next(copied.parameters())
    images = torch.zeros(2, shape.channels, size, size, dtype=parameter.dtype)
    mend = "let it compute tokens by operations that have gradients, outside torch.no_grad"
    # The draw must not shift the random numbers of what comes after.
    with torch.enable_grad(), torch.random.fork_rng():
        tokens = copied.embed(images.to(parameter.device).normal_())
        # A gradient at the first block has passed every site.
        start = tokens.branch.detach().requires_grad_()
        try:
            reduced = copied.run(replace(tokens, branch=start), plan=cell.reducers())
            logits = copied.readout(reduced)
            labels = torch.zeros(2, dtype=torch.long, device=logits.device)
            torch.autograd.backward(F.cross_entropy(logits, labels))
        # It names its own mend.
        except UserError:
            raise
        except Exception as error:
            raise UserError(
                f"method {cell.label} cannot be trained under ({describe_error(error)}): {mend}"
            ) from error
    if start.grad is None or not bool(start.grad.any()):
        raise UserError(f"no gradient passes through method {cell.label}: {mend}")

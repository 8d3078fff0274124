"""The training loop: resumable at every epoch, the same on CPU and CUDA."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import AdamW, Muon, Optimizer
from torch.utils.data import DataLoader

from backbones import create_model
from backbones.base import Backbone
from backbones.common.errors import UserError
from suite.evaluation.runner import embed
from suite.system.environment import cpu_name
from suite.training import state
from suite.training.augment import seed_of
from suite.training.batches import Batches, TrainingBatch
from suite.training.distributed import ProcessGroup
from suite.training.drop_path import drop_paths
from suite.training.images import TrainingImages
from suite.training.lesson import NOTHING, Lesson, Reduction, divergence
from suite.training.recipes import HeadRecipe, Recipe
from suite.training.state import TrainingProgress

ALONE = ProcessGroup()
WHOLE = Lesson()


class DivergedError(UserError):
    """A training whose loss is no number any more."""


def fingerprint(recipe: Recipe, beginning: str = "") -> str:
    """Digest of a whole recipe, so that a state is never resumed under another.

    `beginning` identifies what a recipe does not: the images and the weights that it begins with.
    """
    text = json.dumps(asdict(recipe), sort_keys=True) + beginning
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def learning_rate(recipe: Recipe | HeadRecipe, progress: float) -> float:
    """Rate at `progress` epochs: linear warm-up, then a cosine down to the minimum."""
    if progress < recipe.warmup_epochs:
        return recipe.learning_rate * progress / recipe.warmup_epochs
    # A recipe may consist of the warm-up alone.
    remaining = max(recipe.epochs - recipe.warmup_epochs, 1e-9)
    share = min((progress - recipe.warmup_epochs) / remaining, 1.0)
    cosine = (1 + math.cos(math.pi * share)) / 2
    return recipe.minimum_rate + (recipe.learning_rate - recipe.minimum_rate) * cosine


def build_optimizers(model: Backbone, recipe: Recipe) -> list[Optimizer]:
    """AdamW, and Muon beside it if the recipe says so.

    Vectors, embeddings and the scan's A and D have no weight decay.
    """
    decayed: list[Tensor] = []
    spared: list[Tensor] = []
    projections: list[Tensor] = []
    for name, parameter in model.named_parameters():
        is_embedding = "_token" in name or "pos_embed" in name
        # As state-space models are trained. D is a vector, A a matrix: A_log, A_b_log or A_logs.
        # Biases of several timescales may be stacked.
        if parameter.ndim < 2 or is_embedding or "A_" in name or name.endswith("bias"):
            spared.append(parameter)
        elif recipe.optimizer == "muon" and name.endswith(("in_proj.weight", "out_proj.weight")):
            projections.append(parameter)
        else:
            decayed.append(parameter)
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": spared, "weight_decay": 0.0},
    ]
    rate, decay = recipe.learning_rate, recipe.weight_decay
    optimizers: list[Optimizer] = [AdamW(groups, lr=rate, betas=recipe.betas, fused=True)]
    if projections:
        # Steps as large as AdamW's, so that one rate serves both (Liu et al., arXiv 2502.16982).
        size = "match_rms_adamw"
        optimizers.append(Muon(projections, lr=rate, weight_decay=decay, adjust_lr_fn=size))
    return optimizers


def normalise(images: Tensor, dataset: TrainingImages, size: int) -> Tensor:
    """(B, 3, H, W) uint8 to the model's normalised input at `size`, area-averaged when smaller."""
    mean = torch.tensor(dataset.mean, device=images.device).view(1, 3, 1, 1)
    std = torch.tensor(dataset.std, device=images.device).view(1, 3, 1, 1)
    normalised = (images.float() / 255 - mean) / std
    if normalised.shape[-1] == size:
        return normalised
    return F.interpolate(normalised, size=(size, size), mode="area")


def hardware(device: str, count: int) -> str:
    """Name of the device, number of processes and torch's version, for the card."""
    name = torch.cuda.get_device_name() if device.startswith("cuda") else cpu_name()
    if count > 1:
        name = f"{count} x {name}"
    return f"{name} (torch {torch.__version__})"


class Forward(torch.nn.Module):
    """Logits of normalised images (B, 3, S, S), at any size, in fp32 at least.

    They are computed in the dtype of the weights, or in bf16.
    """

    def __init__(self, model: Backbone, reduction: Reduction, bf16: bool) -> None:
        super().__init__()
        self.model, self.reduction, self.bf16 = model, reduction, bf16

    def forward(self, images: Tensor, numbers: Tensor | None = None) -> Tensor:
        """Logits (B, classes); a random reduction draws by the `numbers` (B,) of the images."""
        size, model, reduction = images.shape[-1], self.model, self.reduction
        if size != model.image_size:
            # The same parameters, with interpolated position embeddings.
            model = model.resized(size)
        # Without autocast's cache: a CUDA graph would replay weights that were cast in one step.
        with torch.autocast("cuda", torch.bfloat16, enabled=self.bf16, cache_enabled=False):
            # As an evaluation makes tokens of an image, or of a part of it.
            fewer = reduction.image_size or size
            sized, tokens = embed(model, images, numbers, fewer, reduction.view)
            logits: Tensor = sized.readout(sized.run(tokens, plan=reduction.reducers))
        return logits.to(torch.promote_types(logits.dtype, torch.float32))


class Trainer:
    """Trains by one recipe on one device.

    `run` continues from the state in the folder `out`, until the recipe or the time is over.
    `build` makes the model at its beginning, by default the recipe's own with drawn weights, and
    `beginning` identifies what it is made of (see `fingerprint`). `lesson` are the reductions that
    it is trained under and its teacher; a reduction takes the place of a recipe's dropped branches.
    """

    def __init__(
        self,
        recipe: Recipe,
        dataset: TrainingImages,
        out: Path,
        device: str,
        workers: int,
        kernel: str,
        group: ProcessGroup = ALONE,
        build: Callable[[], Backbone] | None = None,
        beginning: str = "",
        lesson: Lesson = WHOLE,
    ) -> None:
        self.recipe, self.dataset, self.out = recipe, dataset, out
        self.device, self.workers, self.group = device, workers, group
        self.batches = Batches(dataset, recipe, group)
        # The drawing loops are compiled here once, and inherited by the worker processes.
        self.dataset.render(np.arange(1), variant=0)
        torch.manual_seed(recipe.seed)
        # TF32 on CUDA; evaluation never uses it.
        torch.set_float32_matmul_precision("high")
        model = build() if build else create_model(recipe.backbone, kernel=kernel)
        self.model = model.to(device).train()
        self.ema: dict[str, Tensor] = {}
        for name, tensor in self.model.state_dict().items():
            self.ema[name] = tensor.detach().clone()
        self.optimizers = build_optimizers(self.model, recipe)
        self.dtype = next(self.model.parameters()).dtype
        self.bf16 = recipe.precision == "bf16" and device.startswith("cuda")
        self.lesson = lesson
        self._reductions: list[Reduction] = []
        for reduction in lesson.reductions:
            dropped = drop_paths(recipe.drop_path, self.model.depth)
            reducers = dropped | dict(reduction.reducers)
            self._reductions.append(replace(reduction, reducers=reducers))
        self._forwards: dict[tuple[int, int], torch.nn.Module] = {}
        self._teacher = lesson.teacher and Forward(lesson.teacher.to(device), NOTHING, self.bf16)
        self.mix = recipe.augmentation.of_batch(self.model.describe().classes)
        self.done = TrainingProgress(recipe.backbone, fingerprint(recipe, beginning))
        if self.state_path.exists():
            self.done = state.load(
                self.state_path, self.model, self.ema, self.optimizers, self.done
            )

    @property
    def state_path(self) -> Path:
        """File of the resumable state."""
        return self.out / "state.safetensors"

    @property
    def work(self) -> str:
        """How much there is left to train, in words."""
        left, steps = self.recipe.epochs - self.done.epoch, self.batches.per_epoch
        epochs = "1 epoch" if left == 1 else f"{left} epochs"
        of_each = "1 step" if steps == 1 else f"{steps:,} steps"
        return f"{epochs} of {of_each} of {self.recipe.batch} images"

    def run(
        self, report: Callable[[dict[str, float]], None], max_seconds: float = math.inf
    ) -> bool:
        """Train epoch after epoch, saving after each; True when the recipe is finished.

        Stops after the epoch that passes `max_seconds`. DivergedError where the loss is no number.
        """
        if self.done.epoch >= self.recipe.epochs:
            # Before the workers are started.
            return True
        begun, earlier_seconds = time.perf_counter(), self.done.seconds
        self.done.hardware = hardware(self.device, self.group.size)
        # Before the workers, whose pinned memory would spoil the capture of a graph, and before
        # seeding, since capturing draws random numbers.
        for epoch in range(self.done.epoch, self.recipe.epochs):
            for number in range(len(self._reductions)):
                self._forward(self.recipe.phase_of(epoch).image_size, number)
        batches = self._batches()
        while self.done.epoch < self.recipe.epochs:
            started = time.perf_counter()
            figures = self._epoch(batches)
            # In all processes alike, and before such weights are saved.
            if not math.isfinite(figures["loss"]):
                raise DivergedError(
                    f"the loss is no number any more in epoch {self.done.epoch + 1}: choose an "
                    f"--lr below {self.recipe.learning_rate:g}"
                )
            self.done.epoch += 1
            self.done.curve.append([figures["loss"], figures["top1"]])
            self.done.seconds = earlier_seconds + time.perf_counter() - begun
            if self.group.is_main:
                state.save(self.state_path, self.model, self.ema, self.optimizers, self.done)
                seconds = time.perf_counter() - started
                report({"epoch": self.done.epoch, **figures, "seconds": seconds})
            # The processes stop after the same epoch, else the others would wait for ever.
            if self.group.broadcast(time.perf_counter() - begun) > max_seconds:
                break
        return self.done.epoch >= self.recipe.epochs

    def _batches(self) -> Iterator[TrainingBatch]:
        """All remaining batches, made by the same workers from the first epoch to the last."""
        loader = DataLoader(
            self.batches,
            sampler=self.batches.numbers_from(self.done.epoch),
            batch_size=None,
            num_workers=self.workers,
            pin_memory=self.device.startswith("cuda"),
            prefetch_factor=4 if self.workers else None,
        )
        return iter(loader)

    def _epoch(self, batches: Iterator[TrainingBatch]) -> dict[str, float]:
        """Train one epoch; the mean loss and accuracy of its batches."""
        size = self.recipe.phase_of(self.done.epoch).image_size
        steps = self.batches.per_epoch
        total = torch.zeros(2, device=self.device)
        # A resumed epoch draws the same numbers again.
        torch.manual_seed(seed_of(self.recipe.seed, self.done.epoch))
        for index in range(steps):
            images, labels = next(batches)
            rate = learning_rate(self.recipe, self.done.epoch + index / steps)
            for optimizer in self.optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = rate
            images = normalise(images.to(self.device, non_blocking=True), self.dataset, size)
            images = images.to(self.dtype)
            labels = labels.to(self.device, non_blocking=True)
            # The total stays on the device: reading it would wait for every step.
            total += self._step(images, labels)
        self.group.average([total])
        loss, hits = (total / steps).tolist()
        return {"loss": loss, "top1": hits}

    def _forward(self, size: int, number: int) -> torch.nn.Module:
        """The model at one image size, under the reduction of this number.

        On CUDA forward and backward of a whole model are a graph each.
        """
        if (size, number) not in self._forwards:
            forward = Forward(self.model, self._reductions[number], self.bf16)
            self._forwards[size, number] = forward
            # A graph records no reduction, which may wait for the device to choose.
            if self.device.startswith("cuda") and not self.lesson.reduces:
                # Launching the kernels of small models takes longer than running them.
                batch = self.recipe.batch // self.group.size
                images = torch.zeros(batch, 3, size, size, device=self.device)
                # Replaces the module's forward in place.
                torch.cuda.make_graphed_callables(forward, (images,), allow_unused_input=True)
        return self._forwards[size, number]

    def _logits(self, images: Tensor) -> Tensor:
        """Logits (B, classes) of this step's part of a batch, by the reduction whose turn it is."""
        forward = self._forward(images.shape[-1], self.done.step % len(self._reductions))
        if not self.lesson.reduces:
            logits: Tensor = forward(images)
            return logits
        # Counted over all steps, so that a random reduction draws anew at each.
        batch = self.recipe.batch
        numbers = torch.arange(batch)[self.group.rows(batch)] + self.done.step * batch
        reduced: Tensor = forward(images, numbers.to(self.device))
        return reduced

    def loss(self, images: Tensor, logits: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy to classes (B,) or shares of them, with the divergence from the teacher."""
        smoothing = self.recipe.label_smoothing
        loss = F.cross_entropy(logits, targets, label_smoothing=smoothing)
        if self._teacher is None:
            return loss
        with torch.no_grad():
            taught = self._teacher(images)
        return loss + self.lesson.weight * divergence(logits, taught)

    def rehearsal(self) -> Callable[[Tensor, Tensor], None]:
        """What computes loss and gradients under each reduction, on a copy of the model."""
        model = copy.deepcopy(self.model)

        def step(images: Tensor, labels: Tensor) -> None:
            for reduction in self._reductions:
                logits = Forward(model, reduction, self.bf16)(images)
                torch.autograd.backward(self.loss(images, logits, labels))

        return step

    def _step(self, images: Tensor, labels: Tensor) -> Tensor:
        """One optimizer step; the batch's loss and accuracy (2,)."""
        images, targets = self.mix(images, labels)
        logits = self._logits(images)
        loss = self.loss(images, logits, targets)
        self.model.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        # A parameter without a gradient has none in any of the processes.
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        self.group.average(gradients)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip_norm)
        for optimizer in self.optimizers:
            optimizer.step()
        self.done.step += 1
        # Less decay at first, or the average would keep the random weights for long.
        step = self.done.step
        decay = min(self.recipe.ema_decay, (1 + step) / (10 + step))
        averages: list[Tensor] = []
        current: list[Tensor] = []
        for name, value in self.model.state_dict().items():
            if value.is_floating_point():
                averages.append(self.ema[name])
                current.append(value)
            else:  # a count, such as that of a batch norm
                self.ema[name].copy_(value)
        torch._foreach_lerp_(averages, current, 1 - decay)
        # A mixed batch is scored by its labels before mixing, so this is a rough figure.
        accuracy = (logits.argmax(1) == labels).float().mean()
        return torch.stack([loss.detach(), accuracy])

"""The training loop: resumable at every epoch, the same on CPU and CUDA."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader

from backbones import create_model
from backbones.base import Backbone, Reducer
from suite.system.environment import cpu_name
from suite.training import state
from suite.training.batches import Batch, Batches, seed_of
from suite.training.distributed import Ranks
from suite.training.drop_path import drop_paths
from suite.training.images import TrainingImages
from suite.training.recipes import Recipe
from suite.training.state import Progress


def fingerprint(recipe: Recipe) -> str:
    """Digest of everything the recipe says, so that a state is never continued under another."""
    return hashlib.sha256(json.dumps(asdict(recipe), sort_keys=True).encode()).hexdigest()[:16]


def learning_rate(recipe: Recipe, progress: float) -> float:
    """Rate at `progress` epochs: linear warm-up, then a cosine down to the minimum."""
    if progress < recipe.warmup_epochs:
        return recipe.learning_rate * progress / recipe.warmup_epochs
    share = (progress - recipe.warmup_epochs) / max(recipe.epochs - recipe.warmup_epochs, 1e-9)
    cosine = (1 + math.cos(math.pi * min(share, 1.0))) / 2
    return recipe.minimum_rate + (recipe.learning_rate - recipe.minimum_rate) * cosine


def build_optimizer(model: Backbone, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW without decay on vectors, embeddings and the scan's A and D, as state-space models are trained."""
    kept = {
        name
        for name, p in model.named_parameters()
        if p.ndim < 2 or "A_" in name or "_token" in name
    }
    kept |= {name for name, _ in model.named_parameters() if "pos_embed" in name}
    named = list(model.named_parameters())
    groups = [
        {
            "params": [p for name, p in named if name not in kept],
            "weight_decay": recipe.weight_decay,
        },
        {"params": [p for name, p in named if name in kept], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=recipe.betas, fused=True)


def normalise(images: Tensor, dataset: TrainingImages, size: int) -> Tensor:
    """(B, 3, H, W) uint8 to the model's normalised input at `size`, area-averaged when smaller."""
    mean = torch.tensor(dataset.mean, device=images.device).view(1, 3, 1, 1)
    std = torch.tensor(dataset.std, device=images.device).view(1, 3, 1, 1)
    images = (images.float() / 255 - mean) / std
    return (
        images
        if images.shape[-1] == size
        else F.interpolate(images, size=(size, size), mode="area")
    )


def hardware(device: str, count: int) -> str:
    """The device's name, how many processes there were and torch's version, for the card."""
    name = torch.cuda.get_device_name() if device.startswith("cuda") else cpu_name()
    return f"{f'{count} x ' if count > 1 else ''}{name} (torch {torch.__version__})"


class Forward(torch.nn.Module):
    """Logits in fp32 of normalised images (B, 3, S, S) for the loss, at any size, in bf16 where `halves`."""

    def __init__(self, model: Backbone, plan: dict[int, Reducer], halves: bool) -> None:
        super().__init__()
        self.model, self.plan, self.halves = model, plan, halves

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, classes)."""
        size = images.shape[-1]
        model = self.model if size == self.model.image_size else self.model.resized(size)
        # no cache: what autocast keeps of one step is not there when a graph replays another
        with torch.autocast("cuda", torch.bfloat16, enabled=self.halves, cache_enabled=False):
            logits: Tensor = model.readout(model.run(model.embed(images), plan=self.plan)).float()
        return logits


class Trainer:
    """One recipe on one device; `run` goes on from the state in `out` until the recipe or the time is over."""

    def __init__(
        self,
        recipe: Recipe,
        dataset: TrainingImages,
        out: Path,
        device: str,
        workers: int,
        kernel: str,
        ranks: Ranks = Ranks(),  # noqa: B008 - frozen
    ) -> None:
        self.recipe, self.dataset, self.out = recipe, dataset, out
        self.device, self.workers, self.ranks = device, workers, ranks
        self.batches = Batches(dataset, recipe, ranks)
        self.dataset.render(
            np.arange(1), variant=0
        )  # compiled here once, inherited by the worker processes
        torch.manual_seed(recipe.seed)
        torch.set_float32_matmul_precision("high")  # TF32 on CUDA; evaluation never uses it
        self.model = create_model(recipe.backbone, kernel=kernel).to(device).train()
        self.ema = {
            name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()
        }
        self.optimizer = build_optimizer(self.model, recipe)
        self._halves = recipe.precision == "bf16" and device.startswith("cuda")
        self._plan = drop_paths(recipe.drop_path, self.model.depth)
        self._forwards: dict[int, torch.nn.Module] = {}
        self.mix = recipe.augmentation.of_batch(self.model.describe().classes)
        self.done = Progress(recipe.backbone, fingerprint(recipe))
        if self.state_path.exists():
            self.done = state.load(self.state_path, self.model, self.ema, self.optimizer, self.done)

    @property
    def state_path(self) -> Path:
        """Where the resumable state lives."""
        return self.out / "state.safetensors"

    def run(
        self, report: Callable[[dict[str, float]], None], max_seconds: float = math.inf
    ) -> bool:
        """Train epoch after epoch, saving after each; True when the recipe is finished.

        Stops early after the epoch that passes `max_seconds`.
        """
        if self.done.epoch >= self.recipe.epochs:
            return True  # no worker begins for nothing
        begun, before = time.perf_counter(), self.done.seconds
        self.done.hardware = hardware(self.device, self.ranks.count)
        batches = self._batches()
        while self.done.epoch < self.recipe.epochs:
            started = time.perf_counter()
            figures = self._epoch(batches)
            self.done.epoch += 1
            self.done.seconds = before + time.perf_counter() - begun
            if self.ranks.first:
                state.save(self.state_path, self.model, self.ema, self.optimizer, self.done)
                report(
                    {"epoch": self.done.epoch, **figures, "seconds": time.perf_counter() - started}
                )
            if self.ranks.agreed(time.perf_counter() - begun) > max_seconds:
                break
        return self.done.epoch >= self.recipe.epochs

    def _batches(self) -> Iterator[Batch]:
        """All batches to come, made by the same workers from the first epoch to the last."""
        return iter(
            DataLoader(
                self.batches,
                sampler=self.batches.places(self.done.epoch),
                batch_size=None,
                num_workers=self.workers,
                pin_memory=self.device.startswith("cuda"),
                prefetch_factor=4 if self.workers else None,
            )
        )

    def _epoch(self, batches: Iterator[Batch]) -> dict[str, float]:
        size = self.recipe.phase_of(self.done.epoch).image_size
        steps = self.batches.per_epoch
        total = torch.zeros(2, device=self.device)
        self._forward(size)
        torch.manual_seed(
            seed_of(self.recipe.seed, self.done.epoch)
        )  # whatever is drawn is drawn again on resuming
        for index in range(steps):
            images, labels = next(batches)
            rate = learning_rate(self.recipe, self.done.epoch + index / steps)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            images = normalise(images.to(self.device, non_blocking=True), self.dataset, size)
            labels = labels.to(self.device, non_blocking=True)
            total += self._step(images, labels)
        self.ranks.average([total])
        loss, hits = (total / steps).tolist()
        return {"loss": loss, "top1": hits}

    def _forward(self, size: int) -> torch.nn.Module:
        """The model at one image size; on CUDA forward and backward are a graph each: the host is slower."""
        if size not in self._forwards:
            self._forwards[size] = Forward(self.model, self._plan, self._halves)
            if self.device.startswith("cuda"):
                images = torch.zeros(
                    self.recipe.batch // self.ranks.count, 3, size, size, device=self.device
                )
                torch.cuda.make_graphed_callables(
                    self._forwards[size], (images,), allow_unused_input=True
                )  # in place
        return self._forwards[size]

    def _step(self, images: Tensor, labels: Tensor) -> Tensor:
        images, targets = self.mix(images, labels)
        logits = self._forward(images.shape[-1])(images)
        loss = F.cross_entropy(logits, targets, label_smoothing=self.recipe.label_smoothing)
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self.ranks.average([p.grad for p in self.model.parameters() if p.grad is not None])
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip_norm)
        self.optimizer.step()
        self.done.step += 1
        decay = min(self.recipe.ema_decay, (1 + self.done.step) / (10 + self.done.step))
        current = list(self.model.state_dict().values())
        torch._foreach_lerp_(list(self.ema.values()), current, 1 - decay)
        return torch.stack([loss.detach(), (logits.argmax(1) == labels).float().mean()])

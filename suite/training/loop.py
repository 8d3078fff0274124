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
from torch.utils.data import Dataset as TorchDataset

from backbones import create_model
from backbones.base import Backbone
from suite.environment import cpu_name
from suite.training import state
from suite.training.drop_path import drop_paths
from suite.training.images import TrainingImages
from suite.training.recipes import Recipe
from suite.training.state import Progress

Batch = tuple[Tensor, Tensor]


class EpochBatches(TorchDataset[Batch]):
    """Whole batches of one epoch: a new variant of every training image, in an order drawn from seed and epoch."""

    def __init__(self, dataset: TrainingImages, recipe: Recipe, epoch: int, limit: int | None) -> None:
        self.dataset = dataset
        self.recipe = recipe
        self.epoch = epoch
        order = np.random.default_rng([recipe.seed, epoch]).permutation(len(dataset.labels))
        batches = len(order) // recipe.batch if limit is None else limit
        self.order = order[: batches * recipe.batch].reshape(batches, recipe.batch)

    def __len__(self) -> int:
        """Batches in the epoch."""
        return len(self.order)

    def __getitem__(self, index: int) -> Batch:
        """Images (B, 3, H, W) uint8 and labels (B,)."""
        chosen = self.order[index]
        images = self.dataset.render(chosen, variant=self.epoch + 1)
        if self.recipe.horizontal_flip:
            flip = np.random.default_rng([self.recipe.seed, self.epoch, index]).random(len(chosen)) < 0.5
            images[flip] = images[flip][:, :, ::-1]
        batch = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
        alter = self.recipe.augmentation.of_image(batch.shape[-1])
        if alter is not None:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed_of(self.recipe.seed, self.epoch, index))
                batch = torch.stack([alter(image) for image in batch])
        return batch, torch.from_numpy(self.dataset.labels[chosen])


def seed_of(*numbers: int) -> int:
    """A seed for torch's generator from several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


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
    kept = {name for name, p in model.named_parameters() if p.ndim < 2 or "A_" in name or "_token" in name}
    kept |= {name for name, _ in model.named_parameters() if "pos_embed" in name}
    named = list(model.named_parameters())
    groups = [
        {"params": [p for name, p in named if name not in kept], "weight_decay": recipe.weight_decay},
        {"params": [p for name, p in named if name in kept], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=recipe.betas, fused=True)


def normalise(images: Tensor, dataset: TrainingImages, size: int) -> Tensor:
    """(B, 3, H, W) uint8 to the model's normalised input at `size`, area-averaged when smaller."""
    mean = torch.tensor(dataset.mean, device=images.device).view(1, 3, 1, 1)
    std = torch.tensor(dataset.std, device=images.device).view(1, 3, 1, 1)
    images = (images.float() / 255 - mean) / std
    return images if images.shape[-1] == size else F.interpolate(images, size=(size, size), mode="area")


def hardware(device: str) -> str:
    """The device's name and torch's version, for the card."""
    name = torch.cuda.get_device_name() if device.startswith("cuda") else cpu_name()
    return f"{name} (torch {torch.__version__})"


class Trainer:
    """One recipe on one device; `run` goes on from the state in `out` until the recipe or the time is over."""

    def __init__(
        self, recipe: Recipe, dataset: TrainingImages, out: Path, device: str, workers: int, kernel: str
    ) -> None:
        self.recipe, self.dataset, self.out = recipe, dataset, out
        self.device, self.workers = device, workers
        self.dataset.render(np.arange(1), variant=0)  # compiled here once, inherited by the worker processes
        torch.manual_seed(recipe.seed)
        torch.set_float32_matmul_precision("high")  # TF32 on CUDA; evaluation never uses it
        self.model = create_model(recipe.backbone, kernel=kernel).to(device).train()
        self.ema = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}
        self.optimizer = build_optimizer(self.model, recipe)
        self._halves = recipe.precision == "bf16" and device.startswith("cuda")
        self.plan = drop_paths(recipe.drop_path, self.model.depth)
        self.mix = recipe.augmentation.of_batch(self.model.describe().classes)
        self.done = Progress(recipe.backbone, fingerprint(recipe))
        if self.state_path.exists():
            self.done = state.load(self.state_path, self.model, self.ema, self.optimizer, self.done)

    @property
    def state_path(self) -> Path:
        """Where the resumable state lives."""
        return self.out / "state.safetensors"

    def run(
        self, report: Callable[[dict[str, float]], None], max_seconds: float = math.inf, limit: int | None = None
    ) -> bool:
        """Train epoch after epoch, saving after each; True when the recipe is finished.

        Stops early after the epoch that passes `max_seconds`; `limit` cuts every epoch to that many batches.
        """
        begun, before = time.perf_counter(), self.done.seconds
        if self.done.epoch < self.recipe.epochs:
            self.done.hardware = hardware(self.device)
        while self.done.epoch < self.recipe.epochs:
            started = time.perf_counter()
            figures = self._epoch(limit)
            self.done.epoch += 1
            self.done.seconds = before + time.perf_counter() - begun
            state.save(self.state_path, self.model, self.ema, self.optimizer, self.done)
            report({"epoch": self.done.epoch, **figures, "seconds": time.perf_counter() - started})
            if time.perf_counter() - begun > max_seconds:
                break
        return self.done.epoch >= self.recipe.epochs

    def _batches(self, limit: int | None) -> Iterator[Batch]:
        batches = EpochBatches(self.dataset, self.recipe, self.done.epoch, limit)
        pin = self.device.startswith("cuda")
        ahead = 4 if self.workers else None
        return iter(
            DataLoader(batches, batch_size=None, num_workers=self.workers, pin_memory=pin, prefetch_factor=ahead)
        )

    def _epoch(self, limit: int | None) -> dict[str, float]:
        size = self.recipe.phase_of(self.done.epoch).image_size
        batches = len(self.dataset.labels) // self.recipe.batch if limit is None else limit
        total = torch.zeros(2, device=self.device)
        torch.manual_seed(seed_of(self.recipe.seed, self.done.epoch))  # whatever is drawn is drawn again on resuming
        for index, (images, labels) in enumerate(self._batches(limit)):
            rate = learning_rate(self.recipe, self.done.epoch + index / batches)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            images = normalise(images.to(self.device, non_blocking=True), self.dataset, size)
            labels = labels.to(self.device, non_blocking=True)
            total += self._step(images, labels)
        loss, hits = (total / batches).tolist()
        return {"loss": loss, "top1": hits}

    def autocast(self) -> torch.autocast:
        """The recipe's precision on CUDA; CPUs compute in fp32."""
        return torch.autocast("cuda", torch.bfloat16, enabled=self._halves)

    def _step(self, images: Tensor, labels: Tensor) -> Tensor:
        size = images.shape[-1]
        model = self.model if size == self.model.image_size else self.model.resized(size)
        images, targets = self.mix(images, labels)
        with self.autocast():
            logits = model.readout(model.run(model.embed(images), plan=self.plan)).float()
        loss = F.cross_entropy(logits, targets, label_smoothing=self.recipe.label_smoothing)
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip_norm)
        self.optimizer.step()
        self.done.step += 1
        decay = min(self.recipe.ema_decay, (1 + self.done.step) / (10 + self.done.step))
        current = list(self.model.state_dict().values())
        torch._foreach_lerp_(list(self.ema.values()), current, 1 - decay)
        return torch.stack([loss.detach(), (logits.argmax(1) == labels).float().mean()])

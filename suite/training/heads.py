"""Train a segmenter's head on its frozen body: features are computed once and kept in memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional
from torch.optim import AdamW

from backbones import create_model
from backbones.checkpoints.body import record_of
from backbones.checkpoints.source import locate
from backbones.dense.heads import normed, resized
from backbones.dense.segmenter import Segmenter
from suite.data.base import IGNORED, Dataset, IntArray
from suite.data.images.clutter import FashionClutter, open_garments
from suite.stats.confusion import matrix_miou, pixel_accuracy
from suite.system.atomic_files import replacing, write_text
from suite.training.export import recipe_table
from suite.training.loop import hardware, learning_rate
from suite.training.recipes import HeadRecipe

AT_ONCE = 64  # images in a forward pass of the body
VARIANT = 1  # of the training images; 0 is the data set as it is evaluated

Report = Callable[[dict[str, float]], None]


@dataclass(frozen=True)
class Features:
    """What a head learns from.

    ``maps``   features (N, H, W, C) of each level
    ``truth``  classes (N, S, S) uint8 of the pixels
    """

    maps: list[Tensor]
    truth: Tensor


@dataclass(frozen=True)
class Score:
    """Mean IoU and pixel accuracy over `images`, fractions."""

    miou: float
    accuracy: float
    images: int


@dataclass(frozen=True)
class Trained:
    """A segmenter whose head is trained, and the processor time that it took."""

    model: Segmenter
    steps: int
    seconds: float
    hardware: str


def segmentation_images(split: str, source: str | None, variant: int = 0) -> FashionClutter:
    """`fashion-clutter` with classes of pixels; `source` is a folder of the originals."""
    return FashionClutter(open_garments(split, source or "full"), variant, task="segmentation")


def on_bundled_body(recipe: HeadRecipe, kernel: str = "auto") -> Segmenter:
    """The recipe's segmenter with a new head, drawn by its seed, on the body's bundled weights."""
    torch.manual_seed(recipe.seed)
    model = create_model(recipe.backbone, kernel=kernel)
    assert isinstance(model, Segmenter)
    body = create_model(model.backbone.name, "bundled")
    own = model.backbone.state_dict()
    model.backbone.load_state_dict({name: body.state_dict()[name] for name in own})
    return model


def batches_of(
    dataset: Dataset, indices: IntArray, image_size: int, device: str
) -> Iterator[tuple[Tensor, Tensor]]:
    """Normalised images (B, 3, S, S) and the classes (B, S, S) of their pixels."""
    for start in range(0, len(indices), AT_ONCE):
        some = indices[start : start + AT_ONCE]
        images = torch.from_numpy(dataset.samples(some, image_size)).to(device)
        yield images, torch.from_numpy(dataset.truths(some, image_size)).to(device)


def features_of(model: Segmenter, dataset: Dataset, count: int, device: str) -> Features:
    """The features of the first `count` images of `dataset`, as the body leaves them."""
    maps: list[list[Tensor]] = [[] for _ in model.levels]
    truths = []
    with torch.inference_mode():
        for images, truth in batches_of(dataset, np.arange(count), model.image_size, device):
            raw = model.maps(model.run(model.embed(images)), normalised=False)
            for of_level, features in zip(maps, raw, strict=True):
                of_level.append(features.permute(0, 2, 3, 1).contiguous())
            truths.append(truth)
    # Copies, which unlike tensors of inference may have gradients.
    return Features([torch.cat(parts).clone() for parts in maps], torch.cat(truths).clone())


def train_head(model: Segmenter, features: Features, recipe: HeadRecipe, report: Report) -> None:
    """Train the head of `model` on `features`; `report` receives the figures of each epoch."""
    head = model.decode_head.train()
    optimizer = AdamW(head.parameters(), weight_decay=recipe.weight_decay, betas=recipe.betas)
    count = len(features.truth)
    steps = count // recipe.batch
    for epoch in range(recipe.epochs):
        # Of numpy, whose stream is the same on every device.
        order = np.random.default_rng([recipe.seed, epoch]).permutation(count)
        total, started = 0.0, time.perf_counter()
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(recipe, epoch + step / steps)
            rows = torch.from_numpy(order[step * recipe.batch : (step + 1) * recipe.batch])
            loss = pixel_loss(model, features, rows.to(features.truth.device))
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            optimizer.step()
            total += float(loss.detach())
        seconds = time.perf_counter() - started
        report({"epoch": epoch + 1, "loss": total / steps, "seconds": seconds})
    head.eval()


def pixel_loss(model: Segmenter, features: Features, rows: Tensor) -> Tensor:
    """Cross-entropy, nats, mean over the pixels of the images at `rows`."""
    maps = []
    for norm, of_level in zip(model.decode_head.norms, features.maps, strict=True):
        maps.append(normed(norm, of_level[rows]).permute(0, 3, 1, 2))
    truth = features.truth[rows]
    logits = resized(model.decode_head(maps), truth.shape[1:])
    return functional.cross_entropy(logits, truth.long(), ignore_index=IGNORED)


def score(model: Segmenter, dataset: Dataset, device: str) -> Score:
    """What the model keeps of all images of `dataset`, without a reduction."""
    classes = model.decode_head.classes
    matrix = np.zeros((classes, classes), np.int64)
    indices = np.arange(len(dataset))
    with torch.inference_mode():
        for images, truth in batches_of(dataset, indices, model.image_size, device):
            matrix += confusion(model(images), truth)
    return Score(matrix_miou(matrix), pixel_accuracy(matrix), len(indices))


def confusion(logits: Tensor, truth: Tensor) -> NDArray[np.int64]:
    """Pixels (K, K) by true and predicted class, of logits (B, K, h, w) at the truth's pixels."""
    classes = logits.shape[1]
    predicted = resized(logits, truth.shape[1:]).argmax(1)
    counts = truth != IGNORED
    codes = truth.long()[counts] * classes + predicted[counts]
    pairs = torch.bincount(codes, minlength=classes**2).cpu().numpy()
    return pairs.reshape(classes, classes)


def train_recipe(
    recipe: HeadRecipe, source: str | None, device: str, kernel: str, report: Report
) -> Trained:
    """Train by `recipe` on the train split of the originals in the folder `source`."""
    model = on_bundled_body(recipe, kernel).to(device)
    # of this process, since a head is trained beside other work
    started = time.process_time()
    dataset = segmentation_images("train", source, VARIANT)
    features = features_of(model, dataset, recipe.images, device)
    train_head(model, features, recipe, report)
    steps = recipe.epochs * (recipe.images // recipe.batch)
    return Trained(model, steps, time.process_time() - started, hardware(device, 1))


def write_head(path: Path, model: Segmenter) -> None:
    """Write the head's weights alone; the file names the body by the hash of its weights."""
    tensors = {}
    for name, value in model.decode_head.state_dict().items():
        tensors[f"decode_head.{name}"] = value.detach().to("cpu", torch.float32).contiguous()
    body = model.backbone.name
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata=record_of(body, locate("bundled", body)))


def write_head_card(
    path: Path, recipe: HeadRecipe, trained: Trained, scores: dict[str, Score], command: str
) -> None:
    """Write origin, recipe and figures of a head that `command` trains; `scores` by split."""
    model = trained.model
    rows = []
    for split, found in scores.items():
        shares = f"{100 * found.miou:.2f} % | {100 * found.accuracy:.2f} %"
        rows.append(f"| {split} | {found.images:,} | {shares} |")
    table = "\n".join(rows)
    parameters = sum(parameter.numel() for parameter in model.decode_head.parameters())
    levels = " and ".join(str(level) for level in model.levels)
    write_text(
        path,
        f"""# {recipe.backbone}

Trained on `{recipe.dataset}` by `{command}`: a head for
segmentation on the bundled weights of `{model.backbone.name}`, which stay as they are and are
not in the file. {recipe.epochs} epochs, {trained.steps:,} steps; features and training took
{trained.seconds / 60:.1f} minutes of processor time on {trained.hardware}.
Parameters of the head: {parameters:,}; it reads the tokens after block {levels} of {model.depth}.

| split | images | mIoU | pixel accuracy |
|---|---|---|---|
{table}

Classes: the background, and the ten garments. The garment that gives an image its label is the
object; the four fragments of other garments beside it are background.
Choices were made on `dev`; `test` was read once, for this card.
Seed {recipe.seed}. Made to compare token reduction methods, not to segment images.

{recipe_table(recipe)}
""",
    )

"""The recipes of the bundled weights: everything that determines a training run."""

from __future__ import annotations

from dataclasses import dataclass, replace

from backbones.common.errors import UserError
from backbones.common.registry import nearest
from backbones.models.sizes import SEGMENTERS
from suite.training.augment import NONE, Augmentation


@dataclass(frozen=True)
class Phase:
    """`epochs` passes over the training sources at one image size."""

    image_size: int
    epochs: int


@dataclass(frozen=True)
class Recipe:
    """One training run under a cosine schedule with warm-up, weights averaged.

    Phases run coarse to fine: the same weights on smaller images first, with interpolated position
    embeddings, under one schedule. Every epoch draws a new variant of each training image.

    ``optimizer``  ``adamw``, or ``muon``: Muon (Jordan et al. 2024) for the projections into and
                   out of mixers, AdamW for all else
    ``drop_path``  probability of dropping a block's branch, rising linearly to this at the last
    ``precision``  ``fp32``, or ``bf16``: autocast on CUDA, while the weights stay fp32
    ``stored``     precision of the finished weights: ``fp32`` or ``fp16``
    """

    backbone: str
    dataset: str
    phases: tuple[Phase, ...]
    batch: int = 256
    optimizer: str = "adamw"
    learning_rate: float = 2e-3
    minimum_rate: float = 1e-5
    warmup_epochs: float = 2.0
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.98)
    clip_norm: float = 1.0
    label_smoothing: float = 0.0
    ema_decay: float = 0.9995
    horizontal_flip: bool = False
    augmentation: Augmentation = NONE
    drop_path: float = 0.0
    precision: str = "fp32"
    stored: str = "fp32"
    seed: int = 0

    @property
    def epochs(self) -> int:
        """Passes over the training sources in all phases."""
        return sum(phase.epochs for phase in self.phases)

    def phase_of(self, epoch: int) -> Phase:
        """The phase of epoch number `epoch`, from 0; IndexError beyond the last."""
        for phase in self.phases:
            if epoch < phase.epochs:
                return phase
            epoch -= phase.epochs
        raise IndexError(f"epoch lies beyond the recipe's {self.epochs}")


@dataclass(frozen=True)
class HeadRecipe:
    """The training of a segmenter's head on its body, whose bundled weights stay as they are.

    The features of `images` training images, drawn once, are computed once and kept. AdamW
    minimises the cross-entropy of all pixels, under a cosine schedule.
    """

    backbone: str
    dataset: str = "fashion-clutter"
    images: int = 8000
    epochs: int = 10
    batch: int = 32
    learning_rate: float = 5e-3
    minimum_rate: float = 1e-5
    warmup_epochs: float = 0.5
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.98)
    seed: int = 0


_NANO = Recipe(
    backbone="vim_nano",
    dataset="fashion-clutter",
    phases=(Phase(28, 30), Phase(56, 90)),
    batch=512,
    learning_rate=3e-3,
)

# Tiny-ImageNet from scratch, for a quarter of an hour on two GPUs. Coarse phases first, since an
# epoch costs in proportion to its tokens: 65, 145, then 257. Augmented much as DeiT is (arXiv
# 2012.12877, table 9), but for milder crops and a fifth of the batches left unmixed: a milder
# augmentation had ended in overfitting after 41 epochs.
_TINY_64 = Recipe(
    backbone="vim_tiny_64",
    dataset="tiny-imagenet",
    phases=(Phase(32, 44), Phase(48, 26), Phase(64, 14)),
    batch=512,
    learning_rate=1.5e-3,
    warmup_epochs=5.0,
    label_smoothing=0.1,
    ema_decay=0.999,
    horizontal_flip=True,
    augmentation=Augmentation(
        smallest_crop=0.35, operations=2, erasing=0.25, mixup=0.8, cutmix=1.0, mixed=0.8
    ),
    drop_path=0.1,
    precision="bf16",
    stored="fp16",
)

# For a CPU: a quarter of the classes, a small model, and patches of 8.
_NANO_64 = Recipe(
    backbone="vim_nano_64",
    dataset="tiny-imagenet-50",
    phases=(Phase(32, 10), Phase(64, 10)),
    batch=128,
    learning_rate=3e-3,
    warmup_epochs=1.0,
    ema_decay=0.998,
    horizontal_flip=True,
    augmentation=Augmentation(smallest_crop=0.5),
)

RECIPES: dict[str, Recipe | HeadRecipe] = {
    "vim_nano": _NANO,
    "vim_pico": replace(_NANO, backbone="vim_pico"),  # a smaller model, all else equal
    # Fewer epochs than vim_nano, for one point of `dev` accuracy, as its card says.
    "videomamba_nano": replace(
        _NANO, backbone="videomamba_nano", phases=(Phase(28, 20), Phase(56, 50))
    ),
    "adventurer_nano": replace(_NANO, backbone="adventurer_nano"),
    # A step costs less than half of vim_nano's, so that twice the epochs take no longer. Most of
    # its weights are in the last stages, on few tokens: half the precision keeps the file as small.
    "vmamba_nano": replace(
        _NANO, backbone="vmamba_nano", phases=(Phase(28, 60), Phase(56, 180)), stored="fp16"
    ),
    # DeiT's own optimiser settings (arXiv 2012.12877, table 9) at the same schedule and data; the
    # rate is that of a narrow model, for which DeiT's 5e-4 x batch / 512 is slow.
    "deit_nano": replace(
        _NANO,
        backbone="deit_nano",
        learning_rate=2e-3,
        warmup_epochs=5.0,
        betas=(0.9, 0.999),
        label_smoothing=0.1,
    ),
    "vim_tiny_64": _TINY_64,
    # The same augmentation, all of it at the size of evaluation. Muon had the lower loss in trials
    # (ten epochs at 32 x 32 on a quarter of the images), at equal accuracy on `dev`.
    "vim_tiny_64_full": replace(
        _TINY_64,
        backbone="vim_tiny_64_full",
        phases=(Phase(64, 56),),
        optimizer="muon",
        learning_rate=2e-3,
        warmup_epochs=3.0,
    ),
    "vim_nano_64": _NANO_64,
    # At the size of evaluation throughout, so that it does not favour methods that make an image
    # smaller. A GPU has the time for more epochs.
    "vim_nano_64_full": replace(
        _NANO_64, phases=(Phase(64, 120),), batch=256, warmup_epochs=5.0, ema_decay=0.999
    ),
}
# Rates were chosen on `dev` among two each, on vim_nano; a linear head takes larger steps.
for _name in SEGMENTERS:
    RECIPES[_name] = HeadRecipe(_name, learning_rate=1e-2 if _name.endswith("linear") else 5e-3)


def find_recipe(name: str, seed: int = 0) -> Recipe | HeadRecipe:
    """The recipe called `name`, with this `seed`; UserError with the nearest names if none is.

    Bundled weights have seed 0.
    """
    if name not in RECIPES:
        raise UserError(f"unknown recipe '{name}': {nearest(name, RECIPES)}")
    return replace(RECIPES[name], seed=seed)

"""A model and a data set that cost next to nothing, so that a run's time is the engine's."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from backbones.base import Backbone
from backbones.sequence import TokenSequence, Trace, new_sequence
from backbones.shape import Shape
from suite.data.base import Dataset, Manifest, Request

CLASSES, PATCH, GRID, DEPTH = 10, 2, 7, 24
WIDTH = 3 * PATCH**2
DRAWN = 1000  # images that are really there; a larger data set repeats them


class StubBlock(nn.Module):
    """Return the tokens as they are; the timescales are their first channel."""

    def forward(self, tokens: TokenSequence, needs: frozenset[str]) -> TokenSequence:
        """Return the same tokens, with a trace if `needs` names a field."""
        shown = Trace(delta_mean=tokens.branch[:, :, 0].expand(2, -1, -1)) if needs else None
        return replace(tokens, trace=shown)


class StubModel(Backbone):
    """A backbone of 24 blocks over 7 x 7 patches and a class token, whose blocks do nothing.

    A token is its patch's pixels and the logits are the mean token, so that predictions depend on
    which tokens are left.
    """

    provides: ClassVar[frozenset[str]] = frozenset({"delta_mean"})
    name = "stub"

    def __init__(self, image_size: int = GRID * PATCH) -> None:
        super().__init__()
        self.image_size = image_size
        self.layers = nn.ModuleList(StubBlock() for _ in range(DEPTH))

    @property
    def blocks(self) -> nn.ModuleList:
        """The blocks in order."""
        return self.layers

    @property
    def special_places(self) -> tuple[int, ...]:
        """The class token is in the middle."""
        return ((self.image_size // PATCH) ** 2 // 2,)

    def embed(self, images: Tensor, image_index: Tensor | None = None) -> TokenSequence:
        """Pixels of each patch of (B, 3, S, S) images as tokens, and a class token of zeros."""
        grid, (middle,) = self.image_size // PATCH, self.special_places
        patches = (
            images.unflatten(3, (grid, PATCH)).unflatten(2, (grid, PATCH)).permute(0, 2, 4, 1, 3, 5)
        )
        patches = patches.reshape(len(images), grid**2, WIDTH)
        tokens = torch.cat(
            [patches[:, :middle], patches.new_zeros(len(images), 1, WIDTH), patches[:, middle:]],
            dim=1,
        )
        return new_sequence(tokens, self.special_places, (1, grid, grid), image_index)

    def readout(self, tokens: TokenSequence) -> Tensor:
        """Logits (B, classes): the mean token."""
        return tokens.branch.mean(1)[:, :CLASSES]

    def image_size_for(self, grid: int) -> int:
        """Side in pixels of the square image that has `grid` x `grid` patches."""
        return grid * PATCH

    def resized(self, image_size: int) -> StubModel:
        """The same blocks over another grid."""
        other = copy.copy(self)
        other.image_size = image_size
        return other

    def describe(self) -> Shape:
        """The numbers from which FLOPs follow: those of a small Vim of this depth."""
        return Shape(
            name=self.name,
            depth=DEPTH,
            dim=64,
            inner=128,
            states=8,
            dt_rank=4,
            conv_kernel=4,
            directions=2,
            patch=(1, PATCH, PATCH),
            channels=3,
            patches=(self.image_size // PATCH) ** 2,
            specials=1,
            classes=CLASSES,
        )


class StubData(Dataset):
    """`length` images of noise with a tint of their class, all in memory."""

    name, split = "stub", "test"
    classes = tuple(str(number) for number in range(CLASSES))
    mean = std = (0.5, 0.5, 0.5)

    def __init__(self, length: int) -> None:
        self.labels = np.arange(length, dtype=np.int64) % CLASSES
        generator = np.random.default_rng(0)
        noise = generator.standard_normal((DRAWN, GRID, GRID, WIDTH)).astype(np.float32)
        # a tint, so that the mean token tells the classes apart better than chance
        noise[np.arange(DRAWN), :, :, np.arange(DRAWN) % CLASSES] += 0.25
        pixels = noise.reshape(DRAWN, GRID, GRID, 3, PATCH, PATCH).transpose(0, 3, 1, 4, 2, 5)
        self.drawn = np.ascontiguousarray(pixels).reshape(DRAWN, 3, GRID * PATCH, GRID * PATCH)

    def image(self, index: int) -> NDArray[np.uint8]:
        """The pixels as colours."""
        return self.pixels(self.drawn[index % DRAWN].transpose(1, 2, 0))

    def sample(self, index: int, image_size: int) -> NDArray[np.float32]:
        """One image."""
        sample: NDArray[np.float32] = self.drawn[index % DRAWN]
        return sample

    def samples(self, indices: NDArray[np.int64], image_size: int) -> NDArray[np.float32]:
        """Several images at once."""
        return self.drawn[indices % DRAWN]

    def identity(self) -> Manifest:
        """The images are always the same."""
        return {"drawn": DRAWN}


def open_stub(request: Request) -> StubData:
    """Open ``stub:COUNT``."""
    return StubData(int(request.path or DRAWN))


def create_stub(**settings: Any) -> StubModel:
    """The stub model."""
    return StubModel(**settings)

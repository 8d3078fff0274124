"""A segmenter: a head over the features of any backbone, read at several blocks.

Tokens may be reduced between blocks as in the backbone itself. At the end the features of each
level are spread over the grid again (`backbones.unreduce`), and the head reads whole maps.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, Literal, Self

import torch
from torch import Tensor, nn

from backbones.base import Backbone
from backbones.common.errors import UserError
from backbones.dense.heads import Head, normed
from backbones.dense.memory import Memory
from backbones.sequence import TokenSequence
from backbones.shape import Shape
from backbones.unreduce import on_grid, unreduce, with_last

# what names in a file of a segmenter begin with
BODY, AUXILIARY = "backbone.", "auxiliary_head."


class ReadBlock(nn.Module):
    """A block of the body between two looks of the memory: at what left, and at what it made."""

    def __init__(self, block: nn.Module, level: int, step: int) -> None:
        """`level`: blocks that have run after it; `step`: original rows that are one by then."""
        super().__init__()
        self.block = block
        self.level = level
        self.step = step

    def forward(self, tokens: TokenSequence, needs: frozenset[str] = frozenset()) -> TokenSequence:
        """Run the block on `tokens`; the trace of the result has the fields named in `needs`."""
        memory = tokens.remembering().memory
        if memory is None:
            raise UserError(
                "a reducer makes a sequence without the `memory` that segmentation needs: make it "
                "from the one before by dataclasses.replace"
            )
        after = self.block(tokens, needs)
        memory = memory.after_block(after.streams)
        if self.level in memory.levels:
            memory = memory.read(self.level, after.special, after.grid, self.step)
        # The block may make its sequence anew, too.
        return replace(after, memory=memory)


class Segmenter(Backbone):
    """A backbone, the body, whose tokens are read after some blocks, and a head over their maps.

    ``backbone`` and ``decode_head`` are the names that OpenMMLab's files give to both parts.
    UserError for a body of clips, or one that halves its map.
    """

    task: ClassVar[Literal["classification", "segmentation"]] = "segmentation"

    def __init__(
        self,
        name: str,
        body: Backbone,
        levels: Sequence[int],
        head: Head,
        branch: bool = False,
    ) -> None:
        """`levels` are numbers of blocks, after which tokens are read.

        Read is the sum of both streams, or the `branch` alone: what the block has made of them.
        """
        super().__init__()
        shape = body.describe()
        if shape.frames > 1 or shape.rectangle is None:
            raise UserError(f"{body.name} takes clips: a segmenter needs a backbone of images")
        self.name = name
        self.config = getattr(body, "config", None)
        self.image_size = body.image_size
        self.preprocessing = body.preprocessing
        # of the body, whose blocks run
        self.provides = body.provides  # type: ignore[misc]
        self.needs_rectangle = body.needs_rectangle  # type: ignore[misc]
        self.takes_rectangles = body.takes_rectangles  # type: ignore[misc]
        self.backbone = body
        self.decode_head = head
        self.levels = tuple(levels)
        self.branch = branch
        # A tuple keeps the blocks unregistered: their parameters are the body's already.
        self._blocks = tuple(
            ReadBlock(block, i + 1, 2 ** shape.stage(i)) for i, block in enumerate(body.blocks)
        )

    @property
    def blocks(self) -> tuple[ReadBlock, ...]:
        """The body's blocks in order, each with the memory's looks round it."""
        return self._blocks

    @property
    def special_places(self) -> tuple[int, ...]:
        """Those of the body."""
        return self.backbone.special_places

    def embed(self, images: Tensor, image_index: Tensor | None = None) -> TokenSequence:
        """Normalised images (B, 3, S, S) to the input of block 0, tracked, with a memory."""
        tokens = self.backbone.embed(images, image_index).tracked()
        row, levels = torch.full_like(tokens.position, -1), frozenset(self.levels)
        return replace(tokens, memory=Memory(levels, row, tokens.streams, self.branch))

    def readout(self, tokens: TokenSequence) -> Tensor:
        """Logits (B, classes, h, w) on the head's map, after the reduction is undone."""
        return self.decode_head(self.maps(tokens))

    def maps(self, tokens: TokenSequence, normalised: bool = True) -> list[Tensor]:
        """The features (B, C, H, W) of each level on the whole grid, by the head's norms or raw."""
        memory = tokens.memory
        assert memory is not None
        maps: list[Tensor] = []
        for level, own in zip(self.levels, self.decode_head.norms, strict=True):
            norm = own if normalised else nn.Identity()
            reading = memory.readings[level]
            features = normed(norm, reading.features)
            # Rows that were added after the level are not pointed at.
            last = normed(norm, memory.kept(features.shape[2])), reading.row
            # Where no token is missing the search for others would find nothing.
            fill = "zeros" if reading.whole else memory.undo
            if fill == "frozen" and self._blocks[level - 1].step > 1:
                # Of a token that left in an earlier stage nothing of this width is known.
                features, owner = with_last(features, reading.owner, *last)
                reading, fill = replace(reading, owner=owner), "nearest"
            full = unreduce(features, reading, fill, last)
            # a single frame
            maps.append(on_grid(full, reading).squeeze(1).permute(0, 3, 1, 2))
        return maps

    def image_size_for(self, grid: int) -> int:
        """Side in pixels of the square image that has `grid` x `grid` patches."""
        return self.backbone.image_size_for(grid)

    def resized(self, image_size: int) -> Self:
        """The same weights for square images of another size, by the body's own way."""
        other = copy.copy(self)
        # A shallow copy shares the table of modules.
        other._modules = dict(self._modules)
        other.backbone = self.backbone.resized(image_size)
        other.config = getattr(other.backbone, "config", None)
        other.image_size = image_size
        return other

    @property
    def patch_grid(self) -> tuple[int, int]:
        """Rows and columns of the body's patches."""
        return self.backbone.patch_grid

    def on_rectangle(self, height: int, width: int) -> Self:
        """The same weights for images of `height` x `width` pixels, if the body takes them."""
        self.check_rectangles()
        other = copy.copy(self)
        other._modules = dict(self._modules)
        other.backbone = self.backbone.on_rectangle(height, width)
        other.picture = height, width
        return other

    def fitted(
        self, state: Mapping[str, Tensor], changed: frozenset[str]
    ) -> tuple[dict[str, Tensor], list[str]]:
        """Adapt published weights: the body its own, positions to any size of the image.

        Heads are published for another size than the body's own weights, whose positions are
        resampled whenever the model runs. What is there for training alone is left out.
        """
        of_body: dict[str, Tensor] = {}
        adapted: dict[str, Tensor] = {}
        for name, tensor in state.items():
            if name.startswith(BODY):
                of_body[name.removeprefix(BODY)] = tensor
            elif not name.startswith(AUXILIARY):
                adapted[name] = tensor
        fitted, notes = self.backbone.fitted(of_body, changed | {"image_size"})
        if len(adapted) + len(of_body) < len(state):
            notes.append("the auxiliary head, for training alone, is left out")
        return adapted | {f"{BODY}{name}": tensor for name, tensor in fitted.items()}, notes

    def describe(self) -> Shape:
        """The body's sizes, with the work of the head in place of its own classifier's."""
        shape = self.backbone.describe()
        sides = [shape.rectangles[level - 1] for level in self.levels]
        work = self.decode_head.work(sides)
        # the sum of both streams 1 a channel, LayerNorm 7
        of_value = 0 if self.branch else 8
        reading = 0
        for level, (rows, columns) in zip(self.levels, sides, strict=True):
            reading += of_value * rows * columns * shape.width(level - 1)
        work = work._replace(elementwise=work.elementwise + reading)
        return replace(shape, name=self.name, classes=self.decode_head.classes, readout=work)


def spaced_levels(depth: int, count: int) -> tuple[int, ...]:
    """`count` numbers of blocks, evenly spaced up to `depth`, the last of them."""
    return tuple(-(-depth * (number + 1) // count) for number in range(count))

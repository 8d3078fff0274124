"""What became of every patch of some images, and a picture of it."""

from __future__ import annotations

import io
import math
import textwrap
from dataclasses import dataclass, field

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from backbones.base import Backbone
from backbones.preprocessing import Preprocessing
from backbones.sequence import TokenSequence
from backbones.unreduce import on_grid
from reports.token_overlay import Pixels, overlay
from suite.analysis.gallery import IN_SPECIAL, answers, patch_owners, side_by_side

ACROSS = 8  # images side by side in a picture
INCHES = 1.3  # of an image
LETTERS = 16  # of a caption in an inch
WORDS = "clear: kept; one colour with a pale line round it: merged into one token; dark: dropped"
WHITE = "; white: in a special token"
CELL = 16  # pixels of a token


class Picture(Figure):
    """A matplotlib figure that a notebook shows, without pyplot's global state."""

    def _repr_png_(self) -> bytes:
        """The figure as a PNG file, which IPython asks for."""
        buffer = io.BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()


@dataclass(frozen=True, eq=False)
class TokenTrace:
    """What became of every patch of B images, after the last block; made by `Reduced.trace`.

    H x W is the grid of patches; of clips of T frames all but the logits are (B, T, H, W).

    ``logits``   (B, classes)
    ``kept``     (B, H, W) bool: whether a token still stands for this place
    ``owner``    (B, H, W) int64: the patch that this one lives in now, numbered row by row, frame
                 by frame; itself if it is kept, -1 if it was dropped, -2 in a special token
    ``size``     (B, H, W) float32: patches merged into the token at this place, 0 where none is
    ``lengths``  tokens that enter each block, special ones included
    """

    logits: Tensor
    kept: Tensor
    owner: Tensor
    size: Tensor
    lengths: tuple[int, ...]
    _images: Tensor = field(repr=False)
    _preprocessing: Preprocessing = field(repr=False)

    def __repr__(self) -> str:
        """How many tokens are left of how many patches, in one line."""
        images, *grid = self.kept.shape
        kept = int(self.kept[:1].sum())
        return f"TokenTrace({images} images: {kept} of {math.prod(grid)} patches kept in each)"

    def show(self, images: Tensor | None = None) -> Picture:
        """Draw each image above its tokens: dropped ones dark, merged ones in their mean colour.

        White tokens live in a special one. A line below says so, and one above each image the
        number of the class that the model chose, with its probability, unless it names pixels.
        `images` (B, 3, H, W) are others to draw on, in 0..1; by default those that the model saw.
        The figure is matplotlib's: notebooks show it, ``savefig`` writes it.
        """
        pictures = self._pictures(images)
        grid = self.owner.shape[1:] if self.owner.ndim == 4 else (1, *self.owner.shape[1:])
        frames, height, width = grid
        owners = side_by_side(self.owner.flatten(1).cpu(), (frames, height, width)).numpy()
        classes, shares = answers(self.logits.detach())
        across = max(1, min(ACROSS, len(pictures)))
        rows = 2 * -(-len(pictures) // across)
        wide = INCHES * frames * width / height
        figure = Picture(
            figsize=(wide * across, (INCHES + 0.1) * rows + 0.3), layout="constrained", dpi=150
        )
        FigureCanvasAgg(figure)
        panels = figure.subplots(rows, across, squeeze=False)
        for axes in panels.flat:
            axes.set_axis_off()
        for index, pixels in enumerate(pictures):
            row, column = divmod(index, across)
            if classes[index] >= 0:  # of pixels there is none
                title = f"class {int(classes[index])}, {100 * float(shares[index]):.0f} %"
                panels[2 * row, column].set_title(title, fontsize=7, pad=3)
            drawn = overlay(pixels, owners[index], (height, frames * width), CELL)
            for axes, shown in zip(panels[2 * row :, column], (pixels, drawn), strict=False):
                axes.imshow(shown, interpolation="nearest")
        words = WORDS + (WHITE if (owners == IN_SPECIAL).any() else "")
        words = textwrap.fill(words, int(LETTERS * wide * across))
        figure.supxlabel(words, fontsize=7)
        return figure

    def _pictures(self, images: Tensor | None) -> list[Pixels]:
        """The pixels (H, W, 3) of each image; the frames of a clip are side by side."""
        if images is None:
            shape = (3, *[1] * (self._images.ndim - 2))
            mean, std = (
                torch.tensor(values).view(shape)
                for values in (self._preprocessing.mean, self._preprocessing.std)
            )
            images = self._images.detach().cpu().float() * std + mean
        pixels = (255 * images.detach().cpu().float().clamp(0, 1)).round().byte()
        if pixels.ndim == 5:  # (B, 3, T, H, W)
            pixels = pixels.transpose(2, 3).flatten(3)
        return [np.ascontiguousarray(image) for image in pixels.permute(0, 2, 3, 1).numpy()]


def traced(
    model: Backbone,
    images: Tensor,
    final: TokenSequence,
    logits: Tensor,
    lengths: tuple[int, ...],
) -> TokenTrace:
    """The trace of `images`, whose tokens are `final` after the last block and were tracked."""
    owner = patch_owners(final)
    patches = torch.arange(owner.shape[1], device=owner.device)
    slots = final.size.new_zeros(final.batch, final.original_length)
    size = on_grid(slots.scatter(1, final.position, final.size)[:, :, None], final)[..., 0]

    def shaped(values: Tensor) -> Tensor:
        values = values.unflatten(1, final.grid) if values.ndim == 2 else values
        return values.squeeze(1) if final.grid[0] == 1 else values

    return TokenTrace(
        logits=logits,
        kept=shaped(owner == patches),
        owner=shaped(owner),
        size=shaped(size),
        lengths=lengths,
        _images=images,
        _preprocessing=model.preprocessing,
    )

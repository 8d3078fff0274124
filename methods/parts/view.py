"""A view: the window of an image that tokens are made of, and how much it is shrunk.

A view makes N patches of each frame, of the n of the whole image of S pixels with patches of p. It
is shrunk by f = (N / n)^(zoom / 2) a side, to a grid of G = ceil(sqrt N) columns and N / G rows,
the last of which may be cut: the window is min(S, G p / f) pixels wide and min(S, (N / G) p / f)
high. It stands where the detail in it is largest: what halving the image by means of 2 x 2 pixels
loses, which is their variance. A square from its top, as wide as it is, becomes an image of G x G
patches, of which the first N become tokens.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from math import isqrt, sqrt
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from backbones.sequence import TokenSequence
from methods.parts.assemble import taken
from methods.parts.counter_random import uniform

PLACES = ("detail", "centre", "random")
STEPS = 2  # places of the window on the side of a patch
# Of a pixel's colour: its square and that in a sum, its share of a mean and of the mean's square.
OPERATIONS = 4


@dataclass(frozen=True)
class View:
    """How a view is chosen, and its size.

    ``zoom``     share of the saving, in logarithms, that shrinking takes; cropping takes the rest
    ``where``    where the window stands: at most detail, in the centre, or at random
    ``patches``  patch tokens made of each frame, 0 where no budget is solved yet; ``whole`` patches
                 on a side of the whole image, likewise
    ``seed``     of the random places
    """

    zoom: float
    where: str
    patches: int = 0
    whole: int = 0
    seed: int = 0

    @property
    def stochastic(self) -> bool:
        """Whether the seed makes a difference."""
        return self.where == "random"

    @property
    def chooses(self) -> bool:
        """Whether the image decides on the window."""
        return self.where == "detail"

    @property
    def blind(self) -> bool:
        """Whether the window is settled before the image is seen."""
        return not self.chooses

    @property
    def grid(self) -> int:
        """Patches on a side of the square image that the tokens are made of."""
        # ceil(sqrt N) in whole numbers, so that no rounding lifts a square.
        return isqrt(self.patches - 1) + 1

    def canonical(self) -> dict[str, Any]:
        """All that tells it from others, without a seed that makes no difference."""
        return asdict(self if self.stochastic else replace(self, seed=0))

    def cost(self, side: int, channels: int, frames: int) -> int:
        """Operations of finding the window in an image, or clip, of `side` pixels."""
        return OPERATIONS * channels * frames * side * side if self.chooses else 0

    def window(self, side: int) -> tuple[float, float]:
        """Height and width, in pixels, of the window of an image of `side` pixels."""
        shrunk = (sqrt(self.patches) / self.whole) ** self.zoom
        patch = side / self.whole / shrunk
        return min(side, self.patches / self.grid * patch), min(side, self.grid * patch)


def detail(images: Tensor, cells: int) -> Tensor:
    """What halving loses in each of `cells` x `cells` cells (B, cells, cells).

    `images` (B, 3, S, S), or clips (B, 3, T, S, S), whose frames are averaged.
    """
    if images.ndim == 5:
        batch = len(images)
        frames = detail(images.transpose(1, 2).flatten(0, 1), cells)
        return frames.unflatten(0, (batch, -1)).mean(1)
    # The difference of two energies would be rounding error in half precision.
    pixels = images.float()
    # An odd last row or column has no partner.
    side = pixels.shape[-1] // 2 * 2
    pixels = pixels[..., :side, :side]
    # Rows first: sums of whole rows are fast, and leave half for the others.
    pairs = pixels[..., ::2, :] + pixels[..., 1::2, :]
    means = (pairs[..., ::2] + pairs[..., 1::2]) / 4
    # The variance within 2 x 2 pixels, summed over a cell, is the energy less that of the means.
    energies = []
    for values in (pixels, means):
        energies.append(F.adaptive_avg_pool2d((values * values).mean(1, keepdim=True), cells))
    return (energies[0] - energies[1]).squeeze(1)


def corners(images: Tensor, index: Tensor, view: View) -> Tensor:
    """The top and left pixel (B, 2) of the window in each image (B, 3, S, S), or clip.

    `index` (B,) are the numbers of the images.
    """
    batch, side = len(images), images.shape[-1]
    window = view.window(side)
    room = torch.tensor([side - round(length) for length in window], device=images.device)
    if view.where == "centre":
        return (room // 2).expand(batch, 2)
    if view.where == "random":
        axes = torch.arange(2, device=images.device).expand(batch, 2)
        # By the image's number, so that neither batch nor order changes a draw.
        drawn = uniform(view.seed, index.to(images.device), 0, axes)
        # The last place counts like the others; a product rounded up would overshoot.
        return (drawn * (room + 1)).long().minimum(room)
    cells = STEPS * view.whole
    cell = side / cells
    spans = [min(cells, max(1, round(length / cell))) for length in window]
    inside = F.avg_pool2d(detail(images, cells)[:, None], spans, stride=1).squeeze(1)
    best = inside.flatten(1).argmax(1)
    # From the middle of the best cells, since a window need not be a whole number of them.
    middles = []
    for place, span, length in zip(
        (best // inside.shape[2], best % inside.shape[2]), spans, window, strict=True
    ):
        middles.append((place + span / 2) * cell - length / 2)
    return torch.stack(middles, 1).round().long().clamp_min(0).minimum(room)


def cropped(images: Tensor, index: Tensor, view: View) -> Tensor:
    """Squares (B, 3, W, W) of `images` with the view's window at their top; of clips all frames.

    `index` (B,) are the numbers of the images. Below an image its last row of pixels is repeated,
    of which no token that stays is made.
    """
    corner = corners(images, index, view)
    width = round(view.window(images.shape[-1])[1])
    if images.ndim == 4:
        return squares(images, corner, width)
    frames = images.shape[2]
    flat = squares(images.transpose(1, 2).flatten(0, 1), corner.repeat_interleave(frames, 0), width)
    return flat.unflatten(0, (-1, frames)).transpose(1, 2)


def squares(images: Tensor, corner: Tensor, width: int) -> Tensor:
    """Squares (B, 3, W, W) of images (B, 3, S, S) from their top left `corner` (B, 2) on."""
    # On a CPU copies of rows take a tenth of the time of a gather; a GPU would wait for the host,
    # and a tracer does not know the corners.
    by_rows = images.device.type == "cpu" and not torch.compiler.is_compiling()
    return (copied if by_rows else gathered)(images, corner, width)


def copied(images: Tensor, corner: Tensor, width: int) -> Tensor:
    """`squares`, image by image."""
    cut = images.new_empty(len(images), images.shape[1], width, width)
    for square, image, (top, left) in zip(cut, images, corner.tolist(), strict=True):
        inside = image[:, top : top + width, left : left + width]
        height = inside.shape[1]
        square[:, :height] = inside
        square[:, height:] = inside[:, -1:]
    return cut


def gathered(images: Tensor, corner: Tensor, width: int) -> Tensor:
    """`squares`, all at once."""
    last = images.shape[-1] - 1
    steps = torch.arange(width, device=images.device)
    down, across = ((corner[:, axis, None] + steps).clamp_max(last) for axis in (0, 1))
    image = torch.arange(len(images), device=images.device)[:, None, None]
    # Colours last: one gather takes whole pixels.
    return images.movedim(1, -1)[image, down[:, :, None], across[:, None]].movedim(-1, 1)


def leading(tokens: TokenSequence, patches: int) -> TokenSequence:
    """The first `patches` patch tokens of each frame, and all special ones, in their order."""
    frames, height, width = tokens.grid
    first = tokens.patches().view(tokens.batch, frames, height * width)[:, :, :patches]
    index = torch.cat([first.flatten(1), tokens.special], 1).sort(1).values
    special = (index[:, None] < tokens.special[..., None]).sum(2)
    # Cut short, the rows of tokens may fill no rectangle.
    return replace(taken(tokens, index, special), lattice=None)

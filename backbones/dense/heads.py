"""Heads that turn maps of features into logits, and what they cost.

A head takes a map (B, C, H, W) for each level at which tokens are read, in the order of the levels,
and gives logits (B, classes, h, w).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor, nn
from torch.nn import functional

from backbones.layers import batch_invariant
from backbones.layers.norm import layer_norm
from backbones.shape import Work

CHANNELS = 32  # of the small convolutional head
ENLARGED = 2  # and how often its map is as long as that of tokens


class Head(nn.Module):
    """A head; subclasses define `forward` and `work`.

    ``classes``  number of its classes
    ``norms``    applied to the tokens of each level before they are spread over the map
    """

    classes: int
    norms: Iterable[nn.Module]

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Logits (B, classes, h, w) of the maps (B, C, H, W) of all levels."""
        raise NotImplementedError

    def work(self, sides: Sequence[tuple[int, int]]) -> Work:
        """Work for one image, of maps with these rows and columns."""
        raise NotImplementedError


class LinearHead(Head):
    """A LayerNorm and a linear classifier of each token, at one level."""

    def __init__(self, widths: Sequence[int], classes: int) -> None:
        """`widths` has the channels of the one level."""
        super().__init__()
        (width,) = widths
        self.classes = classes
        self.norms = nn.ModuleList([nn.LayerNorm(width)])
        self.classifier = nn.Linear(width, classes)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Logits at every token's place."""
        (features,) = maps
        places = features.flatten(2).transpose(1, 2)
        logits = batch_invariant.linear(places, self.classifier.weight, self.classifier.bias)
        return logits.transpose(1, 2).unflatten(2, features.shape[2:])

    def work(self, sides: Sequence[tuple[int, int]]) -> Work:
        """One product; elementwise its bias."""
        ((rows, columns),) = sides
        values = rows * columns * self.classes
        return Work(gemm=values * self.classifier.in_features, elementwise=values)


class ConvHead(Head):
    """A small convolutional head on several levels.

    Each level is narrowed by a LayerNorm and a 1 x 1 convolution; their sum goes through a 3 x 3
    convolution, is enlarged twice (bilinear), and goes through another before the classifier.
    """

    def __init__(self, widths: Sequence[int], classes: int) -> None:
        """`widths` are the channels of each level."""
        super().__init__()
        self.classes = classes
        self.norms = nn.ModuleList([nn.LayerNorm(width) for width in widths])
        self.narrow = nn.ModuleList([nn.Conv2d(width, CHANNELS, 1) for width in widths])
        self.coarse = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
        self.fine = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
        self.classifier = nn.Conv2d(CHANNELS, classes, 1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Logits at twice the tokens' resolution."""
        together = convolved(self.narrow[0], maps[0])
        for layer, features in zip(self.narrow[1:], maps[1:], strict=True):
            together = together + convolved(layer, features)
        coarse = functional.relu(convolved(self.coarse, functional.relu(together)))
        enlarged = resized(coarse, [ENLARGED * side for side in coarse.shape[2:]])
        fine = functional.relu(convolved(self.fine, enlarged))
        return convolved(self.classifier, fine)

    def work(self, sides: Sequence[tuple[int, int]]) -> Work:
        """Convolutions; elementwise their biases, sums and ReLU, and 8 a value for enlarging."""
        coarse = sides[0][0] * sides[0][1]
        fine = ENLARGED**2 * coarse
        conv = elementwise = 0
        for layer in self.narrow:
            assert isinstance(layer, nn.Conv2d)
            conv += coarse * layer.in_channels * CHANNELS
            elementwise += 2 * coarse * CHANNELS
        conv += 9 * (coarse + fine) * CHANNELS**2 + fine * CHANNELS * self.classes
        elementwise += CHANNELS * (2 * coarse + 10 * fine) + fine * self.classes
        return Work(gemm=0, conv=conv, elementwise=elementwise)


def convolved(layer: nn.Module, images: Tensor) -> Tensor:
    """The convolution `layer` of images (B, C, H, W), in the precision of its weights."""
    weight = next(layer.parameters())
    return batch_invariant.convolve(layer, images.to(weight.dtype))


def resized(images: Tensor, sides: Sequence[int]) -> Tensor:
    """Images (B, C, H, W) at other sides, bilinear, the corners of pixels not aligned."""
    return functional.interpolate(images, size=list(sides), mode="bilinear", align_corners=False)


def normed(norm: nn.Module, features: Tensor) -> Tensor:
    """`features` (..., C) after a LayerNorm, or as they are."""
    return layer_norm(norm, features) if isinstance(norm, nn.LayerNorm) else features

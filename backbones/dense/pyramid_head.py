"""UPerNet's head over levels of one resolution, which are brought to four resolutions first.

As in BEiT's segmentation, whose code Vim's and DyVM's follow: the first level is enlarged four
times by transposed convolutions, the second twice, the last halved by its largest features.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from backbones.dense.uper_head import UPerHead
from backbones.layers import batch_invariant
from backbones.layers.batch_invariant import Gelu
from backbones.shape import Work


def enlarging(width: int) -> nn.ConvTranspose2d:
    """A transposed convolution that doubles rows and columns."""
    return nn.ConvTranspose2d(width, width, 2, stride=2)


def rescaling(width: int) -> list[nn.Module]:
    """What each of four levels of `width` channels goes through, in the order of the levels."""
    first = nn.Sequential(enlarging(width), nn.BatchNorm2d(width), Gelu(), enlarging(width))
    return [first, nn.Sequential(enlarging(width)), nn.Identity(), nn.MaxPool2d(2)]


class PyramidHead(UPerHead):
    """UPerNet's head behind `rescaling`, on tokens that are read as they are."""

    def __init__(
        self, width: int, classes: int, channels: int, rescalers: Sequence[nn.Module]
    ) -> None:
        """`rescalers` are modules of the body, by level; all levels have `width` channels."""
        super().__init__([width] * len(rescalers), classes, channels)
        self.width = width
        # A tuple keeps them unregistered: they are the body's already.
        self._rescalers = tuple(rescalers)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Logits at four times the tokens' resolution."""
        dtype = self.conv_seg.weight.dtype
        rescaled = []
        for rescaler, features in zip(self._rescalers, maps, strict=True):
            rescaled.append(batch_invariant.convolve(rescaler, features.to(dtype)))
        return super().forward(rescaled)

    def work(self, sides: Sequence[tuple[int, int]]) -> Work:
        """Also that of rescaling; elementwise norm 2 and GELU 1, biases, and the largest of 4."""
        rows, columns = sides[0]
        width, places = self.width, rows * columns
        once = 4 * places * width * width  # from each place to four
        elementwise = width * places * (4 * (1 + 3) + 16 + 4 + 1)
        scaled = [(4 * rows, 4 * columns), (2 * rows, 2 * columns), (rows, columns)]
        own = super().work([*scaled, (rows // 2, columns // 2)])
        return own._replace(conv=own.conv + 6 * once, elementwise=own.elementwise + elementwise)

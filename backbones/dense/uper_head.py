"""UPerNet's head: a pyramid of pooled features, and a feature pyramid over all levels.

Xiao et al., "Unified Perceptual Parsing for Scene Understanding", ECCV 2018, arXiv 1807.10221, as
in OpenMMLab's MMSegmentation, whose names of parameters it has.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from backbones.dense.heads import Head, convolved, resized
from backbones.shape import Work

CHANNELS = 512
POOLED = (1, 2, 3, 6)  # sides of the pooled maps


class ConvNorm(nn.Module):
    """A convolution without bias, a batch norm and ReLU."""

    def __init__(self, before: int, after: int, side: int) -> None:
        """`before` and `after` are channels, `side` that of the kernel."""
        super().__init__()
        self.conv = nn.Conv2d(before, after, side, padding=side // 2, bias=False)
        self.bn = nn.BatchNorm2d(after)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', H, W)."""
        return functional.relu(self.bn(convolved(self.conv, images)))

    def work(self, places: int) -> Work:
        """Work at so many places; elementwise norm 2 and ReLU 1."""
        values = places * self.conv.out_channels
        # from each input channel and place of the kernel
        taps = self.conv.weight[0].numel()
        return Work(gemm=0, conv=values * taps, elementwise=3 * values)


class UPerHead(Head):
    """UPerNet's head on several levels, the coarsest last."""

    def __init__(
        self,
        widths: Sequence[int],
        classes: int,
        channels: int = CHANNELS,
        norms: Sequence[nn.Module] = (),
    ) -> None:
        """`widths` are the channels of each level; `norms` are those of the body, for each level.

        Without `norms` tokens are read as they are.
        """
        super().__init__()
        self.classes = classes
        # A tuple keeps them unregistered: they are the body's already.
        self.norms = tuple(norms) or (nn.Identity(),) * len(widths)
        last = widths[-1]
        # an unnumbered pooling layer comes first in the release
        self.psp_modules = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(side), ConvNorm(last, channels, 1))
            for side in POOLED
        )
        self.bottleneck = ConvNorm(last + len(POOLED) * channels, channels, 3)
        self.lateral_convs = nn.ModuleList(ConvNorm(width, channels, 1) for width in widths[:-1])
        self.fpn_convs = nn.ModuleList(ConvNorm(channels, channels, 3) for _ in widths[:-1])
        self.fpn_bottleneck = ConvNorm(len(widths) * channels, channels, 3)
        self.conv_seg = nn.Conv2d(channels, classes, 1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Logits at the places of the first level."""
        merged = [layer(each) for layer, each in zip(self.lateral_convs, maps[:-1], strict=True)]
        merged.append(self.pooled(maps[-1]))
        for level in range(len(merged) - 1, 0, -1):
            sides = merged[level - 1].shape[2:]
            merged[level - 1] = merged[level - 1] + resized(merged[level], sides)
        outputs = [layer(each) for layer, each in zip(self.fpn_convs, merged[:-1], strict=True)]
        outputs.append(merged[-1])
        sides = outputs[0].shape[2:]
        together = torch.cat([outputs[0], *(resized(each, sides) for each in outputs[1:])], 1)
        return convolved(self.conv_seg, self.fpn_bottleneck(together))

    def pooled(self, features: Tensor) -> Tensor:
        """The last level beside its pooled maps, at its own places."""
        sides = features.shape[2:]
        pyramid = [resized(module(features), sides) for module in self.psp_modules]
        return self.bottleneck(torch.cat([features.to(pyramid[0].dtype), *pyramid], 1))

    def work(self, sides: Sequence[tuple[int, int]]) -> Work:
        """Convolutions; elementwise also pooling 1 and resizing 8 a value, sums and bias 1."""
        places = [rows * columns for rows, columns in sides]
        channels = self.conv_seg.in_channels
        parts = [self.bottleneck.work(places[-1]), self.fpn_bottleneck.work(places[0])]
        for side, module in zip(POOLED, self.psp_modules, strict=True):
            narrow = module.get_submodule("1")
            assert isinstance(narrow, ConvNorm)
            parts.append(narrow.work(side * side))
            pooled = narrow.conv.in_channels + 8 * channels
            parts.append(Work(gemm=0, elementwise=places[-1] * pooled))
        for level, (narrow, smooth) in enumerate(
            zip(self.lateral_convs, self.fpn_convs, strict=True)
        ):
            assert isinstance(narrow, ConvNorm)
            assert isinstance(smooth, ConvNorm)
            parts += [narrow.work(places[level]), smooth.work(places[level])]
            # the level above added to this one, and enlarged once more beside the first
            parts.append(Work(gemm=0, elementwise=channels * (9 * places[level] + 8 * places[0])))
        classes = places[0] * self.classes
        parts.append(Work(gemm=0, conv=classes * channels, elementwise=classes))
        return Work(
            gemm=0,
            conv=sum(part.conv for part in parts),
            elementwise=sum(part.elementwise for part in parts),
        )

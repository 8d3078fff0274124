"""The configurations of every built-in backbone: the one list of their names.

`backbones.BACKBONES` reads the names here without importing torch; each family's module reads its
sizes. A field of a configuration is a setting in brackets: ``vim_tiny[depth=12]``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class SequenceConfig:
    """One size of a vision Mamba; a `stride` below `patch` makes patches overlap."""

    dim: int
    depth: int = 24
    states: int = 16
    image_size: int = 224
    patch: int = 16
    stride: int = 16
    classes: int = 1000

    @property
    def grid(self) -> int:
        """Patches along one side."""
        # pixels that no whole patch covers are left out, as by a convolution without padding
        return (self.image_size - self.patch) // self.stride + 1


@dataclass(frozen=True)
class MambaConfig(SequenceConfig):
    """One size of a vision Mamba of two directions; `divide` halves their sum."""

    divide: bool = True


@dataclass(frozen=True)
class VimBodyConfig(MambaConfig):
    """One size of Vim without class token, the body of its segmentation.

    ``shifted``  whether of positions with a row for a class token the first row is left out, as in
                 the release, and not that in the middle: then half of the patches get the row of
                 the next one, and one that of the class token
    """

    shifted: bool = False


@dataclass(frozen=True)
class ClipConfig(MambaConfig):
    """One size of a video model, for clips of `frames` frames; by default for Kinetics-400."""

    classes: int = 400
    divide: bool = False
    frames: int = 8


@dataclass(frozen=True)
class RegisterConfig(MambaConfig):
    """One size of Mamba-Reg.

    The neck narrows each of the `registers` by the factor `reduce`; 1 means no neck.
    """

    registers: int = 12
    reduce: int = 1

    @property
    def spacing(self) -> int:
        """Patch tokens between two registers and before the first; the rest follow the last."""
        return self.grid**2 // (self.registers + 1)


@dataclass(frozen=True)
class HeadedConfig(SequenceConfig):
    """One size of Adventurer.

    ``head``      channels of one head of the scan
    ``weighted``  whether the mean token counts each token by its size
    """

    depth: int = 12
    states: int = 64
    head: int = 64
    weighted: bool = True


@dataclass(frozen=True)
class PlainConfig:
    """One size of PlainMamba.

    ``convolutions``  of the stem, before the one that makes patches of its result
    ``local``         whether a 3 x 3 convolution follows the first block
    ``weighted``      whether the mean over tokens counts each by its size
    ``table``         side of the table of positions, which is resampled for every image of another
                      grid; 0 for the grid's own
    """

    dim: int
    depth: int = 24
    states: int = 16
    image_size: int = 224
    patch: int = 16
    classes: int = 1000
    convolutions: int = 3
    local: bool = False
    weighted: bool = True
    table: int = 0

    @property
    def grid(self) -> int:
        """Patches along one side."""
        return self.image_size // self.patch

    @property
    def positions(self) -> int:
        """Side of the table of positions."""
        return self.table or self.grid


@dataclass(frozen=True)
class StagedConfig:
    """One size of VMamba: four stages, each twice as wide as the one before.

    ``dim``       channels of the first stage
    ``early``     layers of the first stage, and of the second
    ``third``, ``last``  layers of those stages
    ``expand``    channels of a mixer over those of its stage
    ``weighted``  whether the mean over tokens counts each by its size
    """

    dim: int
    third: int
    early: int = 2
    last: int = 2
    expand: int = 2
    states: int = 1
    image_size: int = 224
    classes: int = 1000
    # Not by default: where a map of odd sides was halved, cells at its edge hold fewer tokens, and
    # the published mean counts them all alike.
    weighted: bool = False

    @property
    def patch(self) -> int:
        """Side of a patch; the stem halves the resolution twice."""
        return 4

    @property
    def grid(self) -> int:
        """Patches along one side."""
        return self.image_size // self.patch

    @property
    def depths(self) -> tuple[int, ...]:
        """Layers of each stage."""
        return (self.early, self.early, self.third, self.last)

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each stage."""
        return tuple(self.dim * 2**stage for stage in range(len(self.depths)))

    @property
    def dt_rank(self) -> int:
        """Rank of the timescale's projection in the first stage; it grows with the width."""
        return -(-self.dim // 16)


@dataclass(frozen=True)
class ViTConfig:
    """One size of ViT: `layers` of width `dim` with `heads` attention heads."""

    dim: int
    heads: int
    layers: int = 12
    image_size: int = 224
    patch: int = 16
    classes: int = 1000

    @property
    def grid(self) -> int:
        """Patches along one side."""
        return self.image_size // self.patch


@dataclass(frozen=True)
class SegmenterConfig:
    """One segmenter: its body, a backbone of this file, and its head.

    ``head``        linear, conv, upernet, or pyramid: UPerNet's behind maps of four resolutions
    ``levels``      at how many blocks tokens are read, evenly spaced up to the last; of a body in
                    stages at the end of each
    ``channels``    of UPerNet's head
    ``image_size``  of the body, 0 for its own
    ``table``       side of the body's table of positions, 0 for its own
    ``inference``   what its authors show it of a picture: centre, slide (windows over all of it) or
                    whole, with sides that are multiples of ``multiple``
    """

    body: str
    head: str
    levels: int
    classes: int
    channels: int = 512
    image_size: int = 0
    table: int = 0
    inference: Literal["centre", "slide", "whole"] = "centre"
    multiple: int = 1


def _nano(dim: int, divide: bool = True) -> MambaConfig:
    """A size for the bundled images of 56 x 56 pixels and 10 classes."""
    return MambaConfig(
        dim, depth=8, states=8, image_size=56, patch=4, stride=4, classes=10, divide=divide
    )


_TINY_64 = MambaConfig(dim=192, image_size=64, patch=4, stride=4, classes=200)

# div2 models: the directions are averaged
VIM = {
    "vim_tiny": MambaConfig(dim=192),
    "vim_small": MambaConfig(dim=384),
    "vim_base": MambaConfig(dim=768),
    "vim_tiny_stride8": MambaConfig(dim=192, stride=8),
    "vim_small_stride8": MambaConfig(dim=384, stride=8),
    # trained by recipes of this project, on the bundled images
    "vim_nano": _nano(dim=64),
    "vim_pico": _nano(dim=48),
    # for Tiny-ImageNet's images of 64 x 64 pixels; the smaller one knows every fourth class
    "vim_tiny_64": _TINY_64,
    # the same, never trained on smaller images
    "vim_tiny_64_full": _TINY_64,
    "vim_nano_64": MambaConfig(
        dim=64, depth=8, states=8, image_size=64, patch=8, stride=8, classes=50
    ),
}
# the directions are summed
VIDEOMAMBA = {
    "videomamba_tiny": MambaConfig(dim=192, divide=False),
    "videomamba_small": MambaConfig(dim=384, divide=False),
    "videomamba_middle": MambaConfig(dim=576, depth=32, divide=False),
    "videomamba_base": MambaConfig(dim=768, divide=False),
    "videomamba_nano": _nano(dim=64, divide=False),
}
VIDEOMAMBA_VIDEO = {
    "videomamba_tiny_video": ClipConfig(dim=192),
    "videomamba_small_video": ClipConfig(dim=384),
    "videomamba_middle_video": ClipConfig(dim=576, depth=32),
}
# wide models narrow their registers, so that the head reads about as much in all of them
MAMBAREG = {
    "mambareg_tiny": RegisterConfig(dim=192),
    "mambareg_small": RegisterConfig(dim=384, reduce=2),
    "mambareg_base": RegisterConfig(dim=768, reduce=4),
    "mambareg_large": RegisterConfig(dim=1024, depth=48, registers=16, reduce=8),
}
PLAINMAMBA = {
    "plainmamba_l1": PlainConfig(dim=192, convolutions=2, local=True),
    "plainmamba_l2": PlainConfig(dim=384),
    "plainmamba_l3": PlainConfig(dim=448, depth=36),
}
ADVENTURER = {
    "adventurer_tiny": HeadedConfig(dim=256),
    "adventurer_small": HeadedConfig(dim=512),
    "adventurer_base": HeadedConfig(dim=768),
    "adventurer_large": HeadedConfig(dim=1024, depth=24),
    # about as many parameters as vim_nano
    "adventurer_nano": HeadedConfig(
        dim=48, depth=8, states=16, image_size=56, patch=4, stride=4, classes=10, head=16
    ),
}
# the second version of the published models, of the type v05_noz
VMAMBA = {
    "vmamba_tiny": StagedConfig(dim=96, third=8, expand=1),
    "vmamba_small": StagedConfig(dim=96, third=15),
    "vmamba_base": StagedConfig(dim=128, third=15),
    "vmamba_nano": StagedConfig(
        dim=20, third=3, early=3, last=1, expand=1, image_size=56, classes=10
    ),
}
# DeiT and AugReg ViT have the same layers and differ in training and preprocessing
VIT = {
    "deit_tiny": ViTConfig(dim=192, heads=3),
    "deit_small": ViTConfig(dim=384, heads=6),
    "deit_base": ViTConfig(dim=768, heads=12),
    "vit_tiny": ViTConfig(dim=192, heads=3),
    "vit_small": ViTConfig(dim=384, heads=6),
    "vit_base": ViTConfig(dim=768, heads=12),
    # as many parameters as vim_nano
    "deit_nano": ViTConfig(dim=48, heads=3, layers=10, image_size=56, patch=4, classes=10),
}

# heads on the frozen bundled backbones, for ten garments and the background
SEGMENTERS = {
    f"{body}_{head}": SegmenterConfig(body, head, levels, classes=11)
    for body in ("vim_nano", "videomamba_nano", "deit_nano")
    for head, levels in (("linear", 1), ("conv", 2))
}
# as published, for the 150 classes of ADE20K
UPERNETS = {
    **{
        f"{body}_upernet": SegmenterConfig(
            body,
            "upernet",
            4,
            classes=150,
            image_size=512,
            table=14,
            inference="whole",
            multiple=32,
        )
        for body in PLAINMAMBA
    },
    **{
        f"{body}_upernet": SegmenterConfig(
            body, "upernet", 4, classes=150, image_size=512, inference="whole"
        )
        for body in ("vmamba_tiny", "vmamba_small", "vmamba_base")
    },
}
# Vim's, as DyVM trains both sizes; no trained weights are published, so they are in no list
VIM_UPERNETS = {
    f"vim_{size}_upernet": SegmenterConfig(
        f"vim_{size}", "pyramid", 4, classes=150, channels=dim, image_size=512, inference="slide"
    )
    for size, dim in (("tiny", 192), ("small", 384))
}

# by the module of `backbones.models` whose `create` builds them
FAMILIES: dict[str, Mapping[str, object]] = {
    "vim": VIM,
    "videomamba": VIDEOMAMBA,
    "videomamba_video": VIDEOMAMBA_VIDEO,
    "mambareg": MAMBAREG,
    "plainmamba": PLAINMAMBA,
    "adventurer": ADVENTURER,
    "vmamba": VMAMBA,
    "vit": VIT,
    "segmenters": SEGMENTERS | UPERNETS,
}

"""Adventurer.

Wang et al., "Causal Image Modeling for Efficient Visual Understanding", CVPR 2025, arXiv
2410.07599.

Patch tokens row by row, the class token behind them, an absolute position embedding; blocks of a
Mamba-2 mixer that reads the mean token first, and a gated MLP; the class token is read out.
Parameter names and shapes are those of the published checkpoints.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import nn

from backbones.common.errors import UserError
from backbones.layers.headed_block import HeadedBlock
from backbones.layers.headed_mixer import TRACED, HeadedMixer
from backbones.models.class_token import ClassTokenMamba
from backbones.models.sizes import ADVENTURER, HeadedConfig
from backbones.models.vision_mamba import configured
from backbones.shape import Shape

EXPAND = 2


def is_flipped(block: int) -> bool:
    """Whether this block reads the tokens before the last backwards: only blocks 2 and 3 do.

    The paper flips between all blocks. The released code flips where ``block // 2 == 1``, and its
    weights were trained with it.
    """
    return block // 2 == 1


def hidden_width(dim: int) -> int:
    """Inner width of the MLP: 2.5 times as wide, as released."""
    return int(dim * 2.5)


class Adventurer(ClassTokenMamba):
    """Adventurer with the class token at the end of the sequence."""

    provides: ClassVar[frozenset[str]] = TRACED

    config: HeadedConfig

    @staticmethod
    def class_place_of(patches: int) -> int:
        """All patches precede the class token."""
        return patches

    def new_block(self, index: int) -> nn.Module:
        """Block number `index`."""
        config = self.config
        mixer = HeadedMixer(config.dim, config.states, config.head, expand=EXPAND)
        hidden = hidden_width(config.dim)
        return HeadedBlock(config.dim, mixer, hidden, is_flipped(index), config.weighted)

    def describe(self) -> Shape:
        """The sizes from which FLOPs follow."""
        config = self.config
        inner = EXPAND * config.dim
        return self._shape(
            inner=inner,
            states=config.states,
            # Mamba-2 projects Delta from the input at once, not through a low rank.
            dt_rank=0,
            conv_kernel=4,
            # Flipped blocks turn the tokens round, and scan them once all the same.
            directions=1,
            scan_heads=inner // config.head,
            hidden=hidden_width(config.dim),
        )


def create(name: str, **overrides: Any) -> Adventurer:
    """Build the Adventurer called `name`, with any field of its `HeadedConfig` overridden."""
    config = configured(ADVENTURER, name, overrides)
    # Released sizes divide; overridden ones may not.
    if EXPAND * config.dim % config.head:
        raise UserError(
            f"{name} cannot have {EXPAND * config.dim} channels in heads of {config.head}: "
            "use a divisor as head"
        )
    return Adventurer(name, config)

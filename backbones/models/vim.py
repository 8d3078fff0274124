"""Vision Mamba (Vim).

Zhu et al., "Vision Mamba: Efficient Visual Representation Learning with Bidirectional State Space
Model", ICML 2024, arXiv 2401.09417.

Patch tokens row by row, the class token inserted in the middle, an absolute position embedding
added after that; blocks of add, RMSNorm and a bidirectional Mamba mixer whose two directions are
averaged; the class token is read out.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from backbones.models.class_token import ClassTokenMamba
from backbones.models.vision_mamba import MambaConfig, configured
from backbones.preprocessing import WHOLE


class Vim(ClassTokenMamba):
    """Vim with the class token in the middle of the sequence."""

    @staticmethod
    def class_place_of(patches: int) -> int:
        """Half of the patches stand before the class token."""
        return patches // 2


CONFIGS = {
    "vim_tiny": MambaConfig(dim=192),
    "vim_small": MambaConfig(dim=384),
    "vim_base": MambaConfig(dim=768),
    "vim_tiny_stride8": MambaConfig(dim=192, stride=8),
    "vim_small_stride8": MambaConfig(dim=384, stride=8),
    "vim_nano": MambaConfig(
        dim=64, depth=8, states=8, image_size=56, patch=4, stride=4, classes=10
    ),
    "vim_pico": MambaConfig(
        dim=48, depth=8, states=8, image_size=56, patch=4, stride=4, classes=10
    ),
    "vim_tiny_64": MambaConfig(dim=192, image_size=64, patch=4, stride=4, classes=200),
    "vim_nano_64": MambaConfig(
        dim=64, depth=8, states=8, image_size=64, patch=8, stride=8, classes=50
    ),
}
SMALL = ("vim_tiny_64", "vim_nano_64")  # for pictures of 64 x 64, taken whole


def create(name: str, **overrides: Any) -> Vim:
    """The Vim called `name`, with any field of its `MambaConfig` overridden."""
    model = Vim(name, configured(CONFIGS, name, overrides))
    model.preprocessing = WHOLE if name in SMALL else model.preprocessing
    return model


vim_tiny = partial(create, "vim_tiny")
vim_small = partial(create, "vim_small")
vim_base = partial(create, "vim_base")
vim_tiny_stride8 = partial(create, "vim_tiny_stride8")
vim_small_stride8 = partial(create, "vim_small_stride8")
vim_nano = partial(create, "vim_nano")
vim_pico = partial(create, "vim_pico")
vim_tiny_64 = partial(create, "vim_tiny_64")
vim_nano_64 = partial(create, "vim_nano_64")

"""Vision Mamba (Vim).

Zhu et al., "Vision Mamba: Efficient Visual Representation Learning with Bidirectional State Space
Model", ICML 2024, arXiv 2401.09417.

Patch tokens row by row, the class token inserted in the middle, then an absolute position
embedding; blocks of add, RMSNorm and a bidirectional Mamba mixer whose two directions are averaged;
the class token is read out.
"""

from __future__ import annotations

from typing import Any

from backbones.models.class_token import ClassTokenMamba
from backbones.models.sizes import VIM
from backbones.models.vision_mamba import configured
from backbones.preprocessing import WHOLE

# Images of 64 x 64 pixels are evaluated whole; no weights of `vim_nano_64` are bundled whose card
# would say so.
UNCROPPED = ("vim_tiny_64", "vim_tiny_64_full", "vim_nano_64")


class Vim(ClassTokenMamba):
    """Vim with the class token in the middle of the sequence."""

    @staticmethod
    def class_place_of(patches: int) -> int:
        """Half of the patches precede the class token."""
        return patches // 2


def create(name: str, **overrides: Any) -> Vim:
    """Build the Vim called `name`, with any field of its `MambaConfig` overridden."""
    model = Vim(name, configured(VIM, name, overrides))
    if name in UNCROPPED:
        model.preprocessing = WHOLE
    return model

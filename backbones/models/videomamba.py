"""VideoMamba for images.

Li et al., "VideoMamba: State Space Model for Efficient Video Understanding", ECCV 2024, arXiv
2403.06977.

Vim's blocks with the class token first and the two directions summed instead of averaged.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from backbones.models.class_token import ClassTokenMamba
from backbones.models.vision_mamba import MambaConfig, configured


class VideoMamba(ClassTokenMamba):
    """VideoMamba with the class token at the head of the sequence."""

    @staticmethod
    def class_place_of(patches: int) -> int:
        """The class token is the first."""
        return 0


CONFIGS = {
    "videomamba_tiny": MambaConfig(dim=192, divide=False),
    "videomamba_small": MambaConfig(dim=384, divide=False),
    "videomamba_middle": MambaConfig(dim=576, depth=32, divide=False),
    "videomamba_base": MambaConfig(dim=768, divide=False),
    "videomamba_nano": MambaConfig(
        dim=64, depth=8, states=8, image_size=56, patch=4, stride=4, classes=10, divide=False
    ),
}


def create(name: str, **overrides: Any) -> VideoMamba:
    """The VideoMamba called `name`, with any field of its `MambaConfig` overridden."""
    return VideoMamba(name, configured(CONFIGS, name, overrides))


videomamba_tiny = partial(create, "videomamba_tiny")
videomamba_small = partial(create, "videomamba_small")
videomamba_middle = partial(create, "videomamba_middle")
videomamba_base = partial(create, "videomamba_base")
videomamba_nano = partial(create, "videomamba_nano")

"""VideoMamba for images.

Li et al., "VideoMamba: State Space Model for Efficient Video Understanding", ECCV 2024, arXiv
2403.06977.

Vim's blocks with the class token first and the two directions summed instead of averaged.
"""

from __future__ import annotations

from typing import Any

from backbones.models.class_token import ClassTokenMamba
from backbones.models.sizes import VIDEOMAMBA
from backbones.models.vision_mamba import configured


class VideoMamba(ClassTokenMamba):
    """VideoMamba with the class token at the head of the sequence."""

    @staticmethod
    def class_place_of(patches: int) -> int:
        """No patch precedes the class token."""
        return 0


def create(name: str, **overrides: Any) -> VideoMamba:
    """Build the VideoMamba called `name`, with any field of its `MambaConfig` overridden."""
    return VideoMamba(name, configured(VIDEOMAMBA, name, overrides))

"""Vision Mamba (Vim).

Zhu et al., "Vision Mamba: Efficient Visual Representation Learning with Bidirectional State Space
Model", ICML 2024, arXiv 2401.09417.

Patch tokens row by row, the class token inserted in the middle, then an absolute position
embedding; blocks of add, RMSNorm and a bidirectional Mamba mixer whose two directions are averaged;
the class token is read out. Its segmentation has no class token, and reads maps (`VimBody`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from backbones.base import check_image_size
from backbones.common.errors import UserError
from backbones.layers.patches import PatchEmbed
from backbones.layers.positions import resample_grid
from backbones.models.class_token import ClassTokenMamba
from backbones.models.sizes import VIM, VimBodyConfig
from backbones.models.vision_mamba import VisionMamba, configured, initialise
from backbones.preprocessing import WHOLE
from backbones.sequence import TokenSequence, new_sequence

# Images of 64 x 64 pixels are evaluated whole; no weights of `vim_nano_64` are bundled whose card
# would say so.
UNCROPPED = ("vim_tiny_64", "vim_tiny_64_full", "vim_nano_64")


class Vim(ClassTokenMamba):
    """Vim with the class token in the middle of the sequence."""

    @staticmethod
    def class_place_of(patches: int) -> int:
        """Half of the patches precede the class token."""
        return patches // 2


class VimBody(VisionMamba):
    """Vim without class token: blocks whose tokens a segmenter reads."""

    config: VimBodyConfig

    def __init__(self, name: str, config: VimBodyConfig) -> None:
        embed = PatchEmbed(config.patch, config.stride, config.dim)
        super().__init__(name, config, embed, head_width=config.dim)
        self.pos_embed = nn.Parameter(torch.zeros(1, config.grid**2, config.dim))
        initialise(self, self.pos_embed)

    @property
    def special_places(self) -> tuple[int, ...]:
        """Empty."""
        return ()

    def embed(self, images: Tensor, image_index: Tensor | None = None) -> TokenSequence:
        """(B, 3, S, S) normalised images to patch tokens, row by row."""
        check_image_size(images, self.image_size, self.name)
        tokens = self.patch_embed(images.to(self.pos_embed.dtype)) + self.pos_embed
        return new_sequence(tokens, (), self.grid, image_index)

    def positions_here(self, positions: Tensor) -> Tensor | None:
        """Resample positions (1, n, C), or those with a class token's row, to this model's grid.

        None if the patches form no square.
        """
        patches = positions.shape[1] - 1
        own = resample_grid(positions, self.config.grid)
        if (
            own is not None
            or resample_grid(positions, self.config.grid, Vim.class_place_of) is None
        ):
            return own
        row = 0 if self.config.shifted else Vim.class_place_of(patches)
        without = torch.cat([positions[:, :row], positions[:, row + 1 :]], dim=1)
        return resample_grid(without, self.config.grid)

    def fitted(
        self, state: Mapping[str, Tensor], changed: frozenset[str]
    ) -> tuple[dict[str, Tensor], list[str]]:
        """Adapt published weights: positions, and those of a classifier without its class token."""
        if any(name.startswith("rope.") for name in state):
            raise UserError(
                "these weights were trained with rotary positions (if_rope), as the release "
                "configures its small size, and this body has none: use weights without them"
            )
        without = {name: tensor for name, tensor in state.items() if name != "cls_token"}
        adapted, notes = super().fitted(without, changed)
        if len(without) < len(state):
            notes.append("the class token is left out")
        return adapted, notes


def create_body(name: str, **overrides: Any) -> VimBody:
    """The body of the segmentation of the Vim called `name`, any field of its config overridden."""
    bodies = {name: VimBodyConfig(**asdict(VIM[name]))}
    return VimBody(name, configured(bodies, name, overrides))


def create(name: str, **overrides: Any) -> Vim:
    """Build the Vim called `name`, with any field of its `MambaConfig` overridden."""
    model = Vim(name, configured(VIM, name, overrides))
    if name in UNCROPPED:
        model.preprocessing = WHOLE
    return model

"""VideoMamba for clips (Li et al., ECCV 2024, arXiv 2403.06977).

Every frame is cut into patches (a three-dimensional convolution one frame deep) and gets the image
model's position embedding; patch tokens get a second embedding for their frame. The sequence is the
class token and then the patch tokens frame by frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from backbones.checkpoints.names import HEAD
from backbones.common.errors import UserError
from backbones.layers.patches import FramePatchEmbed
from backbones.layers.positions import resample_frames
from backbones.models.sizes import VIDEOMAMBA_VIDEO, ClipConfig
from backbones.models.videomamba import VideoMamba
from backbones.models.vision_mamba import configured
from backbones.sequence import TokenSequence, new_sequence


class VideoMambaVideo(VideoMamba):
    """VideoMamba over clips of at least two frames."""

    def __init__(self, name: str, config: ClipConfig) -> None:
        super().__init__(name, config, FramePatchEmbed(config.patch, config.stride, config.dim))
        self.frames = config.frames
        self.temporal_pos_embedding = nn.Parameter(torch.zeros(1, config.frames, config.dim))

    def embed(self, images: Tensor, image_index: Tensor | None = None) -> TokenSequence:
        """(B, 3, T, S, S) normalised clips to the class token and patch tokens, frame by frame."""
        clip = (3, self.frames, self.image_size, self.image_size)
        if images.shape[1:] != clip:
            sides = ", ".join(map(str, clip))
            raise UserError(
                f"{self.name} takes clips of shape (B, {sides}), got {tuple(images.shape)}: "
                f"sample {self.frames} frames of a video and resize them, "
                "or create the model with frames=..."
            )
        patches = self.patch_embed(images.to(self.cls_token.dtype))
        # row 0 of the image model's embedding belongs to the class token
        patches = patches + self.pos_embed[:, None, 1:]
        patches = patches + self.temporal_pos_embedding[:, :, None]
        cls = (self.cls_token + self.pos_embed[:, :1]).expand(len(images), -1, -1)
        tokens = torch.cat([cls, patches.flatten(1, 2)], dim=1)
        return new_sequence(tokens, [0], self.grid, image_index)

    def fitted(
        self, state: Mapping[str, Tensor], changed: frozenset[str]
    ) -> tuple[dict[str, Tensor], list[str]]:
        """Adapt `state`, which may be an image model's, and say in words what was changed.

        From an image model, patches get a third dimension, all frames begin alike, and the head is
        new. Another number of frames, if among `changed`, resamples the embedding of frames.
        """
        fitted, notes = super().fitted(state, changed)
        patches = fitted.get("patch_embed.proj.weight")
        frames = fitted.get("temporal_pos_embedding")
        # The published video models were begun from image models in this way.
        if patches is not None and patches.ndim == 4:
            fitted = {name: tensor for name, tensor in fitted.items() if name not in HEAD}
            fitted["patch_embed.proj.weight"] = patches.unsqueeze(2)
            fitted["temporal_pos_embedding"] = torch.zeros_like(self.temporal_pos_embedding)
            notes.append("begun from an image model")
            return fitted, notes
        if "frames" not in changed or frames is None or frames.ndim != 3:
            return fitted, notes
        if frames.shape[1] != self.frames:
            fitted["temporal_pos_embedding"] = resample_frames(frames, self.frames)
            notes.append(f"positions resampled from {frames.shape[1]} frames to {self.frames}")
        return fitted, notes


def create(name: str, **overrides: Any) -> VideoMambaVideo:
    """Build the VideoMamba called `name`, with any field of its `ClipConfig` overridden."""
    config = configured(VIDEOMAMBA_VIDEO, name, overrides)
    if config.frames < 2:
        raise UserError(
            f"{name} cannot take clips of {config.frames} frame: use {name.removesuffix('_video')}"
        )
    return VideoMambaVideo(name, config)

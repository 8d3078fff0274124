"""VideoMamba for clips (Li et al., ECCV 2024, arXiv 2403.06977).

Every frame is cut into patches (a three-dimensional convolution one frame deep) and gets the image
model's position embedding; patch tokens get one embedding more for the frame they are of. The
sequence is the class token and then the patch tokens frame by frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from backbones.checkpoints.load import HEAD
from backbones.common.errors import UserError
from backbones.layers.patches import FramePatchEmbed
from backbones.layers.positions import resample_frames
from backbones.models.videomamba import VideoMamba
from backbones.models.vision_mamba import MambaConfig, configured
from backbones.sequence import TokenSequence, new_sequence


@dataclass(frozen=True)
class ClipConfig(MambaConfig):
    """One size of a video model, for clips of `frames` frames; 400 classes are those of Kinetics."""

    classes: int = 400
    divide: bool = False
    frames: int = 8


class VideoMambaVideo(VideoMamba):
    """VideoMamba over clips of at least two frames."""

    def __init__(self, name: str, config: ClipConfig) -> None:
        super().__init__(name, config, FramePatchEmbed(config.patch, config.stride, config.dim))
        self.frames = config.frames
        self.temporal_pos_embedding = nn.Parameter(torch.zeros(1, config.frames, config.dim))

    def embed(self, images: Tensor, image_index: Tensor | None = None) -> TokenSequence:
        """(B, 3, T, S, S) normalised clips to the class token and T x h x w patch tokens, frame by frame."""
        clip = (3, self.frames, self.image_size, self.image_size)
        if images.shape[1:] != clip:
            raise UserError(
                f"{self.name} takes clips of shape (B, {', '.join(map(str, clip))}), got {tuple(images.shape)}: "
                f"sample {self.frames} frames of a video and resize them, or create the model with frames=..."
            )
        patches = self.patch_embed(images.to(self.cls_token.dtype)) + self.pos_embed[:, None, 1:]
        patches = patches + self.temporal_pos_embedding[:, :, None]
        cls = (self.cls_token + self.pos_embed[:, :1]).expand(len(images), -1, -1)
        return new_sequence(
            torch.cat([cls, patches.flatten(1, 2)], dim=1), [0], self.grid, image_index
        )

    def fitted(
        self, state: Mapping[str, Tensor], asked: frozenset[str]
    ) -> tuple[dict[str, Tensor], list[str]]:
        """`state`, which may be an image model's: patches get a third dimension, frames begin alike, the head is new.

        That is how the published video models were begun. Another number of frames, if asked for,
        resamples theirs.
        """
        given, notes = super().fitted(state, asked)
        patches, frames = given.get("patch_embed.proj.weight"), given.get("temporal_pos_embedding")
        if patches is not None and patches.ndim == 4:
            given = {name: tensor for name, tensor in given.items() if name not in HEAD}
            given["patch_embed.proj.weight"] = patches.unsqueeze(2)
            given["temporal_pos_embedding"] = torch.zeros_like(self.temporal_pos_embedding)
            notes.append("begun from an image model")
        elif (
            "frames" in asked
            and frames is not None
            and frames.ndim == 3
            and frames.shape[1] != self.frames
        ):
            given["temporal_pos_embedding"] = resample_frames(frames, self.frames)
            notes.append(f"positions resampled from {frames.shape[1]} frames to {self.frames}")
        return given, notes


CONFIGS = {
    "videomamba_tiny_video": ClipConfig(dim=192),
    "videomamba_small_video": ClipConfig(dim=384),
    "videomamba_middle_video": ClipConfig(dim=576, depth=32),
}


def create(name: str, **overrides: Any) -> VideoMambaVideo:
    """The VideoMamba called `name`, with any field of its `ClipConfig` overridden."""
    config = configured(CONFIGS, name, overrides)
    if config.frames < 2:
        raise UserError(
            f"{name} cannot take clips of {config.frames} frame: use {name.removesuffix('_video')}"
        )
    return VideoMambaVideo(name, config)


videomamba_tiny_video = partial(create, "videomamba_tiny_video")
videomamba_small_video = partial(create, "videomamba_small_video")
videomamba_middle_video = partial(create, "videomamba_middle_video")

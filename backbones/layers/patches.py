"""Patch embeddings: from pixels to patch tokens."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class PatchEmbed(nn.Module):
    """Image to patch tokens by one strided convolution."""

    def __init__(self, patch: int, stride: int, dim: int) -> None:
        """`patch` x `patch` pixels, `stride` apart, to `dim` channels."""
        super().__init__()
        self.stride = stride
        self.proj: nn.Conv2d | nn.Conv3d
        self.proj = nn.Conv2d(3, dim, kernel_size=patch, stride=stride)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, h * w, C), row by row."""
        return self.proj(images).flatten(2).transpose(1, 2)


class FramePatchEmbed(PatchEmbed):
    """Clip to patch tokens, frame by frame."""

    def __init__(self, patch: int, stride: int, dim: int) -> None:
        super().__init__(patch, stride, dim)
        # The published weight is that of a three-dimensional convolution one frame deep.
        self.proj = nn.Conv3d(
            3,
            dim,
            kernel_size=(1, patch, patch),
            stride=(1, stride, stride),
        )

    def forward(self, clips: Tensor) -> Tensor:
        """(B, 3, T, H, W) to (B, T, h * w, C), row by row."""
        # The weight is one frame deep, so that frames can be convolved as images.
        frames = clips.transpose(1, 2).flatten(0, 1)
        weight = self.proj.weight.squeeze(2)
        grid = functional.conv2d(frames, weight, self.proj.bias, self.stride)
        tokens = grid.flatten(2).transpose(1, 2)
        return tokens.unflatten(0, (clips.shape[0], -1))

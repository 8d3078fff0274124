"""From pixels to patch tokens."""

from __future__ import annotations

from torch import Tensor, nn


class PatchEmbed(nn.Module):
    """Image to patch tokens by one strided convolution."""

    def __init__(self, patch: int, stride: int, dim: int) -> None:
        """`patch` x `patch` pixels, `stride` apart, to `dim` channels."""
        super().__init__()
        self.proj = nn.Conv2d(3, dim, kernel_size=patch, stride=stride)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, h * w, C), row by row."""
        return self.proj(images).flatten(2).transpose(1, 2)

"""Stand-ins for the authors' classes: their layout and attributes, their equations, on a CPU in any precision.

All of Vim's line are called VisionMamba. `reduce` (block, branch, residual, rows of the class token) may shorten
the sequence before a block.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Reduce = Callable[[int, Tensor, Tensor, int], tuple[Tensor, Tensor, int]]


class RMSNorm(nn.Module):
    def __init__(self, dim: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(dim)), eps

    def forward(self, x: Tensor) -> Tensor:
        return x / (x.square().mean(-1, keepdim=True) + self.eps).sqrt() * self.weight


class Mamba(nn.Module):
    def __init__(self, dim: int, states: int, **attributes: Any) -> None:
        super().__init__()
        inner, rank = 2 * dim, math.ceil(dim / 16)
        vars(self).update(attributes)
        self.rank, self.states = rank, states
        self.in_proj = nn.Linear(dim, 2 * inner, bias=False)
        for end, a in (("", "A_log"), ("_b", "A_b_log")):
            setattr(self, f"conv1d{end}", nn.Conv1d(inner, inner, 4, groups=inner))
            setattr(self, f"x_proj{end}", nn.Linear(inner, rank + 2 * states, bias=False))
            setattr(self, f"dt_proj{end}", nn.Linear(rank, inner))
            setattr(self, a, nn.Parameter(torch.randn(inner, states) / 2))
            setattr(self, f"D{end}", nn.Parameter(torch.randn(inner)))
        self.out_proj = nn.Linear(inner, dim, bias=False)

    def scan(self, x: Tensor, end: str, A_log: Tensor) -> Tensor:
        """(B, L, E) in the order in which it is read."""
        convolve, expand = getattr(self, f"conv1d{end}"), getattr(self, f"dt_proj{end}")
        u = F.silu(convolve(F.pad(x.transpose(1, 2), (3, 0)))).transpose(1, 2)
        rows = getattr(self, f"x_proj{end}")(u)
        dt, B, C = rows.split([self.rank, self.states, self.states], dim=-1)
        delta, h, out = F.softplus(expand(dt)), 0.0, []
        for t in range(x.shape[1]):
            step = delta[:, t, :, None]
            h = torch.exp(step * -A_log.exp()) * h + step * B[:, t, None] * u[:, t, :, None]
            out.append((h * C[:, t, None]).sum(-1) + getattr(self, f"D{end}") * u[:, t])
        return torch.stack(out, 1)

    def forward(self, tokens: Tensor) -> Tensor:
        x, z = self.in_proj(tokens).chunk(2, -1)
        y = self.scan(x, "", self.A_log) + self.scan(x.flip(1), "_b", self.A_b_log).flip(1)
        halved = getattr(self, "if_devide_out", False) or getattr(self, "biscan", False)
        return self.out_proj(y * F.silu(z) * (0.5 if halved else 1.0))


class Block(nn.Module):
    def __init__(self, dim: int, states: int, **attributes: Any) -> None:
        super().__init__()
        self.mixer, self.norm = Mamba(dim, states, **attributes), RMSNorm(dim)


class PatchEmbed(nn.Module):
    def __init__(self, size: int, patch: int, stride: int, dim: int) -> None:
        super().__init__()
        self.img_size, self.proj = (size, size), nn.Conv2d(3, dim, patch, stride)


class VisionMamba(nn.Module):
    """Vim (`vim`), VideoMamba for images, or Mamba-Reg (`registers`)."""

    reduce: Reduce | None = None

    def __init__(
        self, vim: bool = False, registers: int = 0, neck: int = 1, size: int = 24, stride: int = 4,
        dim: int = 16, depth: int = 4, classes: int = 5,
    ) -> None:  # fmt: skip
        super().__init__()
        self.patch_embed = PatchEmbed(size, 4, stride, dim)
        patches, specials = ((size - 4) // stride + 1) ** 2, registers or 1
        attributes: dict[str, Any] = {"bimamba": True}
        if vim:
            attributes = {"bimamba_type": "v2", "if_devide_out": True}
            self.if_cls_token = self.if_abs_pos_embed = self.use_middle_cls_token = True
            self.use_double_cls_token = self.if_rope = self.if_bidirectional = False
            self.flip_img_sequences_ratio = -1.0
        self.cls_token = nn.Parameter(torch.randn(1, specials, dim))
        self.pos_embed = nn.Parameter(torch.randn(1, patches + (not registers), dim))
        self.places = [patches // 2 if vim else 0]
        if registers:
            attributes = {"biscan": True}
            gap = patches // (registers + 1)
            self.places = [gap + i * (gap + 1) for i in range(registers)]
            self.pos_embed_cls = nn.Parameter(torch.randn(1, registers, dim))
        if neck > 1:
            self.neck, self.norm_neck = (
                nn.Linear(dim, dim // neck, bias=False), RMSNorm(dim // neck * registers)
            )  # fmt: skip
        self.layers = nn.ModuleList(Block(dim, 4, **attributes) for _ in range(depth))
        self.norm_f = RMSNorm(dim)
        self.head = nn.Linear(dim // neck * specials, classes)

    def forward(self, images: Tensor) -> Tensor:
        x = self.patch_embed.proj(images).flatten(2).transpose(1, 2)
        specials = self.cls_token
        if hasattr(self, "pos_embed_cls"):
            x, specials = x + self.pos_embed, specials + self.pos_embed_cls
        rows = list(x.unbind(1))
        for place, special in zip(self.places, specials[0], strict=True):
            rows.insert(place, special.expand(len(x), -1))
        branch = torch.stack(rows, 1)
        if not hasattr(self, "pos_embed_cls"):
            branch = branch + self.pos_embed
        residual, places = torch.zeros_like(branch), self.places
        for index, block in enumerate(self.layers):
            if self.reduce and index:
                branch, residual, place = self.reduce(index, branch, residual, places[0])
                places = [place]
            residual = residual + branch
            branch = block.mixer(block.norm(residual))
        read = self.norm_f(residual + branch)[:, places]
        if hasattr(self, "neck"):
            return self.head(self.norm_neck(self.neck(read).flatten(1)))
        return self.head(read.flatten(1))

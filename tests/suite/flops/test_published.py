"""Printed FLOPs come out of their authors' count; what fvcore sees is counted by fvcore."""

from functools import cache

import pytest
import timm
import torch
from fvcore.nn import FlopCountAnalysis
from torch import Tensor, nn

from backbones import BACKBONES, create_model, without_weights
from backbones.models.sizes import SEGMENTERS, UPERNETS
from backbones.shape import Shape
from suite.flops.closed_form import dense, total
from suite.flops.published import COUNTS, Printed, figures_of, printed, seen_by_fvcore


@cache
def shape_of(backbone: str) -> Shape:
    return without_weights(backbone).describe()


@pytest.mark.parametrize("row", list(printed()), ids=lambda row: row.backbone)
def test_printed_figures_come_out(row: Printed) -> None:
    assert (row.here(shape_of(row.backbone)) != row.giga) == bool(row.doubt)


# methods.md of the project's notes, section 2.2 and 3.2: computed there by hand, to three or two
# decimals
BY_HAND = {
    "vim_tiny": ("one direction", 1.449),
    "vim_small": ("one direction", 5.077),
    "vim_base": ("one direction", 18.868),
    "videomamba_tiny": ("fvcore", 1.08),
    "videomamba_small": ("fvcore", 4.25),
    "videomamba_middle": ("fvcore", 12.66),
    "videomamba_base": ("fvcore", 16.87),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_counts_worked_out_by_hand(name: str) -> None:
    count, giga = BY_HAND[name]
    digits = len(str(giga).partition(".")[2])
    assert round(COUNTS[count](shape_of(name)) / 1e9, digits) == giga


def test_the_true_figure_is_far_above_what_fvcore_sees_of_a_scan() -> None:
    shape = shape_of("videomamba_tiny")
    assert total(dense(shape), "macs") / seen_by_fvcore(shape) > 1.6


class Visible(nn.Module):
    """A published VideoMamba without its fused kernels, as a jit trace shows it."""

    def __init__(self, dim: int, depth: int, side: int, patch: int, classes: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, dim, patch, stride=patch)
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(depth + 1))
        self.into = nn.ModuleList(nn.Linear(dim, 4 * dim, bias=False) for _ in range(depth))
        self.out = nn.ModuleList(nn.Linear(2 * dim, dim, bias=False) for _ in range(depth))
        self.head = nn.Linear(dim, classes)

    def forward(self, images: Tensor) -> Tensor:
        x = self.patches(images).flatten(2).transpose(1, 2)
        x = torch.cat([x[:, :1], x], dim=1)
        for norm, into, out in zip(self.norms, self.into, self.out, strict=False):
            x = x + out(into(norm(x)).chunk(2, dim=-1)[0])
        logits: Tensor = self.head(self.norms[-1](x)[:, 0])
        return logits


def test_fvcore_counts_the_same_of_what_it_sees() -> None:
    seen = FlopCountAnalysis(Visible(8, 3, 5, 4, 7), torch.zeros(1, 3, 20, 20))
    seen.unsupported_ops_warnings(enabled=False)
    shape = Shape("hand", 3, 8, 16, 4, 1, 4, 2, (1, 4, 4), 3, 25, 1, 7)
    assert seen.total() == seen_by_fvcore(shape)


def test_fvcore_counts_the_same_of_attention_without_its_two_products() -> None:
    model = timm.create_model("vit_tiny_patch16_224", depth=2).eval()
    seen = FlopCountAnalysis(model, torch.zeros(1, 3, 224, 224))
    seen.unsupported_ops_warnings(enabled=False)
    with torch.device("meta"):
        shape = create_model("vit_tiny", layers=2).describe()
    assert seen.total() == seen_by_fvcore(shape)
    assert "aten::scaled_dot_product_attention" in seen.unsupported_ops()


def test_every_family_but_two_has_a_figure() -> None:
    lacking = {name for name in BACKBONES if not figures_of(name)}
    assert {
        name.split("_")[0]
        for name in lacking
        if not name.endswith(("nano", "pico", "stride8", "_64", "_64_full"))
        and name not in SEGMENTERS | UPERNETS
    } == {"mambareg", "adventurer"}


def test_the_usual_size_comes_first() -> None:
    assert [row.giga for row in figures_of("videomamba_tiny")] == ["1.1", "4.3", "7.1"]
    assert figures_of("videomamba_tiny_video")[0].backbone == "videomamba_tiny_video[frames=16]"

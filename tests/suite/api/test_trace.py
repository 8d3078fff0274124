"""What became of every patch: the same as the gallery tells, and a picture of it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import suite
from backbones import create_model
from backbones.base import Backbone

IMAGES = torch.randn(3, 3, 40, 40, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def vim(small: Callable[..., Any]) -> Backbone:
    torch.manual_seed(0)
    return create_model("vim_mini").requires_grad_(False)


@pytest.mark.parametrize("method", ["mtr", "tome", "evit", "random", "tome[order=appended]"])
def test_every_patch_is_accounted_for(vim: Backbone, method: str) -> None:
    reduced = suite.reduce(vim, method, counts=[20, 0, 15])
    trace = reduced.trace(IMAGES)
    assert trace.kept.shape == trace.owner.shape == trace.size.shape == (3, 10, 10)
    assert trace.lengths == reduced.plan.lengths == (101, 81, 81, 66)
    assert (trace.kept.sum((1, 2)) == 65).all()
    own = torch.arange(100).view(10, 10)
    assert torch.equal(trace.kept, trace.owner == own)
    for kept, owner, size in zip(trace.kept, trace.owner, trace.size, strict=True):
        # every patch lives in a token that stands, or is gone
        living = owner[owner >= 0]
        assert kept.flatten()[living].all()
        counted = torch.bincount(living, minlength=100).view(10, 10).float()
        assert torch.equal(size, counted)


def test_a_clip_has_a_frame_axis() -> None:
    model = create_model(
        "videomamba_tiny_video", dim=16, depth=3, states=4, image_size=32, classes=4
    )
    clips = torch.randn(2, 3, 8, 32, 32)
    trace = suite.reduce(model, "tome", counts=6).trace(clips)
    assert trace.kept.shape == (2, 8, 2, 2)
    assert [axes.images[0].get_array().shape for axes in trace.show().axes] == [
        (32, 256, 3), (32, 256, 3), (32, 256, 3), (32, 256, 3),
    ]  # fmt: skip


def test_a_smaller_image_has_a_smaller_grid(vim: Backbone) -> None:
    trace = suite.reduce(vim, "downsample", budget=0.5).trace(IMAGES)
    assert trace.kept.shape == (3, 7, 7)
    assert trace.kept.all()
    assert "49 of 49 patches kept" in repr(trace)


def test_a_window_has_no_patches_of_the_image(vim: Backbone) -> None:
    with pytest.raises(suite.UserError, match="trace a method that removes tokens"):
        suite.reduce(vim, "crop-shrink", budget=0.5).trace(IMAGES)


def test_the_picture_shows_each_image_above_its_tokens(vim: Backbone) -> None:
    trace = suite.reduce(vim, "random", budget=0.5).trace(IMAGES)
    figure = trace.show()
    assert figure._repr_png_().startswith(b"\x89PNG")
    top, below = figure.axes[0], figure.axes[3]
    assert top.get_title().startswith(f"class {int(trace.logits[0].argmax())}, ")
    legend = figure.get_supxlabel().replace("\n", " ")
    assert legend.startswith("clear: kept; ")
    assert legend.endswith("dark: dropped")
    mean = torch.tensor(vim.preprocessing.mean).view(3, 1, 1)
    std = torch.tensor(vim.preprocessing.std).view(3, 1, 1)
    pixels = (255 * (IMAGES[0] * std + mean).clamp(0, 1)).round().byte().permute(1, 2, 0)
    assert np.array_equal(top.images[0].get_array(), pixels)
    drawn = np.asarray(below.images[0].get_array()).reshape(10, 16, 10, 16, 3)
    dark = drawn.max((1, 3, 4)) < 80
    assert np.array_equal(dark, ~trace.kept[0].numpy())
    grey = trace.show(torch.full((3, 3, 40, 40), 0.5))
    assert (np.asarray(grey.axes[0].images[0].get_array()) == 128).all()

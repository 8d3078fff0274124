"""What is published of a model is found by its weights and the data, and judged by what the images can tell."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backbones.checkpoints.published import published_file
from suite.analysis.published_accuracy import accuracy_warning, published_result
from suite.stats.correctness import Outcomes
from suite.stats.hits import Hits


def model(source: str, path: str) -> Any:
    provenance = SimpleNamespace(source=source, path=path)
    return SimpleNamespace(provenance=provenance, task="classification")


def data(name: str, split: str, classes: int = 1000, kind: str = "images") -> Any:
    return SimpleNamespace(
        name=name, split=split, classes=("",) * classes, kind=kind, task="classification"
    )


VAL = data("imagenet", "val")
VIM = published_file("vim_tiny")


@pytest.mark.parametrize(
    ("backbone", "source", "path", "seen", "top1"),
    [
        ("vim_tiny", VIM.source, "/cache/0a1b", VAL, 76.1),
        ("vim_tiny", "w/vim_t_midclstok_76p1acc.pth", "w/vim_t_midclstok_76p1acc.pth", VAL, 76.1),
        (
            "vim_tiny",
            "mine.pth",
            "mine.pth",
            VAL,
            76.1,
        ),  # renamed, or not loaded from the right file
        ("vim_tiny", VIM.source, "x", data("imagenet", "train"), None),
        ("vim_tiny", VIM.source, "x", data("imagefolder", "val"), None),
        ("vim_nano", "bundled", "vim_nano.safetensors", data("fashion-clutter", "test", 10), 91.97),
        ("vim_nano", "bundled", "vim_nano.safetensors", data("fashion-clutter", "dev", 10), 92.92),
        (
            "vim_nano",
            "mine.safetensors",
            "vim_nano.safetensors",
            data("fashion-clutter", "test", 10),
            None,
        ),
        (
            "videomamba_middle_video",
            "k/videomamba_m16_k400_mask_ft_f8_res224.pth",
            "k/videomamba_m16_k400_mask_ft_f8_res224.pth",
            data("video", "val", 400, "videos"),
            82.0,
        ),
        ("videomamba_middle_video", "k.pth", "k.pth", data("frames", "val", 174, "videos"), 67.3),
    ],
)
def test_the_row_that_speaks_of_these_weights_and_data(
    backbone: str, source: str, path: str, seen: Any, top1: float | None
) -> None:
    row = published_result(backbone, model(source, path), seen)
    assert (row.top1 if row else None) == top1


def test_untrained_weights_are_expected_to_do_nothing() -> None:
    assert published_result("vim_tiny", SimpleNamespace(provenance=None), VAL) is None  # type: ignore[arg-type]


def outcomes(right: int, count: int) -> Outcomes:
    return Hits("none", np.arange(count)[None] < right, np.arange(count), 0.0)


@pytest.mark.parametrize(
    ("right", "count", "loud"),
    [
        (38050, 50000, False),
        (37200, 50000, True),
        (50, 50000, True),
        (361, 500, False),
        (300, 500, True),
    ],
)
def test_loud_where_the_images_show_it(right: int, count: int, loud: bool) -> None:
    found = accuracy_warning(outcomes(right, count), "vim_tiny", VIM)
    assert bool(found) is loud
    assert (
        not loud or "76.1 % was published of it on imagenet, vim_t_midclstok_76p1acc.pth" in found
    )


@given(st.integers(20, 400))
def test_the_published_share_itself_is_never_off(count: int) -> None:
    assert accuracy_warning(outcomes(round(0.761 * count), count), "vim_tiny", VIM) == ""

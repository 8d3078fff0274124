"""Reasons against a comparison, one at a time."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from backbones.provenance import Provenance
from suite.data.base import UNDIVIDED
from suite.reproduce.listed import find_table
from suite.reproduce.reasons import (
    data_reasons,
    flops_reasons,
    stated_reasons,
    weights_reasons,
)

AMVIM = find_table("amvim-vim-small")
TOME = AMVIM.value("tome", 0.134)
FILE = "hf://hustvl/Vim-small-midclstok/vim_s_midclstok_80p5acc.pth"
WEIGHTS = Provenance(FILE, "/cache/vim_s_midclstok_80p5acc.pth", "0", "torch", "model", 1, "0")


def images(name: str, split: str) -> Any:
    """What is read of a data set: its name and its split."""
    return SimpleNamespace(name=name, split=split)


def test_a_table_tells_its_own() -> None:
    assert stated_reasons(AMVIM, TOME) == [
        "twelve sites, the first before block 0, where the suite has none",
        f"doubtful: {AMVIM.doubt}",
    ]
    assert AMVIM.dense
    assert stated_reasons(AMVIM, AMVIM.dense) == []
    retrained = find_table("rmeeto-vim-small")
    assert stated_reasons(retrained, retrained.value("rmeeto", None)) == [
        "retrained in the source (15 epochs), not here"
    ]
    unstated = find_table("evit-deit-small")
    assert stated_reasons(unstated, unstated.value("evit", None)) == [
        "retrained in the source, not here"
    ]


@pytest.mark.parametrize(
    ("dense", "reduced", "reason"),
    [
        (5_077_000_000, 4_397_000_000, ""),
        (5_912_000_000, 4_397_000_000, "other FLOPs convention: the dense model has 5.08 G in the"),
        (5_077_000_000, 4_000_000_000, "other work: 4.4 G in the source, 4 G here"),
    ],
)
def test_other_flops_are_told(dense: int, reduced: int, reason: str) -> None:
    found = flops_reasons(AMVIM, TOME, {"paper": dense}, {"paper": reduced})
    assert "".join(found).startswith(reason)
    assert bool(found) == bool(reason)
    # of a cell without a plan the dense model alone is compared
    assert flops_reasons(AMVIM, TOME, {"paper": 5_077_000_000}, {}) == []


def test_other_weights_are_told() -> None:
    assert weights_reasons(AMVIM, WEIGHTS) == []
    copy = replace(WEIGHTS, source="./vim_s_midclstok_80p5acc.pth")
    assert weights_reasons(AMVIM, copy) == []
    other = replace(WEIGHTS, source="own.pth", path="/home/own.pth")
    assert weights_reasons(AMVIM, other) == [f"other weights: own.pth instead of {FILE}"]
    assert weights_reasons(AMVIM, None) == [f"other weights: random ones instead of {FILE}"]


def test_other_data_are_told() -> None:
    assert data_reasons(AMVIM, images("imagenet", "val")) == []
    assert data_reasons(AMVIM, images("imagenet", UNDIVIDED)) == []
    assert data_reasons(AMVIM, images("imagefolder", "val")) == [
        "other data: imagefolder instead of imagenet"
    ]
    assert data_reasons(AMVIM, images("imagenet", "train")) == [
        "other images: split train instead of val"
    ]

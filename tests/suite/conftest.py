"""A small backbone and a data set that counts, for runs that take a moment."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from backbones import BACKBONES
from backbones.vim import Vim
from backbones.vision_mamba import MambaConfig
from backbones.vit import ViT, ViTConfig
from suite.data import DATASETS
from suite.data.base import Dataset, Grid, Manifest, Request
from suite.settings import RunSpec, build_spec

SIDE = 40


class Blots(Dataset):
    """Thirty images of noise in three classes; the object covers the top left cells, more of them by index."""

    name = "blots"
    classes = ("one", "two", "three")
    mean = std = (128 / 255,) * 3
    decoded: ClassVar[Counter[int]] = Counter()

    def __init__(self, request: Request) -> None:
        self.split = request.split or "test"
        self.labels = np.arange(30, dtype=np.int64) % 3

    def image(self, index: int) -> NDArray[np.uint8]:
        return np.random.default_rng(index).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)

    def sample(self, index: int, image_size: int) -> NDArray[np.float32]:
        assert image_size == SIDE
        self.decoded[index] += 1
        return (self.image(index).transpose(2, 0, 1) / np.float32(128) - 1).astype(np.float32)

    def foreground(self, index: int, grid: Grid) -> NDArray[np.bool_] | None:
        return np.arange(grid[0] * grid[1]).reshape(grid) <= index

    def identity(self) -> Manifest:
        return {"drawn": 1}


def vim_mini(**overrides: Any) -> Vim:
    """Four blocks over 10 x 10 patches."""
    settings = {"dim": 16, "depth": 4, "states": 4, "image_size": SIDE, "patch": 4, "stride": 4, "classes": 3}
    return Vim("vim_mini", MambaConfig(**(settings | overrides)))


def deit_mini(**overrides: Any) -> ViT:
    """Three layers of attention and MLP over 10 x 10 patches."""
    settings = {"dim": 16, "heads": 2, "layers": 3, "image_size": SIDE, "patch": 4, "classes": 3}
    return ViT("deit_mini", ViTConfig(**(settings | overrides)))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small products are done sooner by one thread than by several that wait for each other on shared cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., RunSpec]]:
    """A maker of specs on `vim_mini` and `blots`, registered for the test beside `deit_mini`."""
    monkeypatch.setitem(BACKBONES._added, "vim_mini", vim_mini)
    monkeypatch.setitem(BACKBONES._added, "deit_mini", deit_mini)
    monkeypatch.setitem(DATASETS._added, "blots", Blots)
    Blots.decoded.clear()

    def spec(**changed: Any) -> RunSpec:
        values: dict[str, Any] = {
            "backbones": ("vim_mini",),
            "checkpoint": "random",
            "data": "blots",
            "images": "all",
            "methods": ("mtr", "tome"),
            "budgets": (0.3, 0.5),
            "seeds": 2,
            "batch": 7,
            "shard": 12,
            "gallery": 2,
            "device": "cpu",
            "threads": 1,
        }
        return build_spec(**(values | changed))

    yield spec
    Blots.decoded.clear()


@pytest.fixture
def decoded() -> Counter[int]:
    """How often each image of `blots` was decoded."""
    return Blots.decoded


@pytest.fixture
def content() -> Callable[[Path], dict[str, bytes]]:
    """What the files of a folder hold."""

    def read(folder: Path) -> dict[str, bytes]:
        return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}

    return read

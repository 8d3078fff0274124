"""A small backbone with weights in a file, and pictures in class folders with splits train and test."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from backbones import BACKBONES
from backbones.models.sizes import MambaConfig
from backbones.models.vim import Vim
from suite.config.spec_file import build
from suite.retrain.spec import RetrainSpec


@pytest.fixture(autouse=True)
def _torch_as_it_was() -> Iterator[None]:
    precision = torch.get_float32_matmul_precision()
    state = torch.get_rng_state()
    yield
    torch.set_float32_matmul_precision(precision)
    torch.set_rng_state(state)


@pytest.fixture(autouse=True)
def _trainings_at_a_glance(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A training is not rehearsed to be timed, but in tests that ask for `rehearsed`."""
    if "rehearsed" not in request.fixturenames:
        monkeypatch.setattr("suite.retrain.train.seconds_left", lambda trainer: 1.0)


@pytest.fixture
def rehearsed() -> None:
    """See `_trainings_at_a_glance`."""


def vim_sprig(**overrides: Any) -> Vim:
    """Four narrow blocks over 8 x 8 patches."""
    sizes = {"dim": 16, "depth": 4, "states": 4, "image_size": 32, "patch": 4, "stride": 4}
    return Vim("vim_sprig", MambaConfig(**({**sizes, "classes": 3} | overrides)))


def draw(folder: Path, count: int, start: int) -> None:
    """`count` pictures of each of three classes, told by which third of them is bright."""
    for number, name in enumerate(("left", "middle", "right")):
        (folder / name).mkdir(parents=True)
        for index in range(count):
            rng = np.random.default_rng([start, number, index])
            pixels = rng.integers(0, 160, (24, 24, 3))
            pixels[:, 8 * number : 8 * number + 8] += 90
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{index}.png")


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    draw(folder / "photos" / "train", 4, 0)
    draw(folder / "photos" / "test", 6, 1)
    torch.manual_seed(3)
    save_file(vim_sprig().state_dict(), folder / "first.safetensors")
    return folder


@pytest.fixture
def retrain_spec(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., RetrainSpec]:
    """A maker of settings: two steps of six images an epoch, two epochs."""
    monkeypatch.setitem(BACKBONES._added, "vim_sprig", vim_sprig)

    def make(**changed: Any) -> RetrainSpec:
        values: dict[str, Any] = {
            "backbones": ("vim_sprig",),
            "checkpoint": str(pictures / "first.safetensors"),
            "data": f"imagefolder:{pictures / 'photos'}",
            "images": "all",
            "methods": ("tome", "random"),
            "budgets": (0.3,),
            "epochs": 2,
            "train_batch": 6,
            "learning_rate": 1e-2,
            "seeds": 2,
            "gallery": 0,
            "device": "cpu",
            "threads": 1,
            "loaders": 0,
        }
        return build(RetrainSpec, values | changed)

    return make

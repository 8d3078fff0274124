"""Put this folder on the path, as the scripts import each other; importlib mode does not."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from backbones import BACKBONES
from suite.data import DATASETS

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def one_thread() -> Iterator[None]:
    """All the work in this thread, whose clock is read."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is unknown to the tests after it, which go through all names."""
    for known in (BACKBONES, DATASETS):
        monkeypatch.setattr(known, "_added", dict(known._added))

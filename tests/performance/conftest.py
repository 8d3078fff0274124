"""Put this folder on the path, as the scripts import each other; importlib mode does not."""

import sys
from pathlib import Path

import pytest

from backbones import BACKBONES
from suite.data import DATASETS

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is unknown to the tests after it, which go through all names."""
    for known in (BACKBONES, DATASETS):
        monkeypatch.setattr(known, "_added", dict(known._added))

"""Straight-line models and published layouts are modules beside the tests, which importlib mode does not look into."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from backbones.base import Backbone

sys.path.insert(0, str(Path(__file__).parent))


def shaken(model: Backbone, seed: int = 0) -> Backbone:
    """The model with every parameter moved, so that none is at a value where a mistake would not show."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(
                torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype), alpha=0.3
            )
    return model


@pytest.fixture(scope="session", name="shaken")
def shaken_fixture() -> Callable[..., Backbone]:
    """`shaken`, for tests of models."""
    return shaken

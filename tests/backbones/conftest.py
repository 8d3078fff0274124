"""Fixtures of the backbones' tests.

Straight-line models and published layouts are modules beside the tests, which pytest's importlib
mode does not find by itself.
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from backbones.base import Backbone

sys.path.insert(0, str(Path(__file__).parent))


def shaken(model: Backbone, seed: int = 0) -> Backbone:
    """The model with every parameter moved."""
    # At an initial value of 0 or 1 a mistake would not show.
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


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """One thread for many small operations, which would only wait for others."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)

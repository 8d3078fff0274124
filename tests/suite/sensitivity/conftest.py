"""Specifications of analyses on the small backbone and data set of `tests/suite`."""

from collections.abc import Callable
from typing import Any

import pytest

from suite.config.run_spec import RunSpec
from suite.config.spec_file import build
from suite.sensitivity.spec import SensitivitySpec


@pytest.fixture
def asking(small: Callable[..., RunSpec]) -> Callable[..., SensitivitySpec]:
    """A maker of specs on `vim_mini` and `blots`: three images, sixteen patches, two blocks."""

    def spec(**changed: Any) -> SensitivitySpec:
        values: dict[str, Any] = {
            "backbone": "vim_mini",
            "checkpoint": "random",
            "data": "blots",
            "split": "dev",
            "images": 3,
            "zeroed": 2,
            "layers": "0,3",
            "positions": "every-3",
            "methods": ("mtr", "random"),
            "places": 3,
            "batch_size": 16,
            "device": "cpu",
            "threads": 1,
        }
        return build(SensitivitySpec, values | changed)

    return spec

"""Every test begins on one thread: where cores are shared, OpenMP's barriers stall small work a tenfold.

Continuous integration draws the same examples every time; elsewhere hypothesis goes on looking for new ones.
"""

import os

import hypothesis
import pytest
import torch

hypothesis.settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    hypothesis.settings.load_profile("ci")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)

"""Every test begins on one thread: where cores are shared, OpenMP's barriers stall small work a tenfold."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)

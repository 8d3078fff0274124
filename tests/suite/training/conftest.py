"""What training leaves behind in torch's global state is put back."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def _torch_as_it_was() -> Iterator[None]:
    precision = torch.get_float32_matmul_precision()
    state = torch.get_rng_state()
    yield
    torch.set_float32_matmul_precision(precision)
    torch.set_rng_state(state)

"""Mamba-2's chunks on a CPU take little more time than their matrix products alone."""

import pytest
import torch
from thread_clock import best
from torch import Tensor

from backbones.ssd import HeadInputs, ssd
from backbones.ssd.chunked import chunk_length

TOKENS, STATES = 198, 64  # of a published Adventurer at 224 pixels, the mean token included


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(("width", "batch"), [(512, 32), (1024, 16)])
def test_chunks_take_at_most_half_again_as_long_as_their_products(width: int, batch: int) -> None:
    heads, chunk = width // 64, chunk_length(TOKENS)
    chunks = -(-TOKENS // chunk)
    convolved = torch.randn(batch, TOKENS, width + 2 * STATES)
    u, B, C = convolved.split([width, STATES, STATES], dim=2)
    inputs = HeadInputs(
        u, torch.randn(batch, TOKENS, heads), -torch.ones(heads), B, C, torch.ones(heads),
        torch.zeros(heads),
    )  # fmt: skip

    def random(count: int, *sides: int) -> Tensor:
        return torch.randn(count, *sides)

    every, between = batch * chunks, batch * (chunks - 1)
    pairs = [
        (random(every, chunk, STATES), random(every, STATES, chunk)),
        (random(every * heads, chunk, chunk), random(every * heads, chunk, 64)),
        (random(between, STATES, chunk), random(between, chunk, width)),
        (random(between, chunk, STATES), random(between, STATES, width)),
    ]
    with torch.no_grad():
        ours = best(lambda: ssd(inputs, "cpu"))
        products = best(lambda: [torch.bmm(*pair) for pair in pairs])
    assert ours <= 1.5 * products

"""A row's product does not depend on the rows beside it."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from backbones.layers import batch_invariant
from backbones.layers.batch_invariant import convolve_silu, gelu, linear

SHAPES = ((12, 384), (64, 256), (96, 41), (192, 768), (384, 44), (768, 384))


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("fast", [False, True])
@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 70) | st.integers(70, 700),
    first=st.integers(0, 50),
    shape=st.sampled_from(SHAPES),
)
def test_bits_of_a_row_are_its_own(
    fast: bool, rows: int, first: int, shape: tuple[int, int]
) -> None:
    generator = torch.Generator().manual_seed(rows)
    inputs, outputs = shape
    x, weight = (
        torch.randn(751, inputs, generator=generator),
        torch.randn(outputs, inputs, generator=generator),
    )
    whole = linear(x, weight, fast=fast)
    assert torch.equal(
        linear(x[first : first + rows], weight, fast=fast), whole[first : first + rows]
    )
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1 if threads > 1 else 2)
        assert torch.equal(linear(x, weight, fast=fast), whole)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("fast", [False, True])
def test_is_the_product(fast: bool) -> None:
    x, weight = torch.randn(2, 3, 40), torch.randn(7, 40)
    expected = torch.einsum("blk,mk->blm", x.double(), weight.double()).float()
    torch.testing.assert_close(linear(x, weight, fast=fast), expected, rtol=1e-5, atol=1e-5)


def test_gradients_pass_through_the_padding() -> None:
    x, weight = torch.randn(3, 5, dtype=torch.float64), torch.randn(2, 5, dtype=torch.float64)
    assert torch.autograd.gradcheck(linear, (x.requires_grad_(), weight.requires_grad_()))


@pytest.mark.parametrize(("width", "side"), [(20, 7), (7, 3), (96, 14), (24, 1)])
def test_the_silu_of_a_convolved_image_is_its_own(width: int, side: int) -> None:
    # numbers of an image that no vector divides
    layer = nn.Conv2d(width, width, 3, padding=1, groups=width)
    images = torch.randn(9, width, side, side)
    with torch.no_grad():
        whole = convolve_silu(layer, images)
        torch.testing.assert_close(whole, functional.silu(layer(images)))
        for rows in (slice(0, 1), slice(3, 8), slice(8, 9)):
            assert torch.equal(convolve_silu(layer, images[rows]), whole[rows])
            assert torch.equal(gelu(images[rows]), gelu(images)[rows])
        torch.testing.assert_close(gelu(images), functional.gelu(images))
        double = convolve_silu(layer.double(), images.double())
    torch.testing.assert_close(double.float(), whole)
    assert convolve_silu(layer, images.double()).requires_grad


def test_random_numbers_of_the_user_stay_where_they_are() -> None:
    for probe in (batch_invariant._has_onednn, batch_invariant._has_onednn_activations):
        probe.cache_clear()
    before = torch.random.get_rng_state()
    with torch.no_grad():
        linear(torch.ones(20, 8), torch.ones(4, 8), fast=True)
        gelu(torch.ones(2, 3, 5, 5))
    assert torch.equal(torch.random.get_rng_state(), before)

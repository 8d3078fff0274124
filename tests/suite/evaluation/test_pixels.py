"""Logits at pixels: rows of whole maps against PyTorch, those of windows against every window by itself."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from backbones.dense.windows import Layout
from suite.evaluation.pixels import of_maps, of_windows


@pytest.mark.parametrize(("places", "size"), [(14, 56), (7, 20), (32, 512), (9, 9), (20, 7)])
def test_interpolation_is_that_of_pytorch(places: int, size: int) -> None:
    logits = torch.randn(2, 3, places, places + 1, generator=torch.Generator().manual_seed(size))
    expected = F.interpolate(logits, (size, size + 5), mode="bilinear", align_corners=False)
    at_rows = of_maps(logits, size, size + 5)
    for rows in (slice(None), slice(size // 3, size // 2), slice(size - 1, size)):
        torch.testing.assert_close(at_rows(rows), expected[:, :, rows], atol=1e-5, rtol=1e-5)


def corners(length: int, window: int, stride: int) -> list[int]:
    """Windows one after the other until one reaches the end, which is moved back to end there."""
    starts = [0]
    while starts[-1] + window < length:
        starts.append(starts[-1] + stride)
    starts[-1] = max(0, min(starts[-1], length - window))
    return starts


def by_hand(logits: Tensor, layout: Layout, height: int, width: int) -> Tensor:
    """The mean over all windows that show a pixel, pixel by pixel, resized at the end."""
    high, wide = layout.rows, layout.columns
    whole = F.interpolate(logits.double(), (high, wide), mode="bilinear")
    places = [
        (top, left)
        for top in corners(layout.height, high, layout.stride)
        for left in corners(layout.width, wide, layout.stride)
    ]
    assert list(layout.places) == places
    assert layout.count == len(places) == len(logits)
    mean = torch.zeros(logits.shape[1], layout.height, layout.width, dtype=torch.float64)
    for row in range(layout.height):
        for column in range(layout.width):
            seen = [
                whole[window, :, row - top, column - left]
                for window, (top, left) in enumerate(places)
                if 0 <= row - top < high and 0 <= column - left < wide
            ]
            mean[:, row, column] = torch.stack(seen).mean(0)
    return F.interpolate(mean[None], (height, width), mode="bilinear")


@settings(max_examples=30, deadline=None)
@given(
    st.integers(5, 7),
    st.integers(0, 9),
    st.integers(0, 4),
    st.integers(1, 5),
    st.integers(3, 17),
    st.integers(3, 17),
)
def test_every_pixel_is_the_mean_of_the_windows_that_show_it(
    window: int, longer: int, higher: int, stride: int, height: int, width: int
) -> None:
    # one is a row higher than wide, as a whole picture may be
    layout = Layout(window + 1 + higher, window + longer, window + 1, window, stride)
    generator = torch.Generator().manual_seed(height)
    logits = torch.randn(layout.count, 3, 3, 4, generator=generator)
    expected = by_hand(logits, layout, height, width)
    at_rows = of_windows(logits, layout, height, width)
    whole = at_rows(slice(0, height))
    torch.testing.assert_close(whole.double(), expected, atol=1e-5, rtol=1e-5)
    for row in range(height):
        # to the bit: what is found of a pixel does not depend on how the picture is cut
        assert torch.equal(at_rows(slice(row, row + 1)), whole[:, :, row : row + 1])

"""Sliding windows against every window and pixel by itself, on odd sizes."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from backbones.common.errors import UserError
from backbones.dense.windows import sliding, window_starts


def corners(length: int, window: int, stride: int) -> list[int]:
    """Windows one after the other until one reaches the end, which is moved back to end there."""
    starts = [0]
    while starts[-1] + window < length:
        starts.append(starts[-1] + stride)
    starts[-1] = max(0, min(starts[-1], length - window))
    return starts


def by_hand(layer: nn.Module, image: Tensor, window: int, stride: int) -> Tensor:
    """The mean over all windows that show a pixel, pixel by pixel, of an image (3, H, W)."""
    height, width = image.shape[1:]
    found = []
    for top in corners(height, window, stride):
        for left in corners(width, window, stride):
            part = image[:, top : top + window, left : left + window]
            found.append((top, left, layer(part[None])[0]))
    out = torch.zeros(2, height, width, dtype=image.dtype)
    for row in range(height):
        for column in range(width):
            seen = [
                logits[:, row - top, column - left]
                for top, left, logits in found
                if 0 <= row - top < logits.shape[1] and 0 <= column - left < logits.shape[2]
            ]
            out[:, row, column] = torch.stack(seen).mean(0)
    return out


@given(
    st.integers(1, 13), st.integers(1, 13), st.integers(2, 7), st.integers(1, 7), st.integers(0, 9)
)
def test_every_pixel_is_the_mean_of_the_windows_that_show_it(
    height: int, width: int, window: int, stride: int, seed: int
) -> None:
    stride = min(stride, window)
    torch.manual_seed(seed)
    # its border is padded, so that a window's logits depend on where it ends
    layer = nn.Conv2d(3, 2, 3, padding=1).double()
    images = torch.randn(2, 3, height, width, dtype=torch.float64)
    with torch.no_grad():
        whole = sliding(layer, images, window, stride)
        for row in range(2):
            expected = by_hand(layer, images[row], window, stride)
            torch.testing.assert_close(whole[row], expected, atol=1e-12, rtol=0)


def test_the_published_windows_of_512_by_341() -> None:
    assert window_starts(512, 512, 341) == [0]
    assert window_starts(683, 512, 341) == [0, 171]
    assert window_starts(1100, 512, 341) == [0, 341, 588]
    assert window_starts(853, 512, 341) == [0, 341]


def test_coarse_logits_are_enlarged_to_their_window_first() -> None:
    def coarse(part: Tensor) -> Tensor:
        return part.mean((2, 3), keepdim=True)[:, :1]

    images = torch.arange(2 * 3 * 4 * 6, dtype=torch.float64).view(2, 3, 4, 6)
    logits = sliding(coarse, images, 4, 2)
    left, right = images[:, :1, :, :4].mean((2, 3)), images[:, :1, :, 2:].mean((2, 3))
    assert torch.equal(logits[:, :, 0, 0], left)
    torch.testing.assert_close(logits[:, :, 3, 2], (left + right) / 2)
    assert torch.equal(logits[:, :, 0, 5], right)


@pytest.mark.parametrize(("window", "stride"), [(4, 5), (4, 0)])
def test_windows_that_leave_pixels_out_are_refused(window: int, stride: int) -> None:
    with pytest.raises(UserError, match=f"windows of {window} pixels cannot be moved by {stride}"):
        window_starts(9, window, stride)

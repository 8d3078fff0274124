"""Position embeddings on another grid, against bicubic interpolation written out."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from backbones.layers.positions import interpolate_pos_embed

SHARPNESS = -0.75  # the cubic convolution kernel's parameter (Keys 1981) as PyTorch sets it


def cubic(distance: float) -> float:
    x, a = abs(distance), SHARPNESS
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0


def resampled_by_hand(image: Tensor, new: tuple[int, int]) -> Tensor:
    """(h, w, C) to (h', w', C): sixteen neighbours each, edges repeated, pixel centres aligned."""
    height, width, channels = image.shape
    out = torch.zeros(*new, channels, dtype=torch.float64)
    for row in range(new[0]):
        for column in range(new[1]):
            y, x = (row + 0.5) * height / new[0] - 0.5, (column + 0.5) * width / new[1] - 0.5
            for i in range(math.floor(y) - 1, math.floor(y) + 3):
                for j in range(math.floor(x) - 1, math.floor(x) + 3):
                    pixel = image[min(max(i, 0), height - 1), min(max(j, 0), width - 1)]
                    out[row, column] += cubic(y - i) * cubic(x - j) * pixel
    return out


sides = st.integers(1, 5)


@given(old=st.tuples(sides, sides), new=st.tuples(sides, sides), data=st.data())
@settings(max_examples=30, deadline=None)
def test_patches_are_resampled_and_the_class_token_goes_to_its_place_unmixed(
    old: tuple[int, int], new: tuple[int, int], data: st.DataObject
) -> None:
    patches = torch.randn(
        old[0] * old[1], 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )
    cls = torch.full((1, 3), 1e6, dtype=torch.float64)
    place = data.draw(st.integers(0, len(patches)))
    embedding = torch.cat([patches[:place], cls, patches[place:]])[None]
    goes_to = data.draw(st.integers(0, new[0] * new[1]))
    result = interpolate_pos_embed(embedding, place, old, goes_to, new)[0]
    assert torch.equal(result[goes_to : goes_to + 1], cls)
    rest = torch.cat([result[:goes_to], result[goes_to + 1 :]])
    expected = resampled_by_hand(patches.view(*old, 3), new).flatten(0, 1)
    torch.testing.assert_close(rest, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("side", [1, 7, 14])
def test_the_same_grid_is_the_same_embedding(side: int) -> None:
    embedding = torch.randn(1, side * side + 1, 4)
    result = interpolate_pos_embed(
        embedding, side * side // 2, (side, side), side * side // 2, (side, side)
    )
    torch.testing.assert_close(result, embedding)

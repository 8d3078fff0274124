"""What may be written for layers and positions."""

import pytest

from backbones.common.errors import UserError
from suite.sensitivity.selection import select, select_patches


def test_all_some_and_every_so_many() -> None:
    assert select("all", (0, 1, 3), "layers") == (0, 1, 3)
    assert select("every-3", range(8), "layers") == (0, 3, 6)
    assert select("every-2", (0, 1, 3, 5), "layers") == (0, 3)
    assert select("5, 0,5", range(8), "layers") == (0, 5)


def test_a_grid_is_thinned_both_ways_in_every_frame() -> None:
    assert select_patches("every-2", (1, 3, 4)) == (0, 2, 8, 10)
    assert select_patches("every-2", (2, 2, 2)) == (0, 4)
    assert select_patches("all", (2, 1, 2)) == (0, 1, 2, 3)
    assert select_patches("3,1", (1, 2, 2)) == (1, 3)


@pytest.mark.parametrize("text", ["", ",", "8", "-1", "2", "every-0", "every-", "some", "1;3"])
def test_anything_else_is_one_line(text: str) -> None:
    with pytest.raises(
        UserError, match=f"--layers '{text}' is not all, every-K .* or a list of these: 0, 1, 3"
    ):
        select(text, (0, 1, 3), "layers")
    with pytest.raises(UserError, match="of these: 0 to 98"):
        select("99", range(99), "positions")

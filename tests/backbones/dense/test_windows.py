"""Where windows lie; `tests/suite/evaluation/test_pixels.py` tests their mean on odd sizes."""

import pytest

from backbones.common.errors import UserError
from backbones.dense.windows import Layout, usual_stride, window_starts


def test_the_published_windows_of_512_by_341() -> None:
    assert usual_stride(512) == 341
    assert window_starts(512, 512, 341) == [0]
    assert window_starts(683, 512, 341) == [0, 171]
    assert window_starts(1100, 512, 341) == [0, 341, 588]
    assert window_starts(853, 512, 341) == [0, 341]


def test_windows_go_row_by_row() -> None:
    layout = Layout(7, 10, 5, 5, 4)
    assert layout.places == ((0, 0), (0, 4), (0, 5), (2, 0), (2, 4), (2, 5))
    assert layout.count == 6
    assert Layout.whole(7, 10).places == ((0, 0),)


@pytest.mark.parametrize(("window", "stride"), [(4, 5), (4, 0)])
def test_windows_that_leave_pixels_out_are_refused(window: int, stride: int) -> None:
    with pytest.raises(UserError, match=f"windows of {window} pixels cannot be moved by {stride}"):
        window_starts(9, window, stride)

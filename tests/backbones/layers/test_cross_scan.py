"""The four scan orders against a walk over the map."""

import pytest
import torch
from straight_line_vmamba import places

from backbones.layers.cross_scan import (
    COLUMNS,
    REVERSE,
    by_columns,
    by_rows,
    image_order,
    scan_order,
    summed,
)

MAPS = [(1, 1), (1, 4), (3, 1), (2, 3), (4, 3)]


@pytest.mark.parametrize(("rows", "columns"), MAPS)
def test_each_direction_reads_the_map_as_it_says(rows: int, columns: int) -> None:
    count = rows * columns
    token = torch.arange(count).view(1, 1, count, 1).expand(4, 2, -1, 3)
    arranged = scan_order(token, (rows, columns))
    for direction in range(4):
        walked = [row * columns + column for row, column in places(rows, columns, direction)]
        read = arranged[direction, 0, :, 0].tolist()
        assert (read[::-1] if REVERSE[direction] else read) == walked
    assert torch.equal(image_order(arranged, (rows, columns)), token)


@pytest.mark.parametrize(("rows", "columns"), MAPS)
def test_the_sum_adds_what_belongs_to_the_same_place(rows: int, columns: int) -> None:
    values = torch.randn(4, 2, rows * columns, 5, dtype=torch.float64)
    arranged = scan_order(values, (rows, columns))
    torch.testing.assert_close(summed(arranged, (rows, columns)), values.sum(0))


def test_rows_and_columns_undo_each_other() -> None:
    values = torch.randn(2, 12, 3)
    assert torch.equal(by_rows(by_columns(values, (3, 4)), (3, 4)), values)
    assert COLUMNS == (False, True, False, True)

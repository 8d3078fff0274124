"""Logits at the pixels of a truth, some rows at a time: of whole maps, or of windows joined.

A head's map is smaller than the image as a rule. Its logits are interpolated bilinearly without
aligned corners, in float32, as `torch.nn.functional.interpolate` does; but that cannot make some
rows alone, and all rows of a large picture in 150 classes are gigabytes.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from backbones.dense.windows import Layout

# of some rows: their logits (n, K, r, W) at all columns
AtRows = Callable[[slice], Tensor]


def of_maps(logits: Tensor, height: int, width: int) -> AtRows:
    """Logits (n, K, h, w) of images at rows of their `height` x `width` pixels."""
    columns = columns_at_pixels(logits, width)
    return lambda rows: rows_at_pixels(columns, height, rows)


def of_windows(logits: Tensor, layout: Layout, height: int, width: int) -> AtRows:
    """Logits (windows, K, h, w) of one picture at rows of its `height` x `width` pixels.

    Those of each window are interpolated to the pixels it shows, averaged where windows overlap,
    and interpolated once more: from the size that the picture had for the model to its own.
    """
    columns = columns_at_pixels(logits, layout.columns)

    def at_rows(rows: slice) -> Tensor:
        first, second, weight = neighbours(layout.height, height, rows)
        start, stop = int(first[0]), int(second[-1]) + 1
        strip = columns_at_pixels(joined(columns, layout, slice(start, stop)), width)
        return between(strip, 2, first - start, second - start, weight)

    return at_rows


def joined(columns: Tensor, layout: Layout, rows: slice) -> Tensor:
    """Some `rows` of a picture as the model had it, (1, K, r, width), the mean over its windows.

    `columns` (windows, K, h, w) are logits that have been interpolated along rows.
    """
    high, wide = layout.rows, layout.columns
    total = columns.new_zeros(1, columns.shape[1], rows.stop - rows.start, layout.width)
    count = columns.new_zeros(rows.stop - rows.start, layout.width)
    for window, (top, left) in enumerate(layout.places):
        start, stop = max(rows.start, top), min(rows.stop, top + high)
        if start >= stop:
            continue
        own = rows_at_pixels(columns[window : window + 1], high, slice(start - top, stop - top))
        place = slice(start - rows.start, stop - rows.start), slice(left, left + wide)
        total[:, :, place[0], place[1]] += own
        count[place] += 1
    return total.div_(count)


def columns_at_pixels(logits: Tensor, width: int) -> Tensor:
    """Logits (B, K, h, w) interpolated along rows to `width` pixels, (B, K, h, width)."""
    return between(logits.float(), 3, *neighbours(logits.shape[3], width, slice(None)))


def rows_at_pixels(logits: Tensor, height: int, rows: slice) -> Tensor:
    """Some `rows` of logits (B, K, h, W) interpolated along columns to `height`: (B, K, r, W)."""
    return between(logits, 2, *neighbours(logits.shape[2], height, rows))


def neighbours(places: int, size: int, pixels: slice) -> tuple[Tensor, Tensor, Tensor]:
    """Of some of `size` pixels the places before and behind each, of so many, and their weights.

    The weight is that of the place behind.
    """
    centre = (torch.arange(size, dtype=torch.float64)[pixels] + 0.5) * places / size - 0.5
    centre = centre.clamp_(0, places - 1)
    first = centre.long()
    return first, (first + 1).clamp_(max=places - 1), (centre - first).float()


def between(values: Tensor, axis: int, first: Tensor, second: Tensor, weight: Tensor) -> Tensor:
    """Interpolate an axis of `values` between its places `first` and `second`."""
    device = values.device
    one = values.index_select(axis, first.to(device))
    other = values.index_select(axis, second.to(device))
    weight = weight.to(device)
    return torch.lerp(one, other, weight if axis == 3 else weight[:, None])

"""Means over images with their intervals, as rows of a table."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from suite.stats.paired import mean_over_images

Array = NDArray[np.float64]
Columns = dict[str, list[Any]]


def interval_rows(keys: Mapping[str, Any], per_image: Array) -> Columns:
    """Return a row with ``mean``, ``low``, ``high`` and ``images`` per column of `per_image`.

    `per_image` is (images, rows). `keys` are the columns that identify the rows: one value for all
    of them, or a list or tuple with one for each.
    """
    columns: Columns = {}
    for name, value in keys.items():
        each = isinstance(value, list | tuple)
        columns[name] = list(value) if each else [value] * per_image.shape[1]
    for name, statistic in mean_over_images(per_image)._asdict().items():
        columns[name] = statistic.tolist()
    return columns


def joined(parts: Sequence[Columns]) -> Columns:
    """Return the rows of all `parts`, which have the same columns, one below the other."""
    # Lists: a frame for each of hundreds of parts would take longer than their statistics.
    return {name: [value for part in parts for value in part[name]] for name in parts[0]}


def finite_mean(values: Array, axis: int) -> Array:
    """Return the mean along `axis` of the values that are not NaN; NaN where all are."""
    with warnings.catch_warnings():
        # An empty list is no accident here: block 0, for one, never has a score.
        warnings.filterwarnings("ignore", "Mean of empty slice")
        return np.asarray(np.nanmean(values, axis=axis))

"""Means over images with their intervals, as rows of a table."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from suite.stats.paired import mean_over_images

Array = NDArray[np.float64]


def interval_rows(keys: Mapping[str, Any], per_image: Array) -> pd.DataFrame:
    """Return a row with ``mean``, ``low``, ``high`` and ``images`` per column of `per_image`.

    `per_image` is (images, rows). `keys` are the columns that identify the rows: one value for all
    of them, or one for each.
    """
    return pd.DataFrame({**keys, **mean_over_images(per_image)._asdict()})


def finite_mean(values: Array, axis: int) -> Array:
    """Return the mean along `axis` of the values that are not NaN; NaN where all are."""
    with warnings.catch_warnings():
        # An empty list is no accident here: block 0, for one, never has a score.
        warnings.filterwarnings("ignore", "Mean of empty slice")
        return np.asarray(np.nanmean(values, axis=axis))

"""Tables over images of which pixels change when one token is removed, by where they lie."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from suite.sensitivity.intervals import finite_mean
from suite.sensitivity.token_tables import TokenArrays, concatenate

Array = NDArray[np.float64]


def pixels_table(backbone: str, frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Tabulate by block and offset the share of pixels that change, mean over images.

    `frames` are the ``pixels`` tables of `suite.sensitivity.probe`, one an image, of equal rows. An
    offset at which no image has a pixel with a class is left out.
    """
    shares = np.stack([frame["share"].to_numpy(np.float64) for frame in frames])
    table = frames[0][["block", "down", "right"]].copy()
    table.insert(0, "backbone", backbone)
    table["changed"] = finite_mean(shares, axis=0)
    return table.dropna().reset_index(drop=True)


def reach_table(tokens: TokenArrays, frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Tabulate how many pixels the removal of one token changes, and where they lie.

    ``quantity`` is ``changed``, the share of an image's pixels, mean over its tokens; or the share
    of those that change in the token's ``own`` patch, in the eight ``around`` it, or ``farther``
    away. Images in which no pixel changes say nothing of the latter.
    """
    first = frames[0]
    away = np.maximum(first["down"].abs(), first["right"].abs()).to_numpy()
    places = {"own": away == 0, "around": away == 1, "farther": away > 1}
    pixels = np.stack([frame["pixels"].to_numpy(np.float64) for frame in frames])
    blocks = first["block"].to_numpy()

    def counted(place: NDArray[np.bool_]) -> Array:
        return np.stack([pixels[:, place & (blocks == block)].sum(1) for block in tokens.sites], 1)

    everywhere = counted(np.ones(len(first), bool))
    changed = finite_mean(tokens.site_columns()["removal_flip"], axis=-1)
    rows = [tokens.rows_with_overall(changed, changed.mean(1), quantity="changed")]
    for name, place in places.items():
        here = counted(place)
        by_block = _share(here, everywhere)
        overall = _share(here.sum(1), everywhere.sum(1))
        rows.append(tokens.rows_with_overall(by_block, overall, quantity=name))
    return concatenate(rows)


def _share(part: Array, whole: Array) -> Array:
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)

"""Whether the order of methods without training predicts the order of those trained under them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from suite.retrain.found import Found, mean_of_seeds
from suite.stats.paired import ENDS
from suite.stats.rank_correlation import exact_order_p, kendall

FEWEST = 3  # methods: the order of two is one comparison


def ranking_row(family: Sequence[Found]) -> dict[str, Any]:
    """The row of the table ``retrained_ranking`` of one backbone and budget.

    The interval is a bootstrap over images, which says how sure the order of these methods is; the
    p is over orders of methods, as if one had nothing to do with the other.
    """
    before = np.array([one.before.accuracy for one in family])
    after = np.array([one.after.accuracy for one in family])
    drawn = mean_of_seeds([*(one.before for one in family), *(one.after for one in family)])
    taus = kendall(drawn[: len(family)].T, drawn[len(family) :].T)
    low, high = np.nanquantile(taus, ENDS).tolist() if np.isfinite(taus).any() else (None, None)
    return {
        "backbone": family[0].trained.backbone,
        "budget": family[0].budget,
        "methods": len(family),
        "concordance": float(kendall(before, after)),
        "concordance_low": low,
        "concordance_high": high,
        "p": exact_order_p(before, after),
        "images": family[0].after.count,
    }

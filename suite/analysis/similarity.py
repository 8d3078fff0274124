"""How similar methods are: the overlap of the tokens they keep, and of what they answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

from suite.stats.correctness import Bits
from suite.store.results import Alive
from suite.store.schema import CellRecord

DRAWS = 2000  # the smallest p is 1 / 2001
Shares = NDArray[np.float64]
Answered = Bits | Shares  # of each image: whether it is right, or how right


def overlap(one: Bits, other: Bits) -> tuple[float, float, float]:
    """IoU of two kept sets, IoU of random sets of their sizes, and their correlation.

    Means over the images; `one` and `other` are (images, positions). The chance value is the ratio
    of expected sizes. The correlation is that of the two indicators (phi, for sets equal to
    Pearson's and Spearman's); NaN where a set has all or no tokens.
    """
    both = (one & other).sum(1).astype(np.float64)
    first, second, positions = one.sum(1), other.sum(1), one.shape[1]
    # Of sets drawn at random |A| |B| / n tokens are in both, the hypergeometric mean.
    chance = first * second / positions
    variance = first * (positions - first) * second * (positions - second) / positions**2
    width = np.sqrt(variance)
    phi = np.divide(both - chance, width, out=np.full(len(both), np.nan), where=width > 0)
    # The union is at least 1, so that two empty sets divide nothing by nothing.
    iou = both / np.maximum(first + second - both, 1)
    iou_by_chance = chance / np.maximum(first + second - chance, 1)
    return float(iou.mean()), float(iou_by_chance.mean()), _mean(phi)


def _mean(values: NDArray[np.float64]) -> float:
    """Mean of the finite `values`; NaN without any."""
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def survival(alive: Alive, blocks: Iterable[int]) -> NDArray[np.int64]:
    """How many of `blocks` each token survives into (images, positions)."""
    # Depth of survival is a finer ranking than one set: it tells early losses from late ones.
    total = np.zeros_like(alive_at(alive, 0), dtype=np.int64)
    for block in blocks:
        total += alive_at(alive, block)
    return total


def alive_at(alive: Alive, block: int) -> Bits:
    """The tokens that enter `block`: those left by the last reduction at or before it."""
    return alive[max(site for site in alive if site <= block)]


def centred_ranks(values: NDArray[Any]) -> NDArray[np.float64]:
    """Ranks within each row, ties at their mean rank, centred and of length 1; NaN if constant."""
    ranks = rankdata(values, axis=1)
    ranks -= ranks.mean(1, keepdims=True)
    length = np.sqrt((ranks**2).sum(1, keepdims=True))
    return np.divide(ranks, length, out=np.full_like(ranks, np.nan), where=length > 0)


def rank_correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Spearman's correlation of the rows of two tables of `centred_ranks`, mean over the rows."""
    return _mean((one * other).sum(1))


def kappa(one: Bits, other: Bits) -> float:
    """Cohen's kappa of the hits (n,) of two methods: 0 if independent; NaN if all are hits."""
    first, second = one.mean(), other.mean()
    chance = first * second + (1 - first) * (1 - second)
    # Agreement alone is high wherever both are mostly right; kappa takes that off.
    return float(((one == other).mean() - chance) / (1 - chance)) if chance < 1 else float("nan")


def concordance(one: Shares, other: Shares) -> float:
    """Lin's concordance (Biometrics 1989) of the shares (n,) of two methods; NaN if all are equal.

    What Cohen's kappa is of hits: of shares that are 0 or 1 it is the same number.
    """
    apart = np.square(one - other).mean()
    by_chance = one.var() + other.var() + (one.mean() - other.mean()) ** 2
    return float(1 - apart / by_chance) if by_chance > 0 else float("nan")


def answer_alike(one: Answered, other: Answered) -> tuple[float, float]:
    """How alike two methods answer: beyond chance, and as it is.

    Of hits `kappa`, and the share of images where both are right or both wrong; of shares
    `concordance`, and 1 less the mean size of their differences.
    """
    if one.dtype == np.bool_:
        return kappa(one.astype(bool), other.astype(bool)), float((one == other).mean())
    first, second = one.astype(float), other.astype(float)
    return concordance(first, second), float(1 - np.abs(first - second).mean())


def mantel(
    one: NDArray[np.float64], other: NDArray[np.float64], draws: int = DRAWS
) -> tuple[float, float]:
    """Spearman's correlation of two symmetric matrices (m, m) off their diagonals, and its p.

    The pairs of m methods are not independent, so the two-sided p is from permuting the methods of
    one matrix (Mantel, Cancer Research 1967), `draws` times by a fixed seed. NaN for fewer than
    four methods, and for a constant matrix.
    """
    count = len(one)
    rows, columns = np.triu_indices(count, 1)
    if count < 4 or np.ptp(one[rows, columns]) == 0 or np.ptp(other[rows, columns]) == 0:
        return float("nan"), float("nan")
    first = centred_ranks(one[rows, columns][None])[0]
    # As a full matrix, so that permuting rows and columns permutes methods.
    ranks = np.zeros((count, count))
    ranks[rows, columns] = ranks[columns, rows] = centred_ranks(other[rows, columns][None])[0]
    rng = np.random.default_rng(0)
    orders = [np.arange(count), *(rng.permutation(count) for _ in range(draws))]
    permuted = np.stack(orders)
    rho = ranks[permuted[:, rows], permuted[:, columns]] @ first
    # The same permutation may come again, with a rounding error.
    beyond = int((np.abs(rho[1:]) >= abs(rho[0]) - 1e-12).sum())
    # The observed order counts as one draw, so p is never 0.
    return float(rho[0]), (1 + beyond) / (1 + draws)


def similarity_tables(
    records: Iterable[CellRecord],
    kept: Callable[[CellRecord], Alive],
    answered: Callable[[CellRecord], Answered],
) -> dict[str, pd.DataFrame]:
    """The tables ``token_overlap``, ``method_similarity`` and ``mantel_test``.

    `records` are the cells that reduce; of a stochastic method the first seed stands for all.
    `kept` gives the patch tokens that survive in the tracked images, `answered` the images (n,) on
    which a cell is right, or how right it is on each.
    """
    overlaps: list[dict[str, Any]] = []
    similarities: list[dict[str, Any]] = []
    tests: list[dict[str, Any]] = []
    for (backbone, budget), members in _by_budget(records).items():
        columns = {"backbone": backbone, "budget": budget}
        alive = {record.label: kept(record) for record in members}
        right = {record.label: answered(record) for record in members}
        sites: set[int] = set()
        for sets in alive.values():
            sites |= sets.keys()
        blocks = sorted(sites - {0})
        depths = {label: centred_ranks(survival(sets, blocks)) for label, sets in alive.items()}
        chosen_alike, right_alike = np.full((2, len(members), len(members)), np.nan)
        for (i, one), (j, other) in combinations(enumerate(alive), 2):
            pair = {**columns, "one": one, "other": other}
            for block in blocks:
                first, second = alive_at(alive[one], block), alive_at(alive[other], block)
                iou, chance, phi = overlap(first, second)
                row = {"block": block, "iou": iou, "chance": chance, "correlation": phi}
                overlaps.append(pair | row)
            choice = rank_correlation(depths[one], depths[other])
            answer, agree = answer_alike(right[one], right[other])
            chosen_alike[i, j] = chosen_alike[j, i] = choice
            right_alike[i, j] = right_alike[j, i] = answer
            row = {
                "survival": choice,
                "kappa": answer,
                "agree": agree,
                "images": len(alive_at(alive[one], 0)),
            }
            similarities.append(pair | row)
        # A method that keeps every token, say, has no correlation with the others.
        valid = np.isfinite(chosen_alike + right_alike).sum(1) == len(members) - 1
        complete = np.ix_(valid, valid)
        rho, p = mantel(chosen_alike[complete], right_alike[complete])
        if np.isfinite(rho):
            tests.append({**columns, "methods": int(valid.sum()), "rho": rho, "p": p})
    return {
        "token_overlap": pd.DataFrame(overlaps),
        "method_similarity": pd.DataFrame(similarities),
        "mantel_test": pd.DataFrame(tests),
    }


def _by_budget(records: Iterable[CellRecord]) -> dict[tuple[str, float], list[CellRecord]]:
    """The cells of each backbone and budget, the first of each label."""
    groups: dict[tuple[str, float], dict[str, CellRecord]] = {}
    for record in records:
        if record.budget is not None:
            group = groups.setdefault((record.backbone, record.budget), {})
            group.setdefault(record.label, record)
    return {key: list(group.values()) for key, group in groups.items()}

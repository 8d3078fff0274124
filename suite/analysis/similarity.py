"""How alike two methods choose: the overlap of the tokens they keep, and whether alike choices make alike answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

from suite.plan.cells import Named

DRAWS = 2000
Kept = NDArray[np.bool_]


def overlap(one: Kept, other: Kept) -> tuple[float, float, float]:
    """IoU of two kept sets, the IoU of random sets of their sizes, and their correlation: means over the images.

    `one` and `other` are (images, places). The chance value is the ratio of expected sizes. The
    correlation is that of the two indicators (phi, which for sets is Pearson's and Spearman's
    alike); NaN where a set holds all or none.
    """
    both = (one & other).sum(1).astype(np.float64)
    first, second, places = one.sum(1), other.sum(1), one.shape[1]
    chance = first * second / places
    width = np.sqrt(first * (places - first) * second * (places - second) / places**2)
    phi = np.divide(both - chance, width, out=np.full(len(both), np.nan), where=width > 0)
    return (
        float((both / np.maximum(first + second - both, 1)).mean()),
        float((chance / np.maximum(first + second - chance, 1)).mean()),
        float(np.nanmean(phi)) if np.isfinite(phi).any() else float("nan"),
    )


def survival(alive: dict[int, Kept], blocks: Iterable[int]) -> NDArray[np.int64]:
    """Of how many of `blocks` each token is still there (images, places)."""
    return sum(
        (at(alive, block).astype(np.int64) for block in blocks),
        np.zeros_like(at(alive, 0), dtype=np.int64),
    )


def at(alive: dict[int, Kept], block: int) -> Kept:
    """The tokens that enter `block`: those left by the last reduction at or before it."""
    return alive[max(known for known in alive if known <= block)]


def centred_ranks(values: NDArray[Any]) -> NDArray[np.float64]:
    """Ranks within each row (images, places), ties at their mean rank, less their mean and of length 1; NaN if flat."""
    ranks = rankdata(values, axis=1)
    ranks -= ranks.mean(1, keepdims=True)
    length = np.sqrt((ranks**2).sum(1, keepdims=True))
    return np.divide(ranks, length, out=np.full_like(ranks, np.nan), where=length > 0)


def rank_correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Spearman's correlation of the rows of two tables of `centred_ranks`; the mean over the images that have one."""
    found = (one * other).sum(1)
    return float(np.nanmean(found)) if np.isfinite(found).any() else float("nan")


def kappa(one: Kept, other: Kept) -> float:
    """Cohen's kappa of who is right on which image (n,): 1 on the same, 0 as if independent; NaN if all are right."""
    first, second = one.mean(), other.mean()
    chance = first * second + (1 - first) * (1 - second)
    return float(((one == other).mean() - chance) / (1 - chance)) if chance < 1 else float("nan")


def mantel(
    one: NDArray[np.float64], other: NDArray[np.float64], draws: int = DRAWS
) -> tuple[float, float]:
    """Spearman's correlation of two symmetric matrices (m, m) off their diagonals, and its two-sided p.

    The pairs of m methods are not independent, so p comes from permuting the methods of one matrix
    (Mantel, Cancer Research 1967), `draws` times by a fixed seed. NaN for fewer than four methods,
    and where a matrix is flat.
    """
    count = len(one)
    rows, columns = np.triu_indices(count, 1)
    if count < 4 or np.ptp(one[rows, columns]) == 0 or np.ptp(other[rows, columns]) == 0:
        return float("nan"), float("nan")
    first, ranks = centred_ranks(one[rows, columns][None])[0], np.zeros((count, count))
    ranks[rows, columns] = ranks[columns, rows] = centred_ranks(other[rows, columns][None])[0]
    rng = np.random.default_rng(0)
    orders = np.stack([np.arange(count), *(rng.permutation(count) for _ in range(draws))])
    found = ranks[orders[:, rows], orders[:, columns]] @ first
    beyond = int((np.abs(found[1:]) >= abs(found[0]) - 1e-12).sum())
    return float(found[0]), (1 + beyond) / (1 + draws)


def similarity_frames(
    cells: Iterable[Named], kept: Callable[[Named], dict[int, Kept]], right: Callable[[Named], Kept]
) -> dict[str, pd.DataFrame]:
    """``token_overlap`` by pair, budget and block; ``method_similarity`` by pair and budget; ``mantel_test`` by budget.

    `cells` are those that reduce; of a stochastic method the first seed stands for all. `kept`
    gives the patch tokens of the watched images that survive, by block, `right` which images are
    named right.
    """
    layers: list[dict[str, Any]] = []
    pairs: list[dict[str, Any]] = []
    links: list[dict[str, Any]] = []
    for place, members in _by_budget(cells).items():
        named = dict(zip(("backbone", "budget"), place, strict=True))
        alive = {cell.label: kept(cell) for cell in members}
        hits = {cell.label: right(cell) for cell in members}
        blocks = sorted({block for found in alive.values() for block in found} - {0})
        depths = {label: centred_ranks(survival(found, blocks)) for label, found in alive.items()}
        tables = {
            name: np.full((len(members), len(members)), np.nan) for name in ("survival", "kappa")
        }
        for (i, one), (j, other) in combinations(enumerate(alive), 2):
            names = {**named, "one": one, "other": other}
            for block in blocks:
                iou, chance, phi = overlap(at(alive[one], block), at(alive[other], block))
                layers.append(
                    {**names, "block": block, "iou": iou, "chance": chance, "correlation": phi}
                )
            same = rank_correlation(depths[one], depths[other]), kappa(hits[one], hits[other])
            for table, value in zip(tables.values(), same, strict=True):
                table[i, j] = table[j, i] = value
            agree = float((hits[one] == hits[other]).mean())
            count = len(at(alive[one], 0))
            pairs.append(
                {**names, "survival": same[0], "kappa": same[1], "agree": agree, "images": count}
            )
        whole = np.flatnonzero(
            np.isfinite(tables["survival"] + tables["kappa"]).sum(1) == len(members) - 1
        )
        rho, p = mantel(
            tables["survival"][np.ix_(whole, whole)], tables["kappa"][np.ix_(whole, whole)]
        )
        if np.isfinite(rho):
            links.append({**named, "methods": len(whole), "rho": rho, "p": p})
    return {
        "token_overlap": pd.DataFrame(layers),
        "method_similarity": pd.DataFrame(pairs),
        "mantel_test": pd.DataFrame(links),
    }


def _by_budget(cells: Iterable[Named]) -> dict[tuple[str, float], list[Named]]:
    """The cells of each backbone and budget, one a label."""
    found: dict[tuple[str, float], dict[str, Named]] = {}
    for cell in cells:
        if cell.budget is not None:
            found.setdefault((cell.backbone, cell.budget), {}).setdefault(cell.label, cell)
    return {place: list(members.values()) for place, members in found.items()}

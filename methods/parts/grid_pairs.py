"""STORM's matching: neighbour pairs along the rows of a map, then along its columns.

A line (a row, or a column) of n cells has floor(n / 2) pairs (2j, 2j + 1); an odd last cell is in
none and stays. All lines lose equally many cells, one of a pair each, so that the map stays a
rectangle although its lines merge at different places. Pairs are ranked by the similarity of their
two cells, by the smaller of their two importances (the less important cell goes), or, blind, not at
all: then they are spread evenly over the line.

Source: Lv et al., ICML 2026, arXiv 2606.19932, and its released code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from methods.parts.features import length, rows
from methods.parts.match import Matching, centres

Measure = Callable[[Tensor, Tensor], Tensor]
Rectangle = tuple[int, int]


@dataclass(frozen=True)
class Distance:
    """How similar two vectors are.

    ``similarity``  (..., F), (..., F) -> (...), larger is more similar
    ``arithmetic``  F -> operations for one pair, its two vectors given
    """

    similarity: Measure
    arithmetic: Callable[[int], int]


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(-1) / length(a) / length(b)


DISTANCES: dict[str, Distance] = {
    # differences and their sum
    "l1": Distance(lambda a, b: -(a - b).abs().sum(-1), lambda F: 2 * F),
    # differences, squares, their sum and its root
    "l2": Distance(lambda a, b: -torch.linalg.vector_norm(a - b, dim=-1), lambda F: 3 * F + 1),
    # three products with their sums, two roots, two divisions
    "cosine": Distance(_cosine, lambda F: 6 * F + 4),
}


@dataclass(frozen=True)
class Plan:
    """Which cells of a map leave.

    ``matching``  the pairs; every source goes into a token that stays
    ``kept``      (B, h' w') the tokens that stay, row by row of the narrowed map
    """

    matching: Matching
    kept: Tensor


@dataclass(frozen=True)
class Line:
    """The pairs of all lines of a map along one axis, and which of them merge.

    ``gone``    (B, lines, r) ranks of the tokens that leave
    ``target``  (B, lines, r) of those they were paired with
    ``left``    (B, lines, n - r) of those that stay, in their order
    """

    gone: Tensor
    target: Tensor
    left: Tensor


def shares(pairs: int, merges: int, window: int) -> list[tuple[slice, int]]:
    """Windows of `window` of the `pairs` of a line (0: one window), and merges in each.

    In proportion to their lengths, the remainder to the largest fractions, the earlier of equals.
    """
    size = window or max(1, pairs)
    windows = [slice(at, min(at + size, pairs)) for at in range(0, pairs, size)]
    lengths = [part.stop - part.start for part in windows]
    # in whole numbers, so that no rounding decides who has the larger fraction
    counts = [merges * cells // pairs for cells in lengths]
    fractions = [merges * cells % pairs for cells in lengths]
    order = sorted(range(len(windows)), key=lambda index: -fractions[index])
    for index in order[: merges - sum(counts)]:
        counts[index] += 1
    return list(zip(windows, counts, strict=True))


def highest(rank: Tensor, merges: int, window: int) -> Tensor:
    """Places (B, lines, merges) of the pairs that merge, by `rank` (B, lines, pairs).

    Of each window those of highest rank, the earlier of equals.
    """
    chosen = []
    for part, count in shares(rank.shape[2], merges, window):
        order = rank[..., part].argsort(dim=2, descending=True, stable=True)
        chosen.append(order[..., :count] + part.start)
    return torch.cat(chosen, 2)


def paired(cells: Tensor) -> tuple[Tensor, Tensor]:
    """The even and the odd cell of each pair of the lines `cells` (B, lines, n, ...)."""
    pairs = cells.shape[2] // 2
    return cells[:, :, 0 : 2 * pairs : 2], cells[:, :, 1 : 2 * pairs : 2]


def lost(cells: Tensor, places: Tensor, odd: Tensor | None = None) -> Line:
    """The lines `cells` (B, lines, n), in which the pairs at `places` (B, lines, r) merge.

    The even cell leaves, or where `odd` (B, lines, pairs) says so the other one.
    """
    turned = torch.zeros_like(places) if odd is None else odd.gather(2, places).long()
    away, into = 2 * places + turned, 2 * places + 1 - turned
    flags = torch.zeros_like(cells, dtype=torch.uint8).scatter_(2, away, 1)
    # A stable sort of flags keeps the order; nonzero would make a GPU wait for the host.
    stay = flags.argsort(dim=2, stable=True)[..., : cells.shape[2] - places.shape[2]]
    return Line(cells.gather(2, away), cells.gather(2, into), cells.gather(2, stay))


class Ranking:
    """How pairs are ranked; `after_merge` prepares it for the columns."""

    def lose(self, cells: Tensor, merges: int) -> Line:
        """The lines `cells` (B, lines, n) of ranks, each without `merges` of its cells."""
        raise NotImplementedError

    def after_merge(self, matching: Matching) -> None:
        """Take note of what has merged along the rows."""


class Similar(Ranking):
    """The most similar pairs merge, the even cell into the odd one.

    The columns are planned on what the rows have become, as streams merge.
    """

    def __init__(
        self,
        values: Tensor,
        distance: str,
        window: int,
        merged: Callable[[Tensor, Matching], Tensor],
    ) -> None:
        """`values` (B, n, F) of the tokens; `merged` gives those after a matching."""
        self.values, self.window, self.merged = values, window, merged
        self.similarity = DISTANCES[distance].similarity

    def lose(self, cells: Tensor, merges: int) -> Line:
        """See `Ranking`."""
        a, b = (
            rows(self.values, part.flatten(1)).unflatten(1, part.shape[1:])
            for part in paired(cells)
        )
        return lost(cells, highest(self.similarity(a, b), merges, self.window))

    def after_merge(self, matching: Matching) -> None:
        """See `Ranking`."""
        self.values = self.merged(self.values, matching)


class Important(Ranking):
    """Pairs merge whose smaller importance is smallest; the less important cell leaves.

    The odd one of equals, as in the released code. A token that stays keeps its importance.
    """

    def __init__(self, score: Tensor, window: int) -> None:
        """`score` (B, n) of the tokens."""
        self.score, self.window = score, window

    def lose(self, cells: Tensor, merges: int) -> Line:
        """See `Ranking`."""
        even, odd = (
            self.score.gather(1, part.flatten(1)).view(part.shape) for part in paired(cells)
        )
        places = highest(-torch.minimum(even, odd), merges, self.window)
        return lost(cells, places, odd=even >= odd)


class Spread(Ranking):
    """The same pairs of every line merge: the middles of so many equal intervals."""

    def lose(self, cells: Tensor, merges: int) -> Line:
        """See `Ranking`."""
        places = centres(merges, cells.shape[2] // 2, cells.device)
        return lost(cells, places.expand(*cells.shape[:2], merges))


def plan(
    ranking: Ranking, batch: int, before: Rectangle, after: Rectangle, device: torch.device
) -> Plan:
    """Narrow a map of `before` (rows, columns) to `after`: along its rows, then its columns."""
    (height, width), (lower, narrower) = before, after
    cells = torch.arange(height * width, device=device).view(1, height, width)
    cells = cells.expand(batch, -1, -1)
    where = cells.flatten(1)
    sources, targets = [], []
    if narrower < width:
        line = ranking.lose(cells, width - narrower)
        sources.append(line.gone.flatten(1))
        targets.append(line.target.flatten(1))
        where = where.scatter(1, sources[0], targets[0])
        cells = line.left
        if lower < height:
            ranking.after_merge(Matching(sources[0], targets[0], cells.flatten(1)))
    if lower < height:
        line = ranking.lose(cells.transpose(1, 2), height - lower)
        sources.append(line.gone.flatten(1))
        targets.append(line.target.flatten(1))
        cells = line.left.transpose(1, 2)
        # what has gone into a cell that goes now goes on with it
        where = (
            torch.arange(height * width, device=device)
            .expand(batch, -1)
            .scatter(1, sources[-1], targets[-1])
            .gather(1, where)
        )
    kept = cells.flatten(1)
    source = torch.cat(sources, 1)
    return Plan(Matching(source, where.gather(1, source), kept), kept)

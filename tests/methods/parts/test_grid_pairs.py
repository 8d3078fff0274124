"""Neighbour pairs against loops written from the equations, on odd maps and 1 x n too."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from backbones.sequence import new_sequence
from methods.parts.grid_pairs import shares
from methods.reducer import Reducer
from methods.spec import parse

Vector = list[float]
Case = tuple[int, int, int, int, int, int]


class Cell:
    """A cell of the map in the oracle."""

    def __init__(self, place: int, branch: Vector, residual: Vector) -> None:
        self.place, self.branch, self.residual = place, branch, residual
        self.members = [place]
        self.importance = sum(abs(value) for value in residual) / max(1, len(residual))


def similarity(a: Vector, b: Vector, distance: str) -> float:
    gaps = [x - y for x, y in zip(a, b, strict=True)]
    if distance == "l1":
        return -sum(abs(gap) for gap in gaps)
    if distance == "l2":
        return -math.sqrt(sum(gap * gap for gap in gaps))
    product = sum(x * y for x, y in zip(a, b, strict=True))
    return product / math.sqrt(sum(x * x for x in a)) / math.sqrt(sum(y * y for y in b))


def merges_by_window(pairs: int, merges: int, window: int) -> list[tuple[range, int]]:
    """Hand out one merge after the other to the window that is furthest behind its share."""
    size = window or pairs
    windows = [range(at, min(at + size, pairs)) for at in range(0, pairs, size)]
    counts = [len(part) * merges // pairs for part in windows]
    rests = [
        len(part) * merges - count * pairs for part, count in zip(windows, counts, strict=True)
    ]
    while sum(counts) < merges:
        first = rests.index(max(rests))
        counts[first] += 1
        rests[first] = -1
    return list(zip(windows, counts, strict=True))


def narrowed_line(line: list[Cell], merges: int, how: dict[str, Any]) -> list[Cell]:
    """The line without `merges` of its cells."""
    if not merges:
        return line
    pairs = len(line) // 2
    chosen: set[int] = set()
    for window, count in merges_by_window(pairs, merges, how["window"]):

        def rank(pair: int) -> float:
            a, b = line[2 * pair], line[2 * pair + 1]
            if how["pairs"] == "importance":
                return -min(a.importance, b.importance)
            return similarity(a.residual, b.residual, how["distance"])

        chosen |= set(sorted(window, key=lambda pair: -rank(pair))[:count])
    left = []
    for pair in range(pairs):
        even, odd = line[2 * pair], line[2 * pair + 1]
        if pair not in chosen:
            left += [even, odd]
            continue
        stays, goes = odd, even
        if how["pairs"] == "importance" and even.importance >= odd.importance:
            stays, goes = even, odd
        left.append(met(stays, goes, how["weights"]))
    return left + line[2 * pairs :]


def met(stays: Cell, goes: Cell, weights: str) -> Cell:
    """What `stays` becomes; a mean of sums, for which the sums are kept."""
    if weights == "drop":
        return stays
    made = Cell(stays.place, [], [])
    made.members = stays.members + goes.members
    made.importance = stays.importance
    for stream in ("branch", "residual"):
        a, b = getattr(stays, stream), getattr(goes, stream)
        if weights == "sum":
            mixed = [x + y for x, y in zip(a, b, strict=True)]
        else:
            n, m = len(stays.members), len(goes.members)
            mixed = [(n * x + m * y) / (n + m) for x, y in zip(a, b, strict=True)]
        setattr(made, stream, mixed)
    return made


def narrowed(rows: list[list[Cell]], lost: tuple[int, int], how: dict[str, Any]) -> list[Cell]:
    """The map without `lost` (rows, columns): along the rows, then along the columns."""
    rows = [narrowed_line(row, lost[1], how) for row in rows]
    columns = [list(column) for column in zip(*rows, strict=True)]
    columns = [narrowed_line(column, lost[0], how) for column in columns]
    return [cell for row in zip(*columns, strict=True) for cell in row]


@st.composite
def maps(draw: st.DrawFn) -> Case:
    """Sides, what leaves, a window, a seed."""
    height, width = draw(st.integers(1, 13)), draw(st.integers(1, 13))
    rows, columns = draw(st.integers(0, height // 2)), draw(st.integers(0, width // 2))
    return height, width, rows, columns, draw(st.integers(0, 6)), draw(st.integers(0, 99))


@settings(max_examples=60, deadline=None)
@given(
    maps(),
    st.sampled_from(["l1", "l2", "cosine"]),
    st.sampled_from(["sum", "mean", "drop"]),
    st.sampled_from(["similarity", "importance"]),
)
def test_a_map_narrows_as_the_equations_say(
    case: Case, distance: str, weights: str, pairs: str
) -> None:
    height, width, rows, columns, window, seed = case
    how = {"window": window, "distance": distance, "weights": weights, "pairs": pairs}
    generator = torch.Generator().manual_seed(seed)
    branch, residual = torch.randn(2, 2, height * width, 3, generator=generator).double()
    tokens = replace(new_sequence(branch, (), (1, height, width)).tracked(), residual=residual)
    composition = parse(
        f"storm[window={window},distance={distance},weights={weights},pairs={pairs}]"
    ).composition()
    assert composition is not None
    gone = height * width - (height - rows) * (width - columns)
    out = Reducer(composition, gone, site=1, lines=(rows, columns))(tokens)
    assert out.lattice == (height - rows, width - columns)
    assert out.owner is not None
    for b in range(2):
        cells = [
            Cell(place, branch[b, place].tolist(), residual[b, place].tolist())
            for place in range(height * width)
        ]
        lines = [cells[row * width : (row + 1) * width] for row in range(height)]
        expected = narrowed(lines, (rows, columns), how)
        assert out.position[b].tolist() == [cell.place for cell in expected]
        assert out.size[b].tolist() == [len(cell.members) for cell in expected]
        for index, cell in enumerate(expected):
            assert all(int(out.owner[b, place]) == index for place in cell.members)
        for stream in ("branch", "residual"):
            torch.testing.assert_close(
                getattr(out, stream)[b],
                torch.tensor([getattr(cell, stream) for cell in expected]).double(),
            )


def test_sizes_weigh_what_was_merged_before() -> None:
    tokens = new_sequence(torch.tensor([[[1.0], [4.0]]]), (), (1, 1, 2))
    tokens = replace(tokens, size=torch.tensor([[3.0, 1.0]]))
    for weights, value in (("size", 1.75), ("mean", 2.5), ("sum", 5.0), ("drop", 4.0)):
        composition = parse(f"storm[weights={weights}]").composition()
        assert composition is not None
        out = Reducer(composition, 1, site=1, lines=(0, 1))(tokens)
        assert out.branch.tolist() == [[[value]]]
        assert out.size.tolist() == [[1.0 if weights == "drop" else 4.0]]


def test_merges_are_shared_out_by_largest_remainder_the_earlier_window_first() -> None:
    assert [count for _, count in shares(7, 3, 5)] == [2, 1]
    assert [count for _, count in shares(12, 4, 5)] == [2, 2, 0]
    assert [count for _, count in shares(13, 13, 5)] == [5, 5, 3]
    assert shares(6, 2, 0) == [(slice(0, 6), 2)]


@pytest.mark.parametrize("pairs", range(1, 24))
def test_every_window_takes_no_more_than_it_has(pairs: int) -> None:
    for merges in range(pairs + 1):
        for window in (1, 3, 5, 0):
            parts = shares(pairs, merges, window)
            assert sum(count for _, count in parts) == merges
            assert all(0 <= count <= part.stop - part.start for part, count in parts)


def test_blind_pairs_are_the_middles_of_equal_intervals() -> None:
    tokens = new_sequence(torch.arange(14.0).view(1, 14, 1), (), (1, 1, 14))
    composition = parse("grid-pool").composition()
    assert composition is not None
    out = Reducer(composition, 2, site=1, lines=(0, 2))(tokens)
    # of seven pairs the second and the sixth
    assert out.branch.flatten().tolist() == [0, 1, 2.5, 4, 5, 6, 7, 8, 9, 10.5, 12, 13]

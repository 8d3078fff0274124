"""Resampled maps against the mean of what a cell touches, and against interpolation by hand."""

from dataclasses import replace

import pytest
import torch

from backbones.sequence import TokenSequence, new_sequence
from methods.parts.grid_cost import of_resizing
from methods.reducer import Reducer
from methods.spec import parse


def resized(kind: str, before: tuple[int, int], after: tuple[int, int]) -> TokenSequence:
    """A map whose branch counts its cells, and whose residual their negatives, resampled."""
    cells = before[0] * before[1]
    tokens = new_sequence(torch.arange(float(cells)).view(1, cells, 1), (), (1, *before)).tracked()
    tokens = replace(tokens, residual=-tokens.branch)
    composition = parse(f"grid-resize[kind={kind}]").composition()
    assert composition is not None
    lines = before[0] - after[0], before[1] - after[1]
    return Reducer(composition, cells - after[0] * after[1], site=1, lines=lines)(tokens)


@pytest.mark.parametrize(
    ("before", "after"), [((5, 4), (3, 3)), ((1, 7), (1, 2)), ((6, 6), (3, 2)), ((3, 3), (1, 1))]
)
def test_area_is_the_mean_of_the_cells_that_are_touched(
    before: tuple[int, int], after: tuple[int, int]
) -> None:
    out, touched = resized("area", before, after), 0
    means = []
    for row in range(after[0]):
        for column in range(after[1]):
            cells = []
            for i in range(before[0]):
                for j in range(before[1]):
                    # an old cell is from i to i + 1, a new one from row n / m to (row + 1) n / m
                    inside = (
                        i + 1 > row * before[0] / after[0] and i < (row + 1) * before[0] / after[0]
                    )
                    across = (
                        j + 1 > column * before[1] / after[1]
                        and j < (column + 1) * before[1] / after[1]
                    )
                    if inside and across:
                        cells.append(i * before[1] + j)
            touched += len(cells)
            means.append(sum(cells) / len(cells))
    torch.testing.assert_close(out.branch.flatten(), torch.tensor(means))
    assert torch.equal(out.residual, -out.branch)
    assert out.lattice == after
    assert of_resizing("area", before, after, Wide()).arithmetic == 2 * 4 * touched


class Wide:
    """Four channels."""

    dim, inner, states, specials = 4, 8, 3, 0
    directions, timescales, heads, head_width = 2, 8, 0, 0


def test_bilinear_is_the_mean_of_the_cells_round_the_centre() -> None:
    # The centres of 2 cells over 4 lie between the cells 0 and 1, and between 2 and 3.
    assert resized("bilinear", (1, 4), (1, 2)).branch.flatten().tolist() == [0.5, 2.5]
    assert of_resizing("bilinear", (1, 4), (1, 2), Wide()).arithmetic == 2 * 4 * 2 * 7


def test_a_new_cell_counts_the_old_ones_whose_centres_it_holds() -> None:
    out = resized("area", (2, 5), (1, 3))
    assert out.size.tolist() == [[4, 2, 4]]
    assert out.position.tolist() == [[5, 7, 9]]
    assert out.owner is not None
    assert out.owner.tolist() == [[0, 0, 1, 2, 2] * 2]

"""Halved maps against a loop over the cells, odd sides too."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from backbones.layers.halving import cells, halved
from backbones.sequence import TokenSequence, new_sequence


def sequence(rows: int, columns: int) -> TokenSequence:
    """Two images whose map of `rows` x `columns` is what is left of 8 x 8 tokens."""
    generator = torch.Generator().manual_seed(rows * 10 + columns)
    count = rows * columns
    tokens = new_sequence(torch.zeros(2, 64, 3), (), (1, 8, 8))
    position = torch.stack([torch.randperm(64, generator=generator)[:count] for _ in range(2)])
    owner = torch.randint(-1, count, (2, 64), generator=generator)
    size = torch.randint(1, 9, (2, count), generator=generator).float()
    return replace(
        tokens,
        branch=torch.zeros(2, count, 3),
        residual=torch.zeros(2, count, 3),
        position=position,
        size=size,
        owner=owner,
        lattice=(rows, columns),
    )


def by_hand(tokens: TokenSequence, rows: int, columns: int) -> dict[str, list[list[float]]]:
    positions, sizes, owners = [], [], []
    for b in range(tokens.batch):
        position: dict[tuple[int, int], int] = {}
        size: dict[tuple[int, int], float] = {}
        cell_of = {}
        for row in range(rows):
            for column in range(columns):
                cell, token = (row // 2, column // 2), row * columns + column
                position.setdefault(cell, int(tokens.position[b, token]))
                size[cell] = size.get(cell, 0) + float(tokens.size[b, token])
                cell_of[token] = cell
        order = sorted(position)
        assert tokens.owner is not None
        positions.append([float(position[cell]) for cell in order])
        sizes.append([size[cell] for cell in order])
        owners.append(
            [
                float(order.index(cell_of[owner])) if owner >= 0 else -1.0
                for owner in tokens.owner[b].tolist()
            ]
        )
    return {"position": positions, "size": sizes, "owner": owners}


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("columns", [1, 2, 4, 7])
def test_a_new_token_is_what_its_cells_were(rows: int, columns: int) -> None:
    tokens = sequence(rows, columns)
    after = (rows + 1) // 2, (columns + 1) // 2
    values = torch.randn(2, after[0] * after[1], 6)
    result = halved(tokens, values)
    expected = by_hand(tokens, rows, columns)
    for name in ("position", "size", "owner"):
        got: Tensor = getattr(result, name)
        assert got.tolist() == expected[name], name
    assert result.lattice == result.rectangle == after
    assert torch.equal(result.residual, values)
    assert not result.branch.any()
    assert result.grid == tokens.grid
    assert result.size.sum() == tokens.size.sum()


def test_cells_are_counted_row_by_row() -> None:
    expected = [0, 0, 1, 0, 0, 1, 2, 2, 3]
    assert cells((3, 3), torch.device("cpu")).tolist() == expected


def test_untracked_owners_stay_untracked_and_the_residual_is_wide() -> None:
    tokens = replace(sequence(4, 4), owner=None)
    result = halved(tokens, torch.zeros(2, 4, 6, dtype=torch.bfloat16))
    assert result.owner is None
    assert result.residual.dtype == torch.float32
    assert result.branch.dtype == torch.bfloat16


def test_tokens_without_a_rectangle_are_refused() -> None:
    tokens = sequence(4, 4)
    for wrong in (
        replace(tokens, lattice=None),
        replace(tokens, carry=torch.zeros(1, 2, 16, 4)),
        new_sequence(torch.zeros(2, 17, 3), (0,), (1, 4, 4)),
    ):
        with pytest.raises(ValueError, match="only patch tokens"):
            halved(wrong, torch.zeros(2, 4, 6))

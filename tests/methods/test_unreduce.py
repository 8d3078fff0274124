"""Every reduction undone: against following each token by hand, and there and back again, for every method."""

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from option_values import BY_COUNT
from torch import Tensor

from backbones.layers.mixer import OUTPUTS
from backbones.sequence import TokenSequence, new_sequence
from backbones.unreduce import Fill, on_grid, unreduce
from methods.composition import Composition
from methods.reducer import Reducer
from methods.spec import parse

Fabricate = Callable[..., TokenSequence]
REDUCING = BY_COUNT
GRID, SPECIAL = (2, 3, 4), (5, 20)


def after(text: str, tokens: TokenSequence) -> TokenSequence:
    """`tokens` after two sites of the method, the second with the trace of the first."""
    composition = parse(text).composition()
    assert composition is not None
    left = Reducer(composition, 5, site=1)(tokens)
    rows = left.position

    def picked(value: Tensor, axis: int) -> Tensor:
        index = rows if axis == 1 else rows.expand(2, -1, -1)
        index = index.view(*index.shape, *[1] * (value.ndim - axis - 1)).expand(
            *index.shape, *value.shape[axis + 1 :]
        )
        return value.gather(axis, index)

    trace = tokens.trace
    assert trace is not None
    stacked = {name: picked(getattr(trace, name), 2) for name in ("delta_mean", "delta", "B", "C")}
    plain = {n: picked(getattr(trace, n), 1) for n in (*OUTPUTS, "keys", "cls_attention")}
    return Reducer(composition, 4, site=2)(replace(left, trace=replace(trace, **stacked, **plain)))


def by_hand(values: Tensor, tokens: TokenSequence, fill: Fill) -> Tensor:
    """`unreduce`, place by place, in fp64."""
    values = values.double()
    assert tokens.owner is not None
    frames, height, width = tokens.grid
    out = torch.zeros(tokens.batch, tokens.original_length, values.shape[2], dtype=values.dtype)
    for b in range(tokens.batch):
        owner = tokens.owner[b].tolist()
        special_slots = tokens.special[b].tolist()
        special_places = [int(tokens.position[b, slot]) for slot in special_slots]
        patches = [place for place in range(tokens.original_length) if place not in special_places]
        cell = {
            patches[(t * height + y) * width + x]: (t, y, x)
            for t in range(frames) for y in range(height) for x in range(width)
        }  # fmt: skip
        for place in range(tokens.original_length):
            source = place
            living = [
                other
                for other in patches
                if owner[other] >= 0 and owner[other] not in special_slots
            ]
            if owner[place] < 0 and fill == "bilinear":
                between = on_lines(cell[place], {cell[other]: other for other in living})
                if between:
                    weight = sum(share for _, share in between)
                    for other, share in between:
                        out[b, place] += share / weight * values[b, owner[other]]
                    continue
            if owner[place] < 0 and fill in ("nearest", "bilinear"):
                far = {
                    o: sum((p - q) ** 2 for p, q in zip(cell[o], cell[place], strict=True))
                    for o in living
                }
                source = min(living, key=lambda other: (far[other], other), default=place)
            if owner[source] >= 0:
                out[b, place] = values[b, owner[source]]
    return out


def on_lines(cell: tuple[int, ...], living: dict[tuple[int, ...], int]) -> list[tuple[int, float]]:
    """The first living cell each way along each axis, with one over its distance."""
    found = []
    for axis, way in product(range(3), (-1, 1)):
        for steps in range(1, 9):
            other = tuple(c + way * steps * (a == axis) for a, c in enumerate(cell))
            if other in living:
                found.append((living[other], 1 / steps))
                break
    return found


@pytest.mark.parametrize("fill", ["nearest", "bilinear", "zeros"])
@pytest.mark.parametrize(
    "name", [*REDUCING, "tome[order=shuffled]", "mtr[order=appended]", "evit[fused=false]"]
)
def test_every_method_is_undone_to_the_full_grid(
    fabricate: Fabricate, name: str, fill: Fill
) -> None:
    tokens = fabricate(batch=3, grid=GRID, special=SPECIAL, inner=6)
    left = after(name, tokens)
    full = unreduce(left.branch, left, fill)
    assert full.shape == (3, 26, tokens.branch.shape[2])
    close = 1e-6 if fill == "bilinear" else 0
    torch.testing.assert_close(
        full.double(), by_hand(left.branch, left, fill), atol=close, rtol=close
    )
    # there and back again: what is left is read off at its own place
    assert torch.equal(
        full.gather(1, left.position[:, :, None].expand_as(left.branch)), left.branch
    )
    # each token fills as many places as original tokens stand in it
    assert left.owner is not None
    slots = torch.arange(left.length, dtype=torch.float32).expand(3, -1)[:, :, None]
    lived = unreduce(slots, left, "zeros")[:, :, 0].masked_fill(left.owner < 0, -1)
    counts = torch.stack([(lived == slot).sum(1) for slot in range(left.length)], dim=1)
    assert torch.equal(counts.float(), left.size)


@pytest.mark.parametrize("name", ["tome[weights=size]", "pool[weights=size]"])
def test_a_mean_over_sizes_is_spread_to_those_it_was_made_of(
    fabricate: Fabricate, name: str
) -> None:
    tokens = fabricate(grid=GRID, special=SPECIAL, inner=6, dtype=torch.float64)
    left = after(name, tokens)
    full = unreduce(left.branch, left)
    slots = torch.arange(left.length, dtype=torch.float64).expand(2, -1)[:, :, None]
    group = unreduce(slots, left)[:, :, 0]
    for b in range(2):
        for place in range(26):
            members = group[b] == group[b, place]
            torch.testing.assert_close(full[b, place], tokens.branch[b, members].mean(0))


@given(
    st.tuples(st.integers(1, 2), st.integers(1, 4), st.integers(1, 4)),
    st.sets(st.integers(0, 8), max_size=2),
    st.integers(0, 9),
    st.sampled_from(["nearest", "bilinear", "zeros"]),
)
@settings(max_examples=60, deadline=None)
def test_any_grid_and_any_owners(
    grid: tuple[int, int, int], special: set[int], seed: int, fill: Fill
) -> None:
    patches = grid[0] * grid[1] * grid[2]
    special = {min(place, patches) for place in special}
    length = patches + len(special)
    generator = torch.Generator().manual_seed(seed)
    tokens = new_sequence(
        torch.randn(3, length, 2, generator=generator), sorted(special), grid
    ).tracked()
    owner = torch.randint(-length, length, (3, length), generator=generator).clamp_min(-1)
    for place in special:
        owner[:, place] = place
    tokens = replace(tokens, owner=owner)
    values = tokens.branch.double()
    full = unreduce(values, tokens, fill)
    torch.testing.assert_close(full, by_hand(values, tokens, fill), atol=1e-12, rtol=0)


def test_between_two_of_a_row_lies_a_straight_line() -> None:
    tokens = new_sequence(torch.tensor([[[0.0], [7], [7], [6]]]), (), (1, 1, 4)).tracked()
    tokens = replace(tokens, owner=torch.tensor([[0, -1, -1, 3]]))
    full = unreduce(tokens.branch, tokens, "bilinear")
    torch.testing.assert_close(full.flatten(), torch.tensor([0.0, 2, 4, 6]))


def test_a_frozen_token_takes_its_own_last_value() -> None:
    tokens = new_sequence(torch.tensor([[[5.0], [6], [7], [8]]]), (2,), (1, 1, 3)).tracked()
    tokens = replace(tokens, owner=torch.tensor([[1, -1, 2, -1]]))
    last = torch.tensor([[[1.0], [2]]]), torch.tensor([[-1, 1, -1, -1]])
    assert unreduce(tokens.branch, tokens, "frozen", last).flatten().tolist() == [6, 2, 7, 0]
    with pytest.raises(ValueError, match="had last"):
        unreduce(tokens.branch, tokens, "frozen")


def test_nothing_reduced_is_the_sequence_itself(fabricate: Fabricate) -> None:
    tokens = fabricate(grid=GRID, special=SPECIAL)
    full = unreduce(tokens.branch, tokens)
    assert torch.equal(full, tokens.branch)
    patches = [place for place in range(26) if place not in SPECIAL]
    assert torch.equal(on_grid(full, tokens), tokens.branch[:, patches].unflatten(1, GRID))


def test_an_image_does_not_depend_on_its_batch(fabricate: Fabricate) -> None:
    dropped = Composition("lowest", score="random")
    left = Reducer(dropped, 9, site=1)(fabricate(batch=3, grid=(1, 4, 5)))
    assert left.owner is not None
    alone = [
        replace(
            left,
            **{n: getattr(left, n)[b : b + 1] for n in ("branch", "position", "special", "owner")},
        )
        for b in range(3)
    ]
    each = [unreduce(one.branch, one) for one in alone]
    assert torch.equal(torch.cat(each), unreduce(left.branch, left))


def test_an_untracked_sequence_is_refused(fabricate: Fabricate) -> None:
    tokens = replace(fabricate(), owner=None)
    with pytest.raises(ValueError, match="track the sequence"):
        unreduce(tokens.branch, tokens)

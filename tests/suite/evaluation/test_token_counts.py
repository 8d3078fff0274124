"""Counts of surviving tokens, against counting token by token."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from backbones.sequence import TokenSequence, new_sequence
from methods.composition import Composition
from methods.reducer import Reducer
from suite.evaluation.groups import Group
from suite.evaluation.runner import place_specials
from suite.evaluation.token_counts import TokenCounts, TokenSums, spread
from suite.store.results import unpacked


def reduced(batch: int, seed: int, remove: int) -> TokenSequence:
    tokens = new_sequence(
        torch.zeros(batch, 10, 2), [4], (1, 3, 3), torch.arange(batch) + 10 * seed
    )
    return Reducer(Composition("lowest", score="random", order="shuffled"), remove, 1, seed)(tokens)


def frame_of(counts: TokenCounts, key: str) -> pd.DataFrame:
    counts.settle()
    total = TokenSums()
    total.add(counts)
    return total.frame(key)


@given(
    st.lists(
        st.tuples(st.integers(1, 4), st.integers(0, 9), st.integers(1, 8)), min_size=1, max_size=4
    )
)
@settings(max_examples=30, deadline=None)
def test_counts_are_those_of_counting_one_by_one(batches: list[tuple[int, int, int]]) -> None:
    total = TokenSums()
    alive: Counter[tuple[str, int, int]] = Counter()
    shown: Counter[tuple[str, int, int]] = Counter()
    generator = torch.Generator().manual_seed(0)
    for batch, seed, remove in batches:
        masks = torch.rand(batch, 10, generator=generator) < 0.4
        tokens = reduced(batch, seed, remove)
        counts = TokenCounts(masks)
        counts.observe(["a", "b"], 2, tokens)
        counts.observe(["b"], 3, tokens)
        counts.settle()
        total.add(counts)
        for row in range(batch):
            for place in tokens.position[row].tolist():
                for slot in (("a", 2), ("b", 2), ("b", 3)):
                    alive[*slot, place] += 1
                    shown[*slot, place] += int(masks[row, place])
    for key in ("a", "b"):
        frame = total.frame(key)
        assert frame is not None
        assert len(frame) == (10 if key == "a" else 20)
        for row in frame.itertuples():
            assert row.present == alive[key, row.block, row.position]
            assert row.foreground == shown[key, row.block, row.position]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 3), st.integers(0, 2**20))
def test_a_token_of_a_coarser_map_counts_at_all_positions_of_its_cell(
    rows: int, columns: int, halvings: int, seed: int
) -> None:
    alive = np.random.default_rng(seed).random((2, rows * columns)) < 0.2
    side = 2**halvings
    expected = np.zeros_like(alive)
    for image, place in zip(*np.nonzero(alive), strict=True):
        row, column = divmod(int(place), columns)
        for other in range(rows * columns):
            near = divmod(other, columns)
            if (near[0] // side, near[1] // side) == (row // side, column // side):
                expected[image, other] = True
    found = spread(torch.from_numpy(alive), (rows, columns), halvings)
    assert np.array_equal(found.numpy(), expected)


def test_all_positions_of_a_whole_coarser_map_are_there() -> None:
    whole = new_sequence(torch.zeros(2, 25, 2), (), (1, 5, 5))
    # the first of each cell of 2 x 2
    first = whole.position.unflatten(1, (5, 5))[:, ::2, ::2].flatten(1)
    coarse = replace(
        whole,
        position=first,
        **{name: getattr(whole, name)[:, :9] for name in ("branch", "residual", "size")},
    )
    masks = torch.zeros(2, 25, dtype=torch.bool)
    masks[:, :7] = True
    counts = TokenCounts(masks, np.array([True, False]), halvings=(2,))
    counts.observe(["a"], 1, whole)
    counts.observe(["a"], 3, coarse)
    frame = frame_of(counts, "a")
    assert (frame.present == 2).all()
    assert frame.groupby("block").foreground.sum().tolist() == [14, 14]
    assert set(frame.alive) == {bytes([0b10000000])}


def test_without_masks_the_foreground_is_marked_unknown() -> None:
    counts = TokenCounts()
    counts.observe(["a"], 1, reduced(2, 0, 3))
    frame = frame_of(counts, "a")
    assert frame is not None
    assert (frame.foreground < 0).all()
    assert frame_of(counts, "unseen").empty


def test_masks_of_patches_leave_room_for_the_special_tokens() -> None:
    masks = torch.tensor([[True, False, True], [False, True, True]])
    assert place_specials(masks, (1,)).tolist() == [
        [True, False, False, True],
        [False, False, True, True],
    ]
    assert place_specials(masks, (0, 4)).int().tolist() == [[0, 1, 0, 1, 0], [0, 0, 1, 1, 0]]


def test_a_position_that_is_no_place_is_refused_before_anything_is_counted() -> None:
    counts = TokenCounts()
    tokens = reduced(2, 0, 3)
    for stranger in (-1, 10):
        tokens.position[1, 2] = stranger
        with pytest.raises(ValueError, match="position"):
            counts.observe(["a"], 1, tokens)
        with pytest.raises(ValueError, match="position"):
            counts.observe_groups(["a"], 1, [Group.whole(tokens)])
    assert frame_of(counts, "a").empty


@given(
    st.integers(1, 4), st.integers(0, 9), st.integers(1, 8), st.booleans(), st.integers(0, 2**10)
)
@settings(max_examples=30, deadline=None)
def test_operations_for_a_gpu_count_as_the_loop_does(
    batch: int, seed: int, remove: int, masked: bool, drawn: int
) -> None:
    rng = np.random.default_rng(drawn)
    masks = torch.from_numpy(rng.random((batch, 10)) < 0.4) if masked else None
    tracked = rng.random(batch) < 0.5
    tokens = reduced(batch, seed, remove)
    loop, operations = TokenCounts(masks, tracked), TokenCounts(masks, tracked)
    for site, keys in ((1, ["a", "b"]), (2, ["b"])):
        loop.observe(keys, site, tokens)
        operations.observe_groups(keys, site, [Group.whole(tokens)])
    assert operations.settle() == {}
    for key in ("a", "b", "c"):
        pd.testing.assert_frame_equal(frame_of(loop, key), frame_of(operations, key))


@pytest.mark.parametrize("place", [-2, 10])
def test_on_a_gpu_a_wrong_position_is_found_at_the_end(
    monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    monkeypatch.setattr(torch.Tensor, "is_cpu", False)
    counts = TokenCounts(torch.ones(2, 10, dtype=torch.bool))
    counts.observe(["a", "b"], 1, reduced(2, 0, 3))
    wrong = reduced(2, 0, 3)
    wrong.position[1, 2] = place
    for site in (2, 3):
        counts.observe(["b"], site, wrong)
    assert counts.settle() == {"b": f"ValueError at site 2: a token has position {place}, of 10"}
    assert frame_of(counts, "a").present.sum() == 14


def test_a_place_named_twice_counts_once() -> None:
    counts = TokenCounts(torch.ones(2, 10, dtype=torch.bool), np.array([True, False]))
    tokens = reduced(2, 0, 3)
    tokens.position[:] = 4
    counts.observe(["a"], 1, tokens)
    frame = frame_of(counts, "a")
    assert frame.present.tolist() == frame.foreground.tolist() == [0] * 4 + [2] + [0] * 5
    assert unpacked(frame.alive.tolist(), 1).tolist() == [[place == 4 for place in range(10)]]

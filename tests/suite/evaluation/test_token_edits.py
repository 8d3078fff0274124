"""Variants of one image against sequences rebuilt by hand, token by token."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from backbones.sequence import TokenSequence, new_sequence
from suite.evaluation.token_edits import moved, pruned, removed, zeroed

PATCHES = 9


def tokens(special: Sequence[int], batch: int = 2) -> TokenSequence:
    generator = torch.Generator().manual_seed(2)
    streams = torch.randn(2, batch, PATCHES + len(special), 3, generator=generator)
    return replace(new_sequence(streams[0], special, (1, 3, 3)), residual=streams[1])


def places_of(variants: TokenSequence, whole: TokenSequence, row: int, variant: int) -> list[int]:
    """Which tokens of `whole` a variant consists of, by their values in both streams alone."""
    order = []
    for place in range(variants.length):
        same = [
            old
            for old in range(whole.length)
            if torch.equal(variants.branch[variant, place], whole.branch[row, old])
            and torch.equal(variants.residual[variant, place], whole.residual[row, old])
        ]
        assert len(same) == 1
        assert int(variants.position[variant, place]) == same[0]
        order += same
    return order


@given(
    st.sampled_from([(), (0,), (4,), (9,), (0, 5), (3, 10), (9, 10)]), st.integers(0, 1), st.data()
)
def test_removed_lacks_one_token(special: tuple[int, ...], row: int, data: st.DataObject) -> None:
    whole = tokens(special)
    ranks = data.draw(st.lists(st.integers(0, PATCHES - 1), min_size=1, max_size=4))
    variants = removed(whole, row, torch.tensor(ranks))
    patches = [place for place in range(whole.length) if place not in special]
    for variant, rank in enumerate(ranks):
        left = [place for place in range(whole.length) if place != patches[rank]]
        assert places_of(variants, whole, row, variant) == left
        assert variants.special[variant].tolist() == [left.index(place) for place in special]
        assert int(variants.image[variant]) == row


def test_zeroed_stays_and_is_nothing() -> None:
    whole = tokens([4])
    before = whole.branch.clone(), whole.residual.clone()
    variants = zeroed(whole, 1, torch.tensor([3, 4]))
    for variant, place in enumerate((3, 5)):  # the fifth patch stands behind the special token
        for stream, old in ((variants.branch, whole.branch), (variants.residual, whole.residual)):
            assert not stream[variant, place].any()
            others = [other for other in range(whole.length) if other != place]
            assert torch.equal(stream[variant, others], old[1, others])
    assert torch.equal(variants.position[0], whole.position[1])
    assert torch.equal(whole.branch, before[0])
    assert torch.equal(whole.residual, before[1])


def test_pruned_goes_by_its_row_of_scores() -> None:
    whole = tokens([4])
    scores = torch.tensor([[9.0, 8, 7, 6, 5, 4, 3, 2, 1], [1.0, 2, 3, 4, 5, 6, 7, 8, 9]])
    variants = pruned(whole, 0, scores, 7)
    assert places_of(variants, whole, 0, 0) == [0, 1, 4]
    assert places_of(variants, whole, 0, 1) == [4, 8, 9]
    assert variants.special.tolist() == [[2], [0]]


@given(st.integers(0, PATCHES), st.lists(st.integers(0, PATCHES), min_size=1, max_size=4))
def test_moved_puts_the_class_token_there_and_keeps_the_patches_in_order(
    own: int, places: list[int]
) -> None:
    whole = tokens([own])
    variants = moved(whole, 1, torch.tensor(places))
    for variant, place in enumerate(places):
        order = [old for old in range(whole.length) if old != own]
        order.insert(place, own)
        assert places_of(variants, whole, 1, variant) == order
        assert variants.special[variant].tolist() == [place]


def test_only_one_special_token_can_be_moved() -> None:
    with pytest.raises(ValueError, match="not 2"):
        moved(tokens([0, 5]), 0, torch.tensor([1]))

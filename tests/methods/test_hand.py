"""Every method on four tokens, worked out by hand."""

from dataclasses import replace

import pytest
import torch

from backbones.sequence import TokenSequence, Trace, new_sequence
from methods.compose import Reducer
from methods.spec import parse


def four() -> TokenSequence:
    """Patches 0, 1, 3, 4 and a class token at 2; Delta ranks them 4 > 0 > 3 > 1."""
    rows = [[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [1.0, 0.2], [0.0, 2.0]]
    tokens = new_sequence(torch.tensor([rows]), [2], (1, 2, 2)).tracked()
    delta = torch.tensor([[[0.3, 0.1, 9.0, 0.1, 0.3]], [[0.0, 0.0, 9.0, 0.1, 0.1]]])
    return replace(tokens, trace=Trace(delta_mean=delta))


def reduced(text: str, remove: int = 1) -> TokenSequence:
    composition = parse(text).composition()
    assert composition is not None
    return Reducer(composition, remove, site=3)(four())


def test_mtr_merges_the_lowest_into_the_next_above() -> None:
    out = reduced("mtr")
    # Source = 1, Target = 3 alone: their mean stands at 3.
    assert out.position.tolist() == [[0, 2, 3, 4]]
    assert out.special.tolist() == [[1]]
    assert out.size.tolist() == [[1, 1, 2, 1]]
    assert out.owner is not None
    assert out.owner.tolist() == [[0, 2, 1, 2, 3]]
    assert torch.allclose(out.branch[0], torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.95, 0.15], [0.0, 2.0]]))


def test_mtr_drops() -> None:
    out = reduced("mtr[weights=drop]", 2)
    assert out.position.tolist() == [[0, 2, 4]]
    assert out.owner is not None
    assert out.owner.tolist() == [[0, -1, 1, -1, 2]]


def test_tome_merges_the_most_similar_even_token() -> None:
    out = reduced("tome")
    # Patches by rank: 0, 1 | 3, 4: a = {0, 3}, b = {1, 4}. cos(0,1) = .994, cos(3,1) = .996: the second edge wins.
    assert out.position.tolist() == [[0, 1, 2, 4]]
    assert torch.allclose(out.branch[0, 1], torch.tensor([0.95, 0.15]))
    assert out.special.tolist() == [[2]]


def test_tome_appends_as_published() -> None:
    out = reduced("tome[order=appended]")
    # Unmerged of a: 0. Then b: 1, 4. The class token stands after the two of smaller position, 0 and 1.
    assert out.position.tolist() == [[0, 1, 2, 4]]
    out = reduced("tome[order=appended]", 2)
    assert out.position.tolist() == [[1, 2, 4]]


def test_stride_and_pool() -> None:
    assert reduced("stride", 2).position.tolist() == [[1, 2, 4]]
    out = reduced("pool", 2)
    assert out.position.tolist() == [[0, 2, 3]]
    assert torch.allclose(out.branch[0, 0], torch.tensor([0.95, 0.05]))
    out = reduced("pool[neighbours=grid]", 2)
    assert out.size.tolist() == [[2, 1, 2]]


def test_evit_fuses_what_the_class_token_is_least_like() -> None:
    out = reduced("evit")
    # Class token (0, 1): cosines 0, .110, .196, 1 of patches 0, 1, 3, 4. The two lowest fuse in the place of patch 1.
    assert out.position.tolist() == [[1, 2, 3, 4]]
    weight = torch.softmax(torch.tensor([0.0, 0.1 / 0.82**0.5, 0.2 / 1.04**0.5, 1.0]), 0)
    assert torch.allclose(out.branch[0, 0], weight[0] * torch.tensor([1.0, 0.0]) + weight[1] * torch.tensor([0.9, 0.1]))
    assert reduced("evit[fused=false]", 2).position.tolist() == [[2, 3, 4]]


def test_random_follows_its_seed() -> None:
    composition = parse("random").composition()
    assert composition is not None
    results = {tuple(Reducer(composition, 2, 3, seed)(four()).position[0].tolist()) for seed in range(20)}
    assert len(results) > 3
    assert Reducer(composition, 2, 3, 7)(four()).position.equal(Reducer(composition, 2, 3, 7)(four()).position)


@pytest.mark.parametrize(
    "text", ["mtr", "mtr[order=score]", "tome[order=appended]", "evit", "pool", "stride", "random"]
)
def test_nothing_to_remove_gives_the_same_tokens(text: str) -> None:
    assert torch.equal(reduced(text, 0).branch, four().branch)

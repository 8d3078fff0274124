"""Every method on four tokens, worked out by hand."""

from dataclasses import replace

import pytest
import torch

from backbones.sequence import TokenSequence, Trace, new_sequence
from methods.parts.score import DIRECTIONS, SCORES, SiteContext
from methods.reducer import Reducer
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
    assert torch.allclose(
        out.branch[0], torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.95, 0.15], [0.0, 2.0]])
    )


def test_mtr_drops() -> None:
    out = reduced("mtr[weights=drop]", 2)
    assert out.position.tolist() == [[0, 2, 4]]
    assert out.owner is not None
    assert out.owner.tolist() == [[0, -1, 1, -1, 2]]


def test_mtr_merges_some_and_drops_the_lowest() -> None:
    out = reduced("mtr[drop_ratio=0.5]", 2)
    # Sources are 3 and then 1, Targets 4 and 0: 3 goes into 0, the lowest is gone.
    assert out.position.tolist() == [[0, 2, 4]]
    assert out.owner is not None
    assert out.owner.tolist() == [[0, -1, 1, 0, 2]]
    assert torch.allclose(out.branch[0, 0], torch.tensor([1.0, 0.1]))


def test_tome_merges_the_most_similar_even_token() -> None:
    out = reduced("tome")
    # Patches by rank: 0, 1 | 3, 4: a = {0, 3}, b = {1, 4}. cos(0,1) = .994, cos(3,1) = .996: the
    # second edge wins.
    assert out.position.tolist() == [[0, 1, 2, 4]]
    assert torch.allclose(out.branch[0, 1], torch.tensor([0.95, 0.15]))
    assert out.special.tolist() == [[2]]


def test_tome_appends_as_published() -> None:
    out = reduced("tome[order=appended]")
    # Unmerged of a: 0. Then b: 1, 4. The class token stands after the two of smaller position, 0
    # and 1.
    assert out.position.tolist() == [[0, 1, 2, 4]]
    out = reduced("tome[order=appended]", 2)
    assert out.position.tolist() == [[1, 2, 4]]


def test_tome_on_attention_merges_odd_tokens_by_their_keys_and_weighs_later_attention() -> None:
    tokens = four()
    assert tokens.trace is not None
    # Patches by rank: 0, 1 | 3, 4: a = {1, 4}, b = {0, 3}. By their keys 1 is like 3, and 4 like
    # neither.
    keys = torch.tensor([[[1.0, 0], [0, 1], [1, 1], [0, 1], [-1, -1]]])
    given = replace(tokens, trace=replace(tokens.trace, keys=keys))
    composition = parse("tome").composition(frozenset({"keys"}))
    assert composition is not None
    assert composition.needs == {"keys"}
    assert (composition.proportional, composition.order) == (True, "appended")
    out = Reducer(composition, 1, site=1)(given)
    assert out.position.tolist() == [
        [4, 2, 0, 3]
    ]  # unmerged of a, then b; the class token behind one smaller place
    assert out.size.tolist() == [[1, 1, 1, 2]]
    assert (given.weighted, out.weighted) == (False, True)
    adapted = parse("tome").composition(frozenset({"delta"}))
    assert (
        adapted
        == parse("tome[feature=branch,sources=even,attention=plain,order=restored]").composition()
    )
    assert adapted is not None
    assert not Reducer(adapted, 1, site=1)(given).weighted


def test_evit_on_attention_sums_by_the_attention_as_it_is() -> None:
    composition = parse("evit").composition(frozenset({"keys", "cls_attention"}))
    assert composition == parse("evit[score=cls-attention]").composition()
    assert composition is not None
    tokens = four()
    assert tokens.trace is not None
    given = replace(
        tokens,
        trace=replace(tokens.trace, cls_attention=torch.tensor([[0.1, 0.2, 0.4, 0.25, 0.05]])),
    )
    out = Reducer(composition, 1, site=1)(given)
    # 0 and 4 are attended to least; the better of them takes 0.1 x_0 + 0.05 x_4.
    assert out.position.tolist() == [[0, 1, 2, 3]]
    assert torch.allclose(out.branch[0, 0], 0.1 * tokens.branch[0, 0] + 0.05 * tokens.branch[0, 4])


def test_a_score_of_both_directions_is_the_sum_of_all_there_are() -> None:
    values = torch.arange(12.0).view(4, 1, 3)
    tokens = new_sequence(torch.zeros(1, 3, 2), [], (1, 1, 3))
    context = SiteContext(replace(tokens, trace=Trace(delta_mean=values)), tokens.patches(), 0, 1)
    found = {name: SCORES["delta"].read(context, name).tolist() for name in DIRECTIONS}
    assert found == {
        "both": [[18.0, 22.0, 26.0]],
        "forward": [[0.0, 1.0, 2.0]],
        "backward": [[3.0, 4.0, 5.0]],
    }


def test_stride_and_pool() -> None:
    assert reduced("stride", 2).position.tolist() == [[1, 2, 4]]
    out = reduced("pool", 2)
    assert out.position.tolist() == [[0, 2, 3]]
    assert torch.allclose(out.branch[0, 0], torch.tensor([0.95, 0.05]))
    out = reduced("pool[path=grid]", 2)
    assert out.size.tolist() == [[2, 1, 2]]


def test_evit_fuses_what_the_class_token_is_least_like() -> None:
    out = reduced("evit[score=cls-similarity]")
    # Class token (0, 1): cosines 0, .110, .196, 1 of patches 0, 1, 3, 4. The two lowest fuse in the
    # place of patch 1.
    assert out.position.tolist() == [[1, 2, 3, 4]]
    weight = torch.softmax(torch.tensor([0.0, 0.1 / 0.82**0.5, 0.2 / 1.04**0.5, 1.0]), 0)
    assert torch.allclose(
        out.branch[0, 0],
        weight[0] * torch.tensor([1.0, 0.0]) + weight[1] * torch.tensor([0.9, 0.1]),
    )
    assert reduced("evit[fused=false,score=cls-similarity]", 2).position.tolist() == [[2, 3, 4]]


def test_prunings_drop_what_scores_least() -> None:
    assert reduced("delta").position.tolist() == [[0, 2, 3, 4]]
    assert reduced("delta", 2).position.tolist() == [[0, 2, 4]]
    # Lengths 1, .906, 1.02 and 2.
    assert reduced("norm", 2).position.tolist() == [[2, 3, 4]]


def test_each_reading_clips_another_output() -> None:
    # One channel each: lowest is patch 0 ungated, 1 gated, 3 behind the projection. The class
    # token's are lower still.
    rows = {
        "ungated": [[-1.0], [2.0], [-9.0], [1.0], [3.0]],
        "gated": [[0.5], [-0.3], [-9.0], [0.2], [0.1]],
        "projected": [[1.0, 0.0], [0.9, 0.0], [-9.0, 0.0], [-1.0, 0.5], [0.0, 2.0]],
    }
    branch = torch.tensor([rows["projected"]])
    trace = Trace(ungated=torch.tensor([rows["ungated"]]), y=torch.tensor([rows["gated"]]))
    tokens = replace(four(), branch=branch, trace=trace)
    for reading, stay in (
        ("ungated", [1, 2, 3, 4]),
        ("gated", [0, 2, 3, 4]),
        ("projected", [0, 1, 2, 4]),
    ):
        composition = parse(f"activation[reading={reading}]").composition()
        assert composition is not None
        assert Reducer(composition, 1, site=3)(tokens).position.tolist() == [stay]


def test_the_second_reading_of_the_score() -> None:
    # On a 2 x 2 grid every token sees the largest Delta: all are equal, and the last one goes.
    assert reduced("delta[window=3]").position.tolist() == [[0, 1, 2, 3]]
    # Distances 2, 1, 1, 2 of a length of 5: .3 and .4 fade by e^-4, .1 and .2 by e^-2; the first is
    # the smallest.
    assert reduced("delta[sensitivity=10]").position.tolist() == [[1, 2, 3, 4]]


def test_a_window_protects_both_sides() -> None:
    assert reduced("delta[cls_window=1]").position.tolist() == [[1, 2, 3, 4]]
    composition = parse("delta[cls_window=1]").composition()
    assert composition is not None
    assert (composition.cap(4), composition.cap(4, 0), composition.cap(2)) == (1, 3, 0)
    # The blind ones share out what is left: patches 0 and 4, on both sides of the window.
    assert reduced("stride[cls_window=1]").position.tolist() == [[1, 2, 3, 4]]
    out = reduced("pool[cls_window=1]")
    assert out.position.tolist() == [[0, 1, 2, 3]]
    assert torch.allclose(out.branch[0, 0], torch.tensor([0.5, 1.0]))


def test_the_second_best_partner() -> None:
    # Second best of b = {1, 4} is 4 for both of a = {0, 3}, and cos(3, 4) = .196 > cos(0, 4) = 0.
    out = reduced("tome[neighbour_rank=2]")
    assert out.position.tolist() == [[0, 1, 2, 4]]
    assert torch.allclose(out.branch[0, 3], torch.tensor([0.5, 1.1]))


def test_mame_merges_the_most_similar_of_the_lower_half() -> None:
    # Delta splits {1, 3} from {0, 4}; cos(1, 0) = .994, cos(3, 0) = .981.
    out = reduced("mame")
    assert out.position.tolist() == [[0, 2, 3, 4]]
    assert torch.allclose(out.branch[0, 0], torch.tensor([0.95, 0.05]))


def test_utr_treats_the_streams_differently() -> None:
    tokens = replace(four(), residual=four().branch.clone())
    composition = parse("utr[score=delta]").composition()
    assert composition is not None
    out = Reducer(composition, 2, site=3)(tokens)
    # 1 goes into 0, then 3; the branch drops the less similar 3.
    assert out.position.tolist() == [[0, 2, 4]]
    assert torch.allclose(out.branch[0, 0], torch.tensor([0.95, 0.05]))
    assert torch.allclose(out.residual[0, 0], torch.tensor([0.975, 0.125]))
    assert out.size.tolist() == [[3, 1, 1]]


def test_pumer_prunes_then_merges() -> None:
    out = reduced("pumer[score=norm]", 2)
    # 1 is the shortest; of 0, 3, 4 the middle one takes in 0.
    assert out.position.tolist() == [[2, 3, 4]]
    assert torch.allclose(out.branch[0, 1], torch.tensor([1.0, 0.1]))
    assert out.size.tolist() == [[1, 2, 1]]


def test_stm_joins_neighbours_but_not_over_the_class_token() -> None:
    out = reduced("stm[weights=mean,cls_window=0]")
    assert out.position.tolist() == [[0, 2, 3, 4]]
    assert torch.allclose(out.branch[0, 0], torch.tensor([0.95, 0.05]))
    assert reduced("stm[weights=mean,cls_window=0]", 2).position.tolist() == [[0, 2, 3]]


def test_rmeeto_places_the_class_token() -> None:
    assert reduced("rmeeto").position.tolist() == [[0, 1, 2, 4]]
    # As released: floor(2 x 4 / 5) = 1, before patch 1.
    out = reduced("rmeeto[cls_placement=proportional]")
    assert out.position.tolist() == [[0, 2, 1, 4]]
    assert out.special.tolist() == [[1]]


def test_random_follows_its_seed() -> None:
    composition = parse("random").composition()
    assert composition is not None
    results = {
        tuple(Reducer(composition, 2, 3, seed)(four()).position[0].tolist()) for seed in range(20)
    }
    assert len(results) > 3
    assert Reducer(composition, 2, 3, 7)(four()).position.equal(
        Reducer(composition, 2, 3, 7)(four()).position
    )


@pytest.mark.parametrize(
    "text", ["mtr", "mtr[order=score]", "tome[order=appended]", "evit", "pool", "stride", "random"]
)
def test_nothing_to_remove_gives_the_same_tokens(text: str) -> None:
    assert torch.equal(reduced(text, 0).branch, four().branch)

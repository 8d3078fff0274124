"""Adaptive counts against loops in plain Python: which tokens lie below, and what it costs."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from backbones.sequence import TokenSequence
from methods.adaptive import AdaptiveStep, below, cost
from methods.composition import Composition
from methods.parts.cost import Cost
from methods.spec import parse

Fabricate = Callable[..., TokenSequence]
values = st.integers(-8, 8).map(lambda number: number / 4)  # with many ties


def far_below(scores: list[float], alpha: float) -> list[int]:
    """Places of the scores below mean - alpha x deviation, one number after the other."""
    mean = math.fsum(scores) / len(scores)
    deviation = math.sqrt(math.fsum((s - mean) ** 2 for s in scores) / len(scores))
    return [place for place, score in enumerate(scores) if score < mean - alpha * deviation]


@given(st.lists(st.lists(values, min_size=7, max_size=7), min_size=1, max_size=5), values)
def test_below_is_that_of_a_loop(images: list[list[float]], alpha: float) -> None:
    # Moved off the grid, so that no score lies on the threshold but where all are equal.
    alpha += math.pi / 100
    found = below(torch.tensor(images), alpha).tolist()
    assert found == [len(far_below(scores, alpha)) for scores in images]


def test_of_equal_scores_none_is_below() -> None:
    equal = torch.full((2, 49), 0.1)
    for alpha in (-3.0, 0.0, 0.5):
        assert below(equal, alpha).tolist() == [0, 0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("text", ["delta", "delta[cls_window=3]", "mtr[score=b]", "norm"])
def test_as_many_leave_as_lie_below_and_they_are_those(
    fabricate: Fabricate, text: str, dtype: torch.dtype
) -> None:
    composition = parse(text).composition()
    assert composition is not None
    window = composition.cls_window
    tokens = fabricate(batch=6, grid=(1, 5, 5), special=(9,), worn=3, dtype=dtype, seed=2)
    step = AdaptiveStep(composition, 0.3, site=2)
    counts = step.counts(tokens).tolist()
    assert len(set(counts)) > 1
    for image, count in enumerate(counts):
        own = tokens.pick_images(torch.tensor([image]))
        assert tokens.trace is not None
        own = replace(own, trace=tokens.trace.pick_images(torch.tensor([image])))
        special = int(own.special[0, 0])
        places = [place for place in range(own.length) if place != special]
        free = sorted(sorted(places, key=lambda p: (abs(p - special), p))[2 * window :])
        trace = own.trace
        assert trace is not None
        if text.startswith("delta"):
            assert trace.delta is not None
            scores = [float(trace.delta[:, 0, place].mean(-1).sum()) for place in free]
        elif text == "norm":
            summed = own.branch[0].double() + own.residual[0].double()
            scores = [float(summed[place].norm()) for place in free]
        else:
            assert trace.B is not None
            scores = [float(trace.B[:, 0, place].abs().mean(-1).sum()) for place in free]
        leaving = far_below(scores, 0.3)
        assert len(leaving) == count
        left = step.reducer(count)(own)
        gone = set(own.position[0].tolist()) - set(left.position[0].tolist())
        assert gone == {int(own.position[0, free[rank]]) for rank in leaving}


def test_one_token_stays_however_many_lie_below(fabricate: Fabricate) -> None:
    delta = parse("delta").composition()
    assert delta is not None
    tokens = fabricate(batch=3)
    assert AdaptiveStep(delta, -4.0, site=1).counts(tokens).tolist() == [15, 15, 15]
    assert AdaptiveStep(delta, 4.0, site=1).counts(tokens).tolist() == [0, 0, 0]


def test_the_methods_of_which_the_lowest_leave() -> None:
    def removes_lowest(text: str) -> bool:
        composition = parse(text).composition()
        return composition is not None and composition.removes_lowest

    assert all(map(removes_lowest, ("mtr", "delta", "norm", "evit", "hsa", "random")))
    others = (
        "tome",
        "utr",
        "pumer",
        "stride",
        "pool",
        "storm",
        "grid-pool",
        "mtr[matching=halves]",
    )
    assert not any(map(removes_lowest, others))


class Sizes:
    """A made-up backbone."""

    dim, inner, states, specials, directions = 6, 8, 3, 1, 2
    timescales, heads, head_width = 8, 0, 0


def test_the_score_costs_even_where_no_token_leaves() -> None:
    delta = Composition("lowest", score="delta", cls_window=2)
    # The mean over 8 channels and the sum of two scans for each of 17 tokens; 4 for each of the 12
    # that no window protects.
    expected = Cost(0, (2 * 9 + 1) * 17 + 4 * 12)
    assert cost(delta, 16, 0, Sizes()) == cost(delta, 16, 5, Sizes()) == expected
    mtr = parse("mtr").composition()
    assert mtr is not None
    assert cost(mtr, 16, 5, Sizes()) == mtr.cost(16, 5, Sizes()) + Cost(0, 4 * 16)

"""Sites and weights against values written by hand."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backbones.common.errors import UserError
from backbones.shape import Shape
from suite.plan.schedule import SCHEDULES, check_sites, default_sites, every, find_schedule


def blocks(depth: int) -> Shape:
    """A backbone of so many blocks."""
    return Shape("blocks", depth, 4, 8, 2, 1, 4, 2, (1, 4, 4), 3, 16, 1, 10)


@pytest.mark.parametrize(
    ("depth", "sites"),
    [
        (24, range(2, 24, 2)),
        (8, range(1, 8)),
        (12, range(1, 12)),
        (32, range(3, 32, 3)),
        (36, range(3, 36, 3)),
    ],
)
def test_default_sites(depth: int, sites: range) -> None:
    assert default_sites(range(1, depth)) == tuple(sites)


@given(st.integers(2, 200))
def test_default_sites_are_valid_and_about_eleven(depth: int) -> None:
    sites = default_sites(range(1, depth))
    assert check_sites(sites, blocks(depth)) == sites
    assert len(sites) <= 17


@pytest.mark.parametrize(
    ("layers", "sites"), [(12, range(1, 24, 2)), (24, range(3, 48, 4)), (1, [1])]
)
def test_a_transformer_lists_the_places_between_attention_and_mlp(
    layers: int, sites: range
) -> None:
    shape = replace(
        blocks(2 * layers), states=0, dt_rank=0, conv_kernel=0, directions=0, heads=2, hidden=8
    )
    assert shape.sites == tuple(range(1, 2 * layers, 2))
    assert default_sites(shape.sites) == tuple(sites)
    with pytest.raises(
        UserError, match=r"sites \[2\] do not fit blocks: name different ones of 1\b"
    ):
        check_sites([2], shape)


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("constant-ratio", [1] * 11),
        ("constant-count", [1] * 11),
        ("one-shot", [1] + [0] * 10),
        ("staged", [0, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0]),
        ("rising", list(range(1, 12))),
        ("falling", list(range(11, 0, -1))),
        ("every-3", [1, 0, 0, 1, 0, 0, 1, 0, 0, 1, 0]),
        ("every-1", [1] * 11),
    ],
)
def test_weights(name: str, weights: list[int]) -> None:
    """On the eleven sites 2, 4, ..., 22; staged is DyVM's {6, 12, 18}."""
    schedule = find_schedule(name)
    assert schedule.name == name
    assert schedule.weights(default_sites(range(1, 24)), 24) == weights


@given(st.sampled_from([*SCHEDULES, "every-2", "every-99"]), st.integers(2, 60), st.data())
def test_weights_are_usable_on_any_sites(name: str, depth: int, data: st.DataObject) -> None:
    sites = data.draw(
        st.sets(st.integers(1, depth - 1), min_size=1).map(lambda chosen: tuple(sorted(chosen)))
    )
    weights = find_schedule(name).weights(sites, depth)
    assert len(weights) == len(sites)
    assert min(weights) >= 0
    assert max(weights) > 0


def test_what_a_user_gets_wrong() -> None:
    with pytest.raises(UserError, match="did you mean staged"):
        find_schedule("stages")
    with pytest.raises(UserError, match="at least 1"):
        every(0)
    for sites in ([0, 2], [24], [2, 2], []):
        with pytest.raises(UserError, match=r"1, 2, \.\.\., 23"):
            check_sites(sites, blocks(24))
    assert check_sites([6, 2], blocks(24)) == (2, 6)


def test_counts_of_a_paper_are_proportions() -> None:
    schedule = find_schedule("counts-27-25-0-19")
    assert schedule.of == "first"
    assert schedule.weights([5, 11, 17, 23], 36) == [27, 25, 0, 19]
    with pytest.raises(UserError, match="has 4 counts for 2 sites: name one for each of --sites"):
        schedule.weights([5, 11], 36)
    with pytest.raises(UserError, match="counts-0-0 removes nothing"):
        find_schedule("counts-0-0")
    with pytest.raises(UserError, match="unknown schedule 'counts-x'"):
        find_schedule("counts-x")

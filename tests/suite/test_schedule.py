"""Sites and weights against values written by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backbones.errors import UserError
from suite.schedule import SCHEDULES, check_sites, default_sites, every, named


@pytest.mark.parametrize(
    ("depth", "sites"),
    [(24, range(2, 24, 2)), (8, range(1, 8)), (12, range(1, 12)), (32, range(3, 32, 3)), (36, range(3, 36, 3))],
)
def test_default_sites(depth: int, sites: range) -> None:
    assert default_sites(depth) == tuple(sites)


@given(st.integers(2, 200))
def test_default_sites_are_valid_and_about_eleven(depth: int) -> None:
    sites = default_sites(depth)
    assert check_sites(sites, depth) == sites
    assert len(sites) <= 17


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
    schedule = named(name)
    assert schedule.name == name
    assert schedule.weights(default_sites(24), 24) == weights


@given(st.sampled_from([*SCHEDULES, "every-2", "every-99"]), st.integers(2, 60), st.data())
def test_weights_are_usable_on_any_sites(name: str, depth: int, data: st.DataObject) -> None:
    sites = data.draw(st.sets(st.integers(1, depth - 1), min_size=1).map(lambda chosen: tuple(sorted(chosen))))
    weights = named(name).weights(sites, depth)
    assert len(weights) == len(sites)
    assert min(weights) >= 0
    assert max(weights) > 0


def test_what_a_user_gets_wrong() -> None:
    with pytest.raises(UserError, match="did you mean staged"):
        named("stages")
    with pytest.raises(UserError, match="at least 1"):
        every(0)
    for sites in ([0, 2], [24], [2, 2], []):
        with pytest.raises(UserError, match="1 to 23"):
            check_sites(sites, 24)
    assert check_sites([6, 2], 24) == (2, 6)

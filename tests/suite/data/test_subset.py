import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backbones.common.errors import UserError
from suite.data.subset import scramble, stratified

labels_lists = st.lists(st.integers(0, 6), min_size=1, max_size=80)


def splitmix(key: int) -> int:
    mask = (1 << 64) - 1
    z = ((key + 1) * 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return z ^ (z >> 31)


def test_scramble_is_splitmix64() -> None:
    assert scramble(np.array([0, 1, 12345])).tolist() == [splitmix(0), splitmix(1), splitmix(12345)]
    assert splitmix(0) == 0xE220A8397B1DCDAF  # the published first output for seed 0


@settings(max_examples=60, deadline=None)
@given(labels_lists, st.data())
def test_even_sorted_and_nested(labels: list[int], data: st.DataObject) -> None:
    array = np.array(labels)
    large = data.draw(st.integers(1, len(labels)))
    small = data.draw(st.integers(1, large))
    chosen = stratified(array, large)
    assert len(set(chosen.tolist())) == large
    assert chosen.tolist() == sorted(chosen.tolist())
    assert set(stratified(array, small).tolist()) <= set(chosen.tolist())
    sizes = np.bincount(array, minlength=7)
    taken = np.bincount(array[chosen], minlength=7)
    unexhausted = taken[taken < sizes]
    if unexhausted.size:
        assert taken.max() <= unexhausted.min() + 1


def test_remainder_is_not_always_given_to_the_first_classes() -> None:
    labels = np.repeat(np.arange(50), 4)
    assert not np.array_equal(np.unique(labels[stratified(labels, 10)]), np.arange(10))


@pytest.mark.parametrize("count", [0, 6, -1])
def test_impossible_counts_are_named(count: int) -> None:
    with pytest.raises(UserError, match="choose 1 to 5"):
        stratified(np.zeros(5, np.int64), count)

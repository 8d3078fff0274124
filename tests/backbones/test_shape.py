"""A shape is a plain, immutable record that refuses impossible sizes."""

from dataclasses import FrozenInstanceError, replace

import pytest

from backbones.shape import Shape

TINY = Shape("vim_tiny", 24, 192, 384, 16, 12, 4, 2, (1, 16, 16), 3, 196, 1, 1000)


def test_length_counts_specials() -> None:
    assert TINY.length == 197
    assert replace(TINY, patches=49, specials=12).length == 61


def test_is_frozen_and_hashable() -> None:
    with pytest.raises(FrozenInstanceError):
        TINY.depth = 3  # type: ignore[misc]
    assert hash(TINY) == hash(replace(TINY))


@pytest.mark.parametrize(
    "field", ["depth", "dim", "inner", "states", "dt_rank", "conv_kernel", "directions", "channels", "patches"]
)
def test_refuses_sizes_below_one(field: str) -> None:
    with pytest.raises(ValueError, match="vim_tiny"):
        replace(TINY, **{field: 0})  # type: ignore[arg-type]


def test_refuses_negative_specials_and_empty_patches() -> None:
    assert replace(TINY, specials=0).length == 196
    with pytest.raises(ValueError, match="specials"):
        replace(TINY, specials=-1)
    with pytest.raises(ValueError, match="patch"):
        replace(TINY, patch=(1, 0, 16))

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
    "field",
    [
        "depth",
        "dim",
        "inner",
        "states",
        "dt_rank",
        "conv_kernel",
        "directions",
        "channels",
        "patches",
    ],
)
def test_refuses_sizes_below_one(field: str) -> None:
    with pytest.raises(ValueError, match="vim_tiny"):
        replace(TINY, **{field: 0})  # type: ignore[arg-type]


def test_has_scans_or_attention_and_not_both() -> None:
    attention = replace(TINY, states=0, dt_rank=0, conv_kernel=0, directions=0, heads=6, hidden=768)
    assert (attention.head_width, TINY.head_width) == (64, 0)
    assert attention.sites == tuple(range(1, 24, 2))
    assert TINY.sites == tuple(range(1, 24))
    for changed in ({"hidden": 0}, {"states": 16}, {"heads": 0}):
        with pytest.raises(ValueError, match="vim_tiny"):
            replace(attention, **changed)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="hidden must be 0"):
        replace(TINY, hidden=8)


def test_a_scan_with_heads_has_a_timescale_a_head_and_an_mlp() -> None:
    headed = replace(TINY, dt_rank=0, directions=1, scan_heads=6, hidden=480)
    assert (headed.timescales, TINY.timescales, headed.head_width) == (6, 384, 0)
    assert headed.sites == tuple(range(1, 24))
    for changed in ({"hidden": 0}, {"dt_rank": 12}, {"states": 0}):
        with pytest.raises(ValueError, match="vim_tiny"):
            replace(headed, **changed)  # type: ignore[arg-type]


def test_refuses_negative_specials_and_empty_patches() -> None:
    assert replace(TINY, specials=0).length == 196
    with pytest.raises(ValueError, match="specials"):
        replace(TINY, specials=-1)
    with pytest.raises(ValueError, match="patch"):
        replace(TINY, patch=(1, 0, 16))


def test_the_rectangle_is_the_square_of_an_image() -> None:
    assert TINY.rectangle == (14, 14)
    assert replace(TINY, patches=195).rectangle is None
    assert replace(TINY, patches=392, frames=2).rectangle is None

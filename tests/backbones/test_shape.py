"""A shape is a plain, immutable record that refuses impossible sizes."""

from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest

from backbones.shape import Shape, Work

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


STAGED = replace(TINY, depth=12, specials=0, hidden=768, widths=(192, 384, 768), halvings=(4, 8))


def test_stages_halve_the_map_and_widen_the_tokens() -> None:
    odd = replace(STAGED, patches=169)
    assert odd.rectangles == ((13, 13),) * 4 + ((7, 7),) * 4 + ((4, 4),) * 4
    assert odd.lengths == (169,) * 4 + (49,) * 4 + (16,) * 4
    assert [odd.width(block) for block in (0, 3, 4, 7, 8, 11)] == [192, 192, 384, 384, 768, 768]
    assert odd.sites == (1, 3, 5, 7, 9, 11)
    assert replace(STAGED, patches=1).lengths == (1,) * 12
    last = odd.at(9)
    sizes = last.dim, last.inner, last.dt_rank, last.hidden, last.states, last.patches
    assert sizes == (768, 1536, 48, 3072, 16, 16)
    assert last.lengths == (16,) * 12
    assert last.at(9) is last
    narrow = replace(STAGED, dim=20, inner=20, dt_rank=2, hidden=80, widths=(20, 40, 80))
    ranks = [(narrow.at(block).dt_rank, narrow.at(block).inner) for block in (0, 4, 8)]
    assert ranks == [(2, 20), (4, 40), (8, 80)]


def test_one_stage_has_the_same_sizes_in_all_blocks() -> None:
    assert TINY.lengths == (197,) * 24
    assert TINY.rectangles == ((14, 14),) * 24
    assert (TINY.width(23), TINY.at(23)) == (192, TINY)
    assert replace(TINY, frames=4).rectangles == ()


def test_stages_of_another_mixer_have_sites_before_all_blocks_without_a_halving() -> None:
    other = replace(STAGED, work=lambda shape, block, tokens: Work(tokens))
    assert other.sites == (1, 2, 3, 5, 6, 7, 9, 10, 11)
    assert replace(other, halvings=(3, 8)).sites == (1, 2, 4, 5, 6, 7, 9, 10, 11)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"widths": (192, 384)}, "one less"),
        ({"widths": (), "hidden": 0}, "one less"),
        ({"widths": (96, 384, 768)}, "begin with dim"),
        ({"widths": (192, 384, 0)}, "positive"),
        ({"halvings": (8, 4)}, "ascend"),
        ({"halvings": (0, 4)}, "ascend"),
        ({"halvings": (4, 12)}, "ascend"),
        ({"halvings": (3, 8)}, "even"),
        ({"patches": 50}, "square"),
        ({"frames": 4}, "square"),
        ({"specials": 1}, "special"),
        ({"hidden": 0}, "hidden"),
    ],
)
def test_refuses_stages_that_do_not_fit(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(STAGED, **changed)

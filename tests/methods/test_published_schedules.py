"""Published schedules, against the token counts and ratios the papers and their readers give."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backbones.shape import Shape
from methods import METHODS

TINY = Shape("tiny", 24, 192, 384, 16, 12, 4, 2, (1, 16, 16), 3, 196, 1, 1000)
BASE = replace(TINY, dim=768, inner=1536)
KNOWN = [name for name in METHODS if METHODS[name].published is not None]


def counts(name: str, shape: Shape = TINY, **options: str) -> dict[int, int]:
    found = METHODS[name].paper_counts(shape, **options)
    assert found is not None
    return found


def mean_reduction(removed: dict[int, int], shape: Shape) -> float:
    """Mean share of all tokens, the class token among them, that is missing over the blocks."""
    length = shape.patches + shape.specials
    missing = sum(count * (shape.depth - site) for site, count in removed.items())
    return missing / (length * shape.depth)


def test_which_schedules_are_known() -> None:
    assert set(KNOWN) == {"tome", "evit", "hsa", "utr", "rmeeto", "pumer", "fambav"}
    assert METHODS["mtr"].paper_counts(TINY) is None


def test_rmeeto_merges_before_even_blocks() -> None:
    assert counts("rmeeto") == dict.fromkeys(range(2, 24, 2), 5)
    assert counts("rmeeto", BASE) == dict.fromkeys(range(2, 24, 2), 11)
    # The "reduction ratios" of its table: 0.14 and 0.31.
    assert mean_reduction(counts("rmeeto"), TINY) == pytest.approx(0.1396, abs=5e-5)
    assert mean_reduction(counts("rmeeto", BASE), BASE) == pytest.approx(0.3071, abs=5e-5)


def test_hsa_leaves_157_125_and_101_tokens() -> None:
    assert counts("hsa") == {5: 40, 10: 32, 15: 24}


def test_utr_removes_30_percent_of_the_tokens_of_its_64_layers() -> None:
    model = replace(TINY, depth=64, patches=2000)
    removed = counts("utr", model)
    assert list(removed) == [13, 18, 23, 28, 33, 38, 43]
    assert mean_reduction(removed, model) == pytest.approx(0.298, abs=2e-3)


def test_evit_keeps_seven_tenths_three_times() -> None:
    # 138 kept and one fused, then of these 139 ...
    assert counts("evit") == {8: 196 - 139, 14: 139 - 99, 20: 99 - 71}
    assert counts("evit", fused="false") == {8: 196 - 138, 14: 138 - 97, 20: 97 - 68}


DEIT = replace(
    TINY, states=0, dt_rank=0, conv_kernel=0, directions=0, inner=192, heads=3, hidden=768
)


def test_on_attention_methods_stand_between_attention_and_mlp_of_the_layers_their_papers_name() -> (
    None
):
    assert counts("tome", DEIT) == {**dict.fromkeys(range(1, 24, 2), 13)}
    assert counts("tome", replace(DEIT, depth=48)) == dict.fromkeys(range(1, 48, 2), 7)
    # Layers 4, 7 and 10 of 12.
    assert counts("evit", DEIT) == {7: 196 - 139, 13: 139 - 99, 19: 99 - 71}
    assert list(counts("rmeeto", DEIT)) == list(range(1, 23, 2))


def test_pumer_prunes_and_merges_a_fifth_four_times() -> None:
    assert counts("pumer") == {2: 78, 6: 48, 10: 28, 14: 16}


def test_fambav_chooses_layers() -> None:
    assert counts("fambav", layers="all") == dict.fromkeys(range(1, 24), 7)
    assert counts("fambav") == dict.fromkeys(range(2, 24, 2), 14)
    assert counts("fambav", layers="lower") == dict.fromkeys(range(1, 6), 9)
    assert counts("fambav", layers="upper") == dict.fromkeys(range(20, 24), 9)


@given(st.sampled_from(KNOWN), st.integers(1, 70), st.integers(1, 800), st.data())
def test_every_schedule_fits_every_backbone(
    name: str, depth: int, patches: int, data: st.DataObject
) -> None:
    base = data.draw(st.sampled_from([TINY, DEIT]))
    shape = replace(
        base, depth=depth, patches=patches, dim=data.draw(st.sampled_from([64, 192, 768]))
    )
    layers = METHODS[name].options.get("layers")
    options = {"layers": data.draw(st.sampled_from(layers.choices))} if layers else {}
    composition = METHODS[name].compose(**options)
    removed = METHODS[name].paper_counts(shape, **options)
    assert composition is not None
    assert removed is not None
    left = patches
    for site, count in removed.items():
        assert site in shape.sites
        assert 1 <= count <= composition.cap(left, 1)
        left -= count
    assert list(removed) == sorted(removed)

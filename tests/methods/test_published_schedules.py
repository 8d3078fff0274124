"""Published schedules, against the token counts and ratios the papers and their readers give."""

from dataclasses import replace
from fractions import Fraction

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
    assert set(KNOWN) == {"tome", "evit", "hsa", "utr", "rmeeto", "pumer", "fambav", "storm"}
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


def staged(layers: tuple[int, ...], patches: int = 3136) -> Shape:
    """A VMamba of so many layers a stage."""
    ends = [2 * sum(layers[: stage + 1]) for stage in range(len(layers))]
    widths = tuple(96 * 2**stage for stage in range(len(layers)))
    sizes = {"dim": 96, "inner": 192, "dt_rank": 6, "hidden": 384, "states": 1, "specials": 0}
    return replace(
        TINY,
        **sizes,
        depth=ends[-1],
        patches=patches,
        directions=4,
        widths=widths,
        halvings=tuple(ends[:-1]),
    )


def test_storm_leaves_the_released_squares_of_vmamba() -> None:
    # strategies "hybrid_2p1_sb" and "hybrid_2p1": tokens by layer, which halves take at 2 l + 1
    assert counts("storm", staged((2, 2, 15, 2))) == {
        **{3: 432, 7: 100},
        **{
            2 * (4 + layer) + 1: left
            for layer, left in zip((3, 7, 11, 14), (23, 21, 19, 17), strict=True)
        },
    }
    assert counts("storm", staged((2, 2, 8, 2))) == {
        **{3: 432, 7: 100},
        **{
            2 * (4 + layer) + 1: left
            for layer, left in zip((1, 3, 5, 7), (23, 21, 19, 17), strict=True)
        },
    }
    # 14 -> 13, 7 -> 6, 3 -> 2
    assert counts("storm", staged((3, 3, 3, 1), 196)) == {5: 27, 11: 13, 17: 5}
    assert counts("storm", staged((2, 2, 2))) == {}


def test_storm_leaves_squares_inside_the_same_layers_of_both_depths_of_plainmamba() -> None:
    plain = replace(TINY, walks=True, specials=0)
    for depth in (24, 36):
        removed = counts("storm", replace(plain, depth=depth))
        assert removed == {5: 196 - 144, 11: 144 - 100, 17: 100 - 64, 23: 64 - 36}
    # on another backbone in the same proportion of its depth
    assert list(counts("storm", replace(TINY, depth=12))) == [2, 5, 8, 11]


# From the papers, by hand: blocks or layers, places, and tokens removed of 196 at each.
PRINTED: dict[tuple[str, str], tuple[int, list[int], list[int]]] = {
    ("rmeeto", "narrow"): (24, list(range(2, 24, 2)), [5] * 11),
    ("rmeeto", "wide"): (24, list(range(2, 24, 2)), [11] * 11),
    ("evit", ""): (12, [4, 7, 10], [57, 40, 28]),
    ("pumer", ""): (12, [1, 3, 5, 7], [78, 48, 28, 16]),
    ("hsa", ""): (24, [5, 10, 15], [40, 32, 24]),
    ("fambav", "all"): (24, list(range(1, 24)), [7] * 23),
    ("fambav", "alternate"): (24, list(range(2, 24, 2)), [14] * 11),
    ("fambav", "lower"): (24, [1, 2, 3, 4, 5], [9] * 5),
    ("fambav", "upper"): (24, [20, 21, 22, 23], [9] * 4),
}


@given(
    st.sampled_from(list(PRINTED)),
    st.sampled_from([TINY, DEIT]),
    st.integers(2, 70),
    st.integers(1, 800),
)
def test_the_share_of_tokens_and_the_relative_places_are_the_papers(
    printed: tuple[str, str], base: Shape, depth: int, patches: int
) -> None:
    name, variant = printed
    blocks, places, removed = PRINTED[printed]
    dim = 768 if variant == "wide" else 64
    shape = replace(base, depth=depth, patches=patches, dim=dim)
    options = {"layers": variant} if name == "fambav" else {}
    found = counts(name, shape, **options)
    # Each removal of the paper goes to the site that is nearest to it in relative depth.
    share = dict.fromkeys(shape.sites, Fraction(0))
    for place, tokens in zip(places, removed, strict=True):
        distance = {
            site: abs(Fraction(site, depth) - Fraction(place, blocks)) for site in shape.sites
        }
        nearest = [site for site in shape.sites if distance[site] == min(distance.values())]
        share[nearest[0]] += Fraction(tokens, 196)
    gone, due = 0, Fraction(0)
    for site in shape.sites:
        gone += found.get(site, 0)
        due += share[site] * patches
        # Half a token of rounding; the last token never leaves.
        assert abs(gone - min(due, patches - 1)) <= Fraction(1, 2)
        assert site in found or not share[site] * patches > 1


@given(st.integers(2, 70), st.integers(1, 800))
def test_utr_keeps_its_rate_within_a_token_a_site(depth: int, patches: int) -> None:
    found = counts("utr", replace(TINY, depth=depth, patches=patches))
    assert 0 <= patches - sum(found.values()) - patches * 0.905**7 < 7
    assert set(found) <= {
        min(
            range(1, depth),
            key=lambda site: (abs(Fraction(site, depth) - Fraction(block, 64)), site),
        )
        for block in range(13, 44, 5)
    }


def test_a_shallow_backbone_keeps_rmeetos_14_percent_of_tokens() -> None:
    # Eight blocks, as vim_nano: 2, 4, 6, ... of 24 come to 0.67, 1.33, 2, 2.67, ... of 8.
    nano = replace(TINY, depth=8, dim=64)
    assert counts("rmeeto", nano) == {1: 10, 2: 5, 3: 10, 4: 5, 5: 10, 6: 5, 7: 10}
    assert mean_reduction(counts("rmeeto", nano), nano) == pytest.approx(0.14, abs=0.005)


def test_a_backbone_of_one_block_has_no_place_to_remove() -> None:
    assert counts("hsa", replace(TINY, depth=1)) == {}

"""The closed form against published and hand-written numbers."""

from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backbones.common.errors import UserError
from backbones.shape import Shape
from suite.flops.closed_form import (
    CONVENTIONS,
    Flops,
    block_flops,
    count,
    dense,
    stem_flops,
    total,
    totals,
)

VIM = {
    "vim_tiny": Shape("vim_tiny", 24, 192, 384, 16, 12, 4, 2, (1, 16, 16), 3, 196, 1, 1000),
    "vim_small": Shape("vim_small", 24, 384, 768, 16, 24, 4, 2, (1, 16, 16), 3, 196, 1, 1000),
    "vim_base": Shape("vim_base", 24, 768, 1536, 16, 48, 4, 2, (1, 16, 16), 3, 196, 1, 1000),
}
EVEN = range(2, 24, 2)


@dataclass(frozen=True)
class Fee:
    matmul_macs: int
    arithmetic: int


def constant(removed: int) -> list[int]:
    """Lengths when `removed` tokens go before every even block, 2 to 22 (R-MeeTo's schedule)."""
    return [197 - removed * (block // 2) for block in range(24)]


@pytest.mark.parametrize(
    ("name", "paper", "macs", "flops"),
    [
        ("vim_tiny", "1.449", "1.823", "3.12"),
        ("vim_small", "5.077", "5.912", "10.76"),
        ("vim_base", "18.868", "20.887", "39.65"),
    ],
)
def test_published_totals(name: str, paper: str, macs: str, flops: str) -> None:
    work = dense(VIM[name])
    assert f"{total(work, 'paper') / 1e9:.3f}" == paper
    assert f"{total(work, 'macs') / 1e9:.3f}" == macs
    assert f"{total(work, 'flops') / 1e9:.2f}" == flops


@pytest.mark.parametrize(
    ("name", "removed", "exact", "published"),
    [
        ("vim_tiny", 5, "1.284", "1.28"),
        ("vim_small", 11, "3.584", "3.58"),
        ("vim_base", 11, "13.207", "13.21"),
    ],
)
def test_merged_totals_published_by_rmeeto(
    name: str, removed: int, exact: str, published: str
) -> None:
    """R-MeeTo prints these; its merge adds 6 L C + 2 C (L/2)^2 + r C before each even block."""
    lengths, dim = constant(removed), VIM[name].dim
    entering = [lengths[block - 1] for block in EVEN]
    fees = [Fee(dim * length**2 // 4, 6 * length * dim + removed * dim) for length in entering]
    work = total(count(VIM[name], lengths, fees), "paper") / 1e9
    assert f"{work:.3f}" == exact
    assert f"{work:.2f}" == published


@pytest.mark.parametrize(
    ("name", "removed", "percent"),
    [
        ("vim_tiny", 7, 19.1),
        ("vim_tiny", 11, 30.1),
        ("vim_tiny", 15, 41.0),
        ("vim_small", 14, 38.6),
    ],
)
def test_reductions_in_one_direction_count(name: str, removed: int, percent: float) -> None:
    cut = 1 - total(count(VIM[name], constant(removed)), "paper") / total(dense(VIM[name]), "paper")
    assert round(100 * cut, 1) == percent


def test_block_by_hand() -> None:
    """C 2, E 4, N 3, R 1, K 4, two directions, 5 tokens, every product written out."""
    shape = Shape("hand", 1, 2, 4, 3, 1, 4, 2, (1, 1, 1), 1, 4, 1, 7)
    work = block_flops(shape, 0, 5)
    assert work.gemm == (5 * 2 * 8) + (5 * 4 * 2) + 2 * (5 * 4 * (1 + 3 + 3) + 5 * 1 * 4)
    assert work.conv == 2 * (5 * 4 * 4)
    assert work.padding == 2 * (3 * 4 * 4)
    assert work.scan == 2 * (9 * 5 * 4 * 3 + 2 * 5 * 4)
    one = 5 * 4 * 7 + 5 * 4 + 8 * 4 * 4 + 9 * 5 * 4 * 3 + 2 * 5 * 4
    assert work.other_directions == one
    assert stem_flops(shape).gemm == 2 * 7
    assert stem_flops(shape).conv == 4 * 2 * 1


def test_attention_by_hand() -> None:
    """C = E 6, 3 heads, hidden 10, 5 tokens, every product written out; DeiT's published totals."""
    shape = Shape("hand", 4, 6, 6, 0, 0, 0, 0, (1, 1, 1), 1, 4, 1, 7, heads=3, hidden=10)
    attention, mlp = block_flops(shape, 2, 5), block_flops(shape, 3, 5)
    assert attention.gemm == 5 * 6 * 18 + 3 * (5 * 5 * 2 + 5 * 5 * 2) + 5 * 6 * 6
    assert attention.elementwise == 5 * 6 * (1 + 7 + 3 + 1 + 1) + 5 * 3 * 5 * 5
    assert mlp.gemm == 5 * 6 * 10 + 5 * 10 * 6
    assert mlp.elementwise == 5 * 6 * (1 + 7 + 1) + 5 * 10 * (1 + 5)
    assert attention.scan == attention.conv == mlp.scan == mlp.conv == 0
    assert stem_flops(shape).elementwise == 4 * 6 + 5 * 6 + 8 * 6 + 7


@pytest.mark.parametrize(
    ("dim", "heads", "published"), [(192, 3, "1.3"), (384, 6, "4.6"), (768, 12, "17.6")]
)
def test_totals_published_by_deit(dim: int, heads: int, published: str) -> None:
    shape = Shape(
        "deit", 24, dim, dim, 0, 0, 0, 0, (1, 16, 16), 3, 196, 1, 1000, heads=heads, hidden=4 * dim
    )
    work = dense(shape)
    assert f"{total(work, 'paper') / 1e9:.1f}" == f"{total(work, 'macs') / 1e9:.1f}" == published
    assert total(work, "flops") == 2 * total(work, "macs")


def test_zigzag_scans_by_hand() -> None:
    """C 2, E 4, N 3, R 1, 3 x 3 taps, four walks on a grid of 4, 3 tokens left; one local block."""
    shape = Shape("hand", 2, 2, 4, 3, 1, 9, 4, (1, 4, 4), 3, 4, 0, 7, walks=True, stem=2, local=1)
    first, last = block_flops(shape, 0, 3), block_flops(shape, 1, 3)
    assert first.gemm == last.gemm == 3 * 2 * 8 + 3 * 4 * (1 + 3 + 3) + 3 * 1 * 4 + 3 * 4 * 2
    assert last.conv == 4 * 4 * 9
    assert first.conv == 4 * 4 * 9 + 4 * 2 * 9
    assert first.scan == last.scan == 4 * (9 * 3 * 4 * 3 + 3 * 4)
    plain = 3 * 2 * (1 + 7 + 1) + 3 * 4 * (2 + 4 * 3 + 3 + 4 + 1) + 4 * 3 * 3 + 4 * 4 * 5
    assert first.elementwise == plain + 3 * 2 + 4 * 2 * 7
    assert last.elementwise == plain + 3 * 2 * 10
    half = 4 * 2 * 2 * 64
    stem = stem_flops(shape)
    assert stem.conv == half * 3 * 49 + half * 64 * 9 + 4 * 2 * 64 * 2 * 2
    assert stem.gemm == 2 * 7
    assert stem.elementwise == 2 * 3 * half + 4 * 2 + 4 * 2 + 7


def test_scan_with_heads_by_hand() -> None:
    """C 2, E 4 in 2 heads, N 3, K 4, hidden 5, 6 tokens and the mean token before them."""
    shape = Shape("hand", 3, 2, 4, 3, 0, 4, 1, (1, 1, 1), 1, 4, 1, 7, hidden=5, scan_heads=2)
    work = block_flops(shape, 1, 6)
    assert shape.timescales == 2
    assert work.gemm == 7 * 2 * (4 + 4 + 3 + 3 + 2) + 6 * 4 * 2 + 3 * 6 * 2 * 5
    assert work.conv == 7 * (4 + 3 + 3) * 4
    assert work.padding == 3 * (4 + 3 + 3) * 4 + 4 * 2
    assert work.scan == 7 * (5 * 4 * 3 + 3 * 4 + 2 * 2)
    of_all = 6 * (2 * (2 + 8 + 2 + 1) + 4 * (4 + 1 + 4) + 5 * (2 + 4 + 1))
    assert work.elementwise == of_all + 7 * (10 * (1 + 4) + 2 * (1 + 2))
    assert work.other_directions == 0
    assert stem_flops(shape).gemm == 2 * 7


@pytest.mark.parametrize(
    ("dim", "depth", "rank", "stem", "local", "published"),
    [(192, 24, 12, 2, 1, "3.0"), (384, 24, 24, 3, 0, "8.1"), (448, 36, 28, 3, 0, "14.4")],
)
def test_totals_published_by_plainmamba(
    dim: int, depth: int, rank: int, stem: int, local: int, published: str
) -> None:
    """The paper counts all four walks, as its get_flops.py: 9 L E N + L E each, beside the MACs."""
    shape = Shape(
        "plain",
        depth,
        dim,
        2 * dim,
        16,
        rank,
        49,
        4,
        (1, 16, 16),
        3,
        196,
        0,
        1000,
        walks=True,
        stem=stem,
        local=local,
    )
    assert f"{total(dense(shape), 'paper') / 1e9:.1f}" == published


def test_how_a_reduction_enters_each_convention() -> None:
    work = Flops(reduction_macs=100, reduction_arithmetic=7)
    assert totals(work) == {"flops": 207, "macs": 107, "paper": 207}
    assert work.by_kind() == {"gemm": 0, "conv": 0, "scan": 0, "elementwise": 0, "reduction": 207}


def test_padding_is_charged_where_published_layers_are_counted() -> None:
    assert totals(Flops(padding=5)) == {"flops": 0, "macs": 5, "paper": 5}


def test_elementwise_is_in_no_total() -> None:
    assert set(totals(Flops(elementwise=10)).values()) == {0}


def test_unknown_convention_and_wrong_number_of_lengths() -> None:
    with pytest.raises(UserError, match="flops, macs, paper"):
        total(Flops(), "gmacs")
    with pytest.raises(ValueError, match="24 blocks"):
        count(VIM["vim_tiny"], [197] * 23)


@given(st.lists(st.integers(1, 197), min_size=24, max_size=24), st.integers(0, 23))
def test_totals_fall_with_every_token(lengths: list[int], block: int) -> None:
    more = [*lengths]
    more[block] += 1
    for name in CONVENTIONS:
        assert total(count(VIM["vim_tiny"], lengths), name) < total(
            count(VIM["vim_tiny"], more), name
        )


def test_one_direction_is_its_own_paper_count() -> None:
    work = dense(replace(VIM["vim_tiny"], directions=1))
    assert work.other_directions == 0
    assert total(work, "paper") == total(work, "macs") == total(dense(VIM["vim_tiny"]), "paper")

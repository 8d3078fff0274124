"""The compiled reduction against the plain path at real sizes, and its parts by themselves."""

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numba
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from option_values import BY_COUNT
from torch import Tensor

from backbones.sequence import TokenSequence
from methods import reduce as compose
from methods.composition import Composition
from methods.fused import dispatch as inference
from methods.fused.cpu.ranking import key, largest, nth_largest, rank
from methods.fused.cpu.tile import COLUMNS, ROWS, tile
from methods.parts.score import SiteContext
from methods.reducer import Reducer
from methods.spec import parse

REAL: dict[str, Any] = {
    "grid": (1, 14, 14),
    "special": (98,),
    "dim": 192,
    "inner": 384,
    "states": 16,
}
MOVED = ("branch", "residual", "position", "size", "special", "owner", "carry")


def compiled_one(text: str, tokens: TokenSequence, remove: int) -> TokenSequence:
    composition = parse(text).composition()
    assert composition is not None
    assert inference.serves(composition, tokens)
    return inference.reduced(
        composition, SiteContext(tokens, tokens.patches(), seed=3, site=2), remove
    )


def plain_one(text: str, tokens: TokenSequence, remove: int) -> TokenSequence:
    composition = parse(text).composition()
    assert composition is not None
    return compose.reduced(
        composition, SiteContext(tokens, tokens.patches(), seed=3, site=2), remove
    )


def same(one: TokenSequence, other: TokenSequence) -> bool:
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in MOVED)


@pytest.mark.parametrize(
    "text",
    [
        *BY_COUNT,
        *("mtr[weights=pair,neighbour_rank=2]", "tome[cls_window=3,sources=odd]", "mtr[window=3]", "evit[weights=size]"),
        *("tome[feature=b]", "tome[feature=delta]", "random[weights=mean]", "utr[drop_ratio=1,residual_drop_ratio=0.3]"),
        *("pumer[weights=delta-b]", "evit[score=cls-similarity]", "mtr[score=hidden-attention,weights=delta-b]"),
        *("evit[decay=false]", "pumer[decay=false]"),
        *("utr[reading=gated]", "utr[reading=projected]", "hsa[reading=ungated]", "hsa[reading=projected]"),
    ],
)  # fmt: skip
def test_the_same_tokens_and_the_bits_of_the_plain_path(
    fabricate: Callable[..., TokenSequence], text: str
) -> None:
    composition = parse(text).composition()
    assert composition is not None
    rounded = composition.weights in ("attention", "delta-b")  # read from rows
    for worn, remove in ((0, 1), (0, 20), (90, 41)):
        tokens = fabricate(batch=3, worn=worn, seed=remove, **REAL)
        plain, compiled = plain_one(text, tokens, remove), compiled_one(text, tokens, remove)
        for name in MOVED:
            one, other = getattr(plain, name), getattr(compiled, name)
            if rounded and name in ("branch", "residual"):
                torch.testing.assert_close(other, one, rtol=1e-5, atol=1e-5)
            else:
                assert torch.equal(one, other), name


def test_bits_do_not_depend_on_the_number_of_threads(
    fabricate: Callable[..., TokenSequence],
) -> None:
    tokens, threads = fabricate(batch=5, **REAL), torch.get_num_threads()
    try:
        for text in ("tome", "evit", "hsa", "stm"):
            torch.set_num_threads(1)
            alone = compiled_one(text, tokens, 20)
            torch.set_num_threads(3)
            assert same(compiled_one(text, tokens, 20), alone), text
    finally:
        torch.set_num_threads(threads)


def strided(value: Any) -> Any:
    """The same numbers, every second of a longer row in memory."""
    if not isinstance(value, Tensor) or not value.ndim:
        return value
    return torch.stack([value, torch.zeros_like(value)], -1).flatten(-2)[..., ::2]


@pytest.mark.parametrize("text", ["tome", "evit", "hsa", "stm", "mtr[feature=b]"])
def test_numbers_that_lie_apart_are_read_right(
    fabricate: Callable[..., TokenSequence], text: str
) -> None:
    tokens = fabricate(grid=(1, 5, 5), dim=20)
    assert tokens.trace is not None
    trace = replace(
        tokens.trace,
        **{f.name: strided(getattr(tokens.trace, f.name)) for f in fields(tokens.trace)},
    )
    apart = replace(
        tokens,
        **{f.name: strided(getattr(tokens, f.name)) for f in fields(tokens)} | {"trace": trace},
    )
    assert same(compiled_one(text, apart, 6), compiled_one(text, tokens, 6))


@pytest.mark.parametrize(
    ("name", "value"),
    [("position", 17), ("position", -1), ("special", 17), ("owner", 17), ("owner", -2)],
)
def test_what_points_outside_is_refused_before_it_is_followed(
    fabricate: Callable[..., TokenSequence], name: str, value: int
) -> None:
    tokens = fabricate()
    wrong = getattr(tokens, name).clone()
    wrong[1, 0] = value
    with pytest.raises(ValueError, match="outside the token sequence"):
        compiled_one("tome", replace(tokens, **{name: wrong}), 3)


def test_equal_tokens_go_in_order(fabricate: Callable[..., TokenSequence]) -> None:
    tokens = fabricate(batch=1, special=())
    alike = replace(
        tokens, branch=torch.ones_like(tokens.branch), residual=torch.zeros_like(tokens.residual)
    )
    for text in ("tome", "mtr", "stm", "norm"):
        assert torch.equal(
            plain_one(text, alike, 4).position, compiled_one(text, alike, 4).position
        ), text


def test_nan_stays_in_its_image(fabricate: Callable[..., TokenSequence]) -> None:
    tokens = fabricate(batch=2, grid=(1, 5, 5))
    assert tokens.trace is not None
    broken = replace(
        tokens, branch=tokens.branch.clone(), trace=replace(tokens.trace, y=tokens.trace.y.clone())
    )
    broken.branch[0] = torch.nan
    broken.trace.y[0] = torch.nan  # type: ignore[union-attr,index]
    for text in ("tome", "mtr", "stm", "evit", "hsa", "utr"):
        found = compiled_one(text, broken, 6)
        assert torch.equal(compiled_one(text, tokens, 6).branch[1], found.branch[1])
        assert torch.isnan(found.branch[0]).any()


class Ours(Composition):
    """A third party's composition."""


def test_it_serves_inference_in_single_precision_and_nothing_else(
    fabricate: Callable[..., TokenSequence],
) -> None:
    tokens, mtr = fabricate(), Composition("lowest", score="delta")
    assert inference.serves(mtr, tokens)
    assert not inference.serves(Ours("lowest", score="delta"), tokens)
    assert not inference.serves(replace(mtr, order="reversed"), tokens)
    assert not inference.serves(replace(mtr, cls_placement="proportional"), tokens)
    assert not inference.serves(mtr, fabricate(dtype=torch.float64))
    assert not inference.serves(mtr, replace(tokens, branch=tokens.branch.bfloat16()))
    with torch.enable_grad():
        assert not inference.serves(mtr, tokens)


def test_gradients_flow_through_the_plain_path(fabricate: Callable[..., TokenSequence]) -> None:
    tokens = fabricate()
    with torch.enable_grad():
        branch = tokens.branch.clone().requires_grad_()
        composition = parse("tome").composition()
        assert composition is not None
        Reducer(composition, 4, site=1)(replace(tokens, branch=branch)).branch.sum().backward()
    assert branch.grad is not None
    assert float(branch.grad.abs().sum()) > 0


@numba.njit(error_model="numpy")
def _ranked(values: Any, keys: Any, places: Any) -> None:
    for i in range(values.shape[0]):
        keys[i] = key(values[i])
    rank(keys, values.shape[0], places)


NUMBERS = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, 5e-324]), st.floats(allow_nan=False)
)


@settings(deadline=None)
@given(st.lists(NUMBERS, max_size=30), st.integers(1, 30))
def test_ranks_are_those_of_a_stable_sort(some: list[float], times: int) -> None:
    """Few numbers are ranked by counting, many by merging."""
    numbers = some * times
    values, keys, places = np.array(numbers), *np.zeros((2, len(numbers)), np.int64)
    _ranked(values, keys, places)
    order = torch.tensor(numbers, dtype=torch.float64).argsort(descending=True, stable=True)
    assert places.tolist() == order.argsort().tolist()


def test_a_rank_is_a_permutation_even_with_nan() -> None:
    values = np.array([np.nan, 1, -np.nan, np.nan, 0, -np.inf])
    keys, places = np.zeros((2, 6), np.int64)
    _ranked(values, keys, places)
    assert sorted(places.tolist()) == list(range(6))


@numba.njit(error_model="numpy")
def _places(values: Any, nth: int) -> Any:
    return largest(values, values.shape[0], np.empty(values.shape[0], np.int32)), nth_largest(
        values, values.shape[0], nth
    )


@settings(deadline=None)
@given(
    st.lists(st.one_of(st.just(-0.0), st.floats(width=32)), min_size=1, max_size=40),
    st.integers(1, 50),
)
def test_the_largest_is_the_first_of_its_equals(numbers: list[float], nth: int) -> None:
    values = np.array(numbers, np.float32)
    first, other = _places(values, nth)
    assert 0 <= other < len(numbers)
    if not np.isnan(values).any():
        assert first == int(np.argmax(values))
        order = torch.from_numpy(values).argsort(descending=True, stable=True)
        assert other == int(order[min(nth, len(numbers)) - 1])


@numba.njit(error_model="numpy")
def _tiled(rows: Any, columns: Any, width: int, out: Any) -> None:
    tile(rows.ctypes.data, columns.ctypes.data, width, out.ctypes.data, out.shape[1])


@pytest.mark.parametrize("width", [1, 2, 7, 192])
def test_a_tile_is_a_matrix_product(width: int) -> None:
    generator = np.random.default_rng(width)
    rows = generator.standard_normal((ROWS, width)).astype(np.float32)
    columns = generator.standard_normal((width, COLUMNS)).astype(np.float32)
    out = np.full((ROWS, COLUMNS + 3), 7, np.float32)
    _tiled(rows, columns, width, out)
    np.testing.assert_allclose(
        out[:, :COLUMNS], rows.astype(np.float64) @ columns, rtol=1e-5, atol=1e-5
    )
    assert (out[:, COLUMNS:] == 7).all()

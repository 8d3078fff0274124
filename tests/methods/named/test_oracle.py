"""Every method and option against the oracle of `methods_oracle`, image by image: the plain path, and the compiled."""

from collections.abc import Iterator
from dataclasses import fields, replace
from itertools import combinations, product
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from methods_oracle import oracle, recipe_of
from option_values import BY_COUNT, every
from oracle_scores import Token, image_of

from backbones.common.errors import UserError
from backbones.sequence import TokenSequence
from methods import METHODS
from methods.composition import Composition
from methods.reducer import Reducer
from methods.spec import MethodSpec

REDUCING = BY_COUNT


def widened(of: Any) -> Any:
    """A dataclass of tensors with the single-precision ones in fp64, but for sizes, which are single always."""
    single = {f.name: getattr(of, f.name) for f in fields(of) if f.name not in ("size", "trace")}
    return replace(
        of, **{name: value.double() for name, value in single.items() if is_single(value)}
    )


def is_single(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.dtype == torch.float32


def agrees(out: TokenSequence, b: int, expected: list[Token]) -> None:
    """The b-th image of `out` is what the oracle expects."""
    exact = 1e-9 if out.branch.dtype == torch.float64 else 2e-5
    assert out.carry is not None
    assert out.position[b].tolist() == [token.position for token in expected]
    assert out.size[b].tolist() == [token.size for token in expected]
    assert sorted(out.special[b].tolist()) == [
        i for i, token in enumerate(expected) if token.special
    ]
    for stream in ("branch", "residual"):
        want = torch.tensor([getattr(token, stream) for token in expected], dtype=torch.float64)
        torch.testing.assert_close(getattr(out, stream)[b].double(), want, rtol=exact, atol=exact)
    want = torch.tensor([token.carry for token in expected], dtype=torch.float64)
    torch.testing.assert_close(out.carry[:, b].movedim(0, 1).double(), want, rtol=exact, atol=exact)
    assert out.owner is not None
    owner = dict.fromkeys(range(out.owner.shape[1]), -1)
    owner |= {member: place for place, token in enumerate(expected) for member in token.members}
    assert out.owner[b].tolist() == [owner[i] for i in range(len(owner))]


def compare(
    fabricate: Any,
    name: str,
    given: dict[str, Any],
    r: int,
    provides: frozenset[str] = frozenset(),
    **sizes: Any,
) -> None:
    tokens = fabricate(**sizes)
    whole = torch.randint(
        1, 4, tokens.size.shape, generator=torch.Generator().manual_seed(r)
    ).float()
    tokens.size.copy_(whole.scatter(1, tokens.special, 1.0))
    spec = MethodSpec(name, METHODS[name].settings(given))
    composition = spec.composition(provides)
    assert composition is not None
    reducer = Reducer(composition, r, site=4, seed=11)
    plain, compiled = (
        reducer(replace(widened(tokens), trace=widened(tokens.trace))),
        reducer(tokens),
    )
    options = {
        key: option.meant(given.get(key, option.default), provides)
        for key, option in METHODS[name].options.items()
    }
    for b in range(tokens.batch):
        expected = oracle(recipe_of(name, options), image_of(tokens, b), r, 11, 4)
        agrees(plain, b, expected)
        agrees(compiled, b, expected)


def with_value(name: str, key: str, value: Any) -> dict[str, Any]:
    """Options of a method with this value of one of them, where it makes a difference."""
    given = {key: value} | ({"order": "shuffled"} if key == "shuffle" else {})
    # A reading makes no difference to a score that is another, nor does the decay.
    score = {"reading": "activation", "decay": "hidden-attention"}.get(key)
    return given | ({"score": score} if score and "score" in METHODS[name].options else {})


def values() -> Iterator[tuple[str, str, Any]]:
    """Each value of each option of each method; the method as it is, with its defaults, once."""
    for name in REDUCING:
        known: list[Any] = []
        for key, found in every(METHODS[name]).items():
            for value in found:
                settings_of = METHODS[name].settings(with_value(name, key, value))
                if settings_of not in known:
                    known.append(settings_of)
                    yield name, key, value


@pytest.mark.parametrize(("name", "key", "value"), values())
def test_each_value_of_each_option(fabricate: Any, name: str, key: str, value: Any) -> None:
    compare(fabricate, name, with_value(name, key, value), 5)


@pytest.mark.parametrize(("name", "trace"), [("tome", "keys"), ("evit", "cls_attention")])
def test_the_original_form_on_attention(fabricate: Any, name: str, trace: str) -> None:
    for count, special in ((5, (0,)), (7, (0,)), (3, (5,))):
        compare(fabricate, name, {}, count, frozenset({trace}), special=special, worn=1)


@st.composite
def asked(draw: st.DrawFn) -> tuple[str, dict[str, Any], int, dict[str, Any]]:
    """A method, options, how many to remove, and sizes of the input."""
    name = draw(st.sampled_from(REDUCING))
    given = {key: draw(st.sampled_from(found)) for key, found in every(METHODS[name]).items()}
    composition = composition_or_none(name, given)
    assume(composition is not None)
    assert composition is not None
    grid = (draw(st.integers(1, 2)), draw(st.integers(1, 3)), draw(st.integers(1, 4)))
    patches = grid[0] * grid[1] * grid[2]
    most = 1 if composition.cls_placement == "proportional" else 3
    least = 1 if composition.needs_class_token else 0
    special = draw(st.sets(st.integers(0, patches - 1), min_size=least, max_size=most))
    worn = draw(st.integers(0, patches - 1))
    remove = draw(st.integers(0, composition.cap(patches - worn, len(special))))
    sizes = {
        "grid": grid,
        "special": tuple(sorted(special)),
        "seed": draw(st.integers(0, 99)),
        "worn": worn,
    }
    return name, given, remove, sizes


def composition_or_none(name: str, given: dict[str, Any]) -> Composition | None:
    """What the options compose, None if they say in one line that they cannot be."""
    try:
        return METHODS[name].compose(**given)
    except UserError as error:
        reason = str(error)
    assert ":" in reason
    assert "\n" not in reason
    return None


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(asked())
def test_any_options_on_any_sizes(
    fabricate: Any, case: tuple[str, dict[str, Any], int, dict[str, Any]]
) -> None:
    name, given_options, remove, sizes = case
    if remove:
        compare(fabricate, name, given_options, remove, **sizes)


# Quickly for one of each family, since options drawn together are compared with the oracle above.
@pytest.mark.parametrize(
    "name",
    [
        name if name in ("tome", "evit", "fambav") else pytest.param(name, marks=pytest.mark.slow)
        for name in REDUCING
    ],
)
def test_every_two_options_go_together_or_say_why(fabricate: Any, name: str) -> None:
    tokens, tried = fabricate(batch=1), 0
    for one, other in combinations(every(METHODS[name]).items(), 2):
        for first, second in product(one[1], other[1]):
            composition = composition_or_none(name, {one[0]: first, other[0]: second})
            if composition is not None:
                assert Reducer(composition, 3, site=2)(tokens).length == tokens.length - 3
                tried += 1
    assert tried

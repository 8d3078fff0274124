"""What holds for every method, whatever its options: the truths of the token sequence."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from option_values import BY_COUNT, every
from torch import Tensor

from backbones.common.errors import UserError
from backbones.sequence import TokenSequence, Trace
from methods import METHODS
from methods.composition import Composition
from methods.parts.assemble import permuted
from methods.parts.order import Chance
from methods.reducer import Reducer
from methods.spec import parse
from suite.verify.step_contract import Step, same_tokens, single_image, step_problem

REDUCING = BY_COUNT  # of the others see test_narrow.py


@st.composite
def compositions(draw: st.DrawFn) -> Composition:
    """Any method with any of the options it offers."""
    method = METHODS[draw(st.sampled_from(REDUCING))]
    chosen = {name: draw(st.sampled_from(found)) for name, found in every(method).items()}
    try:
        composition = method.compose(**chosen)
    except UserError:
        composition = None
    assume(composition is not None)
    assert composition is not None
    return composition


@st.composite
def cases(draw: st.DrawFn) -> tuple[Composition, int, dict[str, Any]]:
    """A composition, how many to remove, and the sizes of the sequence."""
    composition = draw(compositions())
    grid = (draw(st.integers(1, 2)), draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    patches = grid[0] * grid[1] * grid[2]
    least = 1 if composition.needs_class_token else 0
    most = 1 if composition.cls_placement == "proportional" else 5
    special = draw(st.sets(st.integers(0, patches), min_size=least, max_size=most))
    special = {place for place in special if place < patches + len(special)}
    worn = draw(st.integers(0, patches - 1))
    remove = draw(st.integers(0, composition.cap(patches - worn, len(special))))
    sizes = {
        "grid": grid,
        "special": tuple(special),
        "seed": draw(st.integers(0, 9)),
        "worn": worn,
        "batch": 3,
    }
    return composition, remove, sizes


def with_sizes(tokens: TokenSequence) -> TokenSequence:
    """The same tokens standing for 1 to 3 original ones each."""
    drawn = torch.randint(
        1, 4, tokens.size.shape, generator=torch.Generator().manual_seed(0)
    ).float()
    return replace(tokens, size=drawn.scatter(1, tokens.special, 1.0))


Case = tuple[Composition, int, dict[str, Any]]


@settings(max_examples=150, deadline=None)
@given(cases())
def test_truths_of_the_token_sequence(fabricate: Callable[..., TokenSequence], case: Case) -> None:
    composition, remove, sizes = case
    tokens = with_sizes(fabricate(**sizes))
    out = Reducer(composition, remove, site=2, seed=5)(tokens)
    if remove == 0:
        assert same_tokens(out, tokens)
        return
    assert step_problem(Step(composition, tokens, out, remove)) == ""
    assert out.trace is None
    assert tokens.carry is not None
    assert out.carry is not None
    # Tokens that nothing was merged into are bit for bit what they were, and each keeps its own
    # carry.
    for b in range(tokens.batch):
        before = tokens.position[b].tolist()
        index = [before.index(position) for position in out.position[b].tolist()]
        grown = out.size[b] != tokens.size[b][index]
        for name in ("branch", "residual"):
            old, new = getattr(tokens, name)[b][index], getattr(out, name)[b]
            assert torch.equal(new[~grown], old[~grown])
        own = tokens.carry[:, b, index]
        if composition.aligned:
            assert bool((out.carry[:, b] >= own).all())
        else:
            assert torch.equal(out.carry[:, b], own)


@settings(max_examples=60, deadline=None)
@given(cases())
def test_an_image_does_not_depend_on_its_batch(
    fabricate: Callable[..., TokenSequence], case: Case
) -> None:
    composition, remove, sizes = case
    tokens = fabricate(**sizes)
    reducer = Reducer(composition, remove, site=2, seed=5)
    out = reducer(tokens)
    assert same_tokens(reducer(tokens), out)
    for b in range(tokens.batch):
        assert same_tokens(reducer(single_image(tokens, b)), single_image(out, b))


@pytest.mark.parametrize(
    "text", [*REDUCING, "mtr[weights=pair]", "evit[score=cls-similarity]", "random[weights=mean]"]
)
@pytest.mark.parametrize("remove", [1, 11])
def test_batch_independence_at_real_sizes(
    fabricate: Callable[..., TokenSequence], text: str, remove: int
) -> None:
    tokens = fabricate(batch=5, grid=(1, 14, 14), special=(98,), dim=192, inner=384, states=16)
    composition = parse(text).composition()
    assert composition is not None
    reducer = Reducer(composition, remove, site=2)
    assert same_tokens(reducer(single_image(tokens, 3)), single_image(reducer(tokens), 3))


@pytest.mark.parametrize("name", REDUCING)
def test_merging_both_streams_is_merging_their_sum(
    fabricate: Callable[..., TokenSequence], name: str
) -> None:
    tokens = fabricate(dtype=torch.float64)
    composition = METHODS[name].compose()
    assert composition is not None
    # A method with an operator of its own for each stream is asked for the same one.
    composition = replace(composition, branch_drop_ratio=composition.residual_drop_ratio)
    out = Reducer(composition, 6, site=1)(tokens)
    moved = replace(tokens, branch=tokens.branch * 0, residual=tokens.residual + tokens.branch)
    if composition.feature == "branch":
        moved = replace(moved, branch=moved.residual, residual=tokens.residual * 0)
        out = Reducer(replace(composition, feature="branch+residual"), 6, site=1)(tokens)
    both = Reducer(composition, 6, site=1)(moved)
    torch.testing.assert_close(both.branch + both.residual, out.branch + out.residual)


@pytest.mark.parametrize("name", REDUCING)
def test_more_than_the_cap_is_refused_with_the_cap(
    fabricate: Callable[..., TokenSequence], name: str
) -> None:
    composition = METHODS[name].compose()
    assert composition is not None
    cap = composition.cap(16)
    assert Reducer(composition, cap, site=1)(fabricate()).length == 17 - cap
    with pytest.raises(UserError, match=f"at most {cap}"):
        Reducer(composition, cap + 1, site=1)(fabricate())


@settings(max_examples=40, deadline=None)
@given(compositions())
def test_only_what_is_needed_is_read(
    fabricate: Callable[..., TokenSequence], composition: Composition
) -> None:
    tokens = fabricate()
    reducer = Reducer(composition, 4, site=1)
    assert tokens.trace is not None
    asked = Trace(**{name: getattr(tokens.trace, name) for name in reducer.needs})
    assert same_tokens(reducer(replace(tokens, trace=asked)), reducer(tokens))
    for name in reducer.needs:
        with pytest.raises(ValueError, match=name):
            reducer(replace(tokens, trace=replace(asked, **{name: None})))


def test_low_precision_is_merged_in_fp32(fabricate: Callable[..., TokenSequence]) -> None:
    tokens = fabricate(batch=1)
    rough = replace(tokens, branch=tokens.branch.bfloat16())
    composition = parse("pool").composition()
    assert composition is not None
    out = Reducer(composition, 14, site=1)(rough)
    exact = Reducer(composition, 14, site=1)(replace(rough, branch=rough.branch.double()))
    assert out.branch.dtype == torch.bfloat16
    assert torch.equal(out.branch, exact.branch.bfloat16())


@pytest.mark.parametrize("policy", ["restored", "odd-even", "reversed", "shuffled"])
def test_the_pure_permutation_keeps_every_token(
    fabricate: Callable[..., TokenSequence], policy: str
) -> None:
    tokens = fabricate(special=(3, 8))
    out = permuted(tokens, policy, 1.0, Chance(0, tokens.image, 1))
    assert torch.equal(out.special, tokens.special)
    assert out.position[0].sort().values.tolist() == tokens.position[0].tolist()
    for b in range(tokens.batch):
        assert torch.equal(out.branch[b], tokens.branch[b, out.position[b]])
    patches = [position for position in out.position[0].tolist() if position not in (3, 8)]
    natural = [position for position in range(18) if position not in (3, 8)]
    expected = {
        "restored": natural,
        "odd-even": natural[::2] + natural[1::2],
        "reversed": natural[::-1],
    }
    assert patches == expected.get(policy, patches)
    assert policy != "shuffled" or patches != natural


def test_a_method_without_a_class_token_says_so(fabricate: Callable[..., TokenSequence]) -> None:
    composition = parse("evit[score=hidden-attention]").composition()
    assert composition is not None
    assert composition.needs_class_token
    with pytest.raises(UserError, match="needs a class token"):
        Reducer(composition, 2, site=1)(fabricate(special=()))


BLIND = (
    "random",
    "stride",
    "pool",
    "pool[path=grid]",
    "stride[order=reversed]",
    "random[cls_window=2]",
    "stride[cls_window=2]",
    "pool[cls_window=2]",
)
CHOOSING = (
    "mtr",
    "tome",
    "evit",
    "utr",
    "delta",
    "norm",
    "random[weights=mean]",
    "mtr[score=random]",
)


def fates(text: str, fabricate: Callable[..., TokenSequence], content: int) -> Tensor:
    """Owners of the tokens of three images, drawn from `content`, under the same seed."""
    composition = parse(text).composition()
    assert composition is not None
    found = Reducer(composition, 20, site=2, seed=3)(
        fabricate(batch=3, grid=(1, 8, 8), special=(32,), seed=content)
    )
    assert found.owner is not None
    return found.owner


@pytest.mark.parametrize("text", BLIND)
def test_what_a_blind_composition_does_is_the_same_whatever_the_images_show(
    fabricate: Callable[..., TokenSequence], text: str
) -> None:
    composition = parse(text).composition()
    assert composition is not None
    assert (composition.blind, composition.chooses) == (True, False)
    assert all(
        torch.equal(fates(text, fabricate, 0), fates(text, fabricate, content))
        for content in (1, 2, 3)
    )


@pytest.mark.parametrize("text", CHOOSING)
def test_what_others_do_depends_on_the_images(
    fabricate: Callable[..., TokenSequence], text: str
) -> None:
    composition = parse(text).composition()
    assert composition is not None
    assert (composition.blind, composition.chooses) == (False, True)
    assert not all(
        torch.equal(fates(text, fabricate, 0), fates(text, fabricate, content))
        for content in (1, 2, 3)
    )


def test_changing_the_order_alone_is_neither(fabricate: Callable[..., TokenSequence]) -> None:
    composition = parse("permute").composition()
    assert composition is not None
    assert (composition.blind, composition.chooses) == (False, False)

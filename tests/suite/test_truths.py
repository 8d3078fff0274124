"""Truths of every registered method on every registered backbone, in real forward passes."""

from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from backbones import BACKBONES, create_model
from backbones.base import Backbone
from backbones.common.errors import UserError
from backbones.sequence import TRACE_FIELDS, TokenSequence
from backbones.shape import halved
from methods import METHODS
from methods.composition import Composition
from methods.parts.assemble import permuted
from methods.parts.order import Chance
from methods.reducer import Reducer
from suite.plan.cells import reducers
from suite.plan.layout import counted_plan, incompatibility
from suite.verify.step_contract import Step, same_tokens, step_problem

REDUCING = [name for name in METHODS if METHODS[name].kind == "sequence"]
NARROW: dict[str, Any] = {"dim": 32, "depth": 3, "classes": 10, "patch": 4, "stride": 4}
# One of each kind, narrowed, so that names which differ in their widths alone are not tried over
# and over.
KINDS: dict[str, dict[str, Any]] = {
    "vim_nano": NARROW,
    "vim_tiny_stride8": NARROW | {"patch": 8},
    "videomamba_nano": NARROW,
    "videomamba_tiny_video": NARROW | {"frames": 3},
    "mambareg_tiny": NARROW | {"registers": 3},
    "mambareg_base": NARROW | {"registers": 7, "reduce": 2},
    "plainmamba_l1": {"dim": 32, "depth": 3, "classes": 10, "patch": 4, "convolutions": 2},
    "adventurer_tiny": NARROW | {"depth": 4, "states": 8, "head": 16},
    "vmamba_tiny": {"dim": 32, "early": 1, "third": 1, "last": 1, "classes": 10},
    "deit_nano": {"dim": 32, "heads": 2, "layers": 2, "classes": 10, "patch": 4},
}


@cache
def backbone(name: str, side: int) -> Backbone:
    """`name` with `side` x `side` patches, few narrow blocks, weights that tell tokens apart."""
    sizes = KINDS[name]
    patch = sizes.get("patch", 4)
    step = sizes.get("stride", patch)
    sizes = sizes | {"image_size": (side - 1) * step + patch}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = create_model(name, **sizes)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn(parameter.shape), alpha=0.2)
    return model


@cache
def images(model: Backbone, count: int) -> Tensor:
    frames = (model.frames,) if model.frames > 1 else ()
    size = (count, 3, *frames, model.image_size, model.image_size)
    return torch.randn(size, generator=torch.Generator().manual_seed(2))


def test_every_family_is_among_the_kinds() -> None:
    def family(name: str) -> tuple[str, bool]:
        return name.split("_")[0].replace("vit", "deit"), name.endswith("_video")

    assert {family(name) for name in BACKBONES} <= {family(name) for name in KINDS}


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


@st.composite
def compositions(draw: st.DrawFn, provides: frozenset[str]) -> Composition:
    """Any method with any of its options, on a backbone with these trace fields."""
    method = METHODS[draw(st.sampled_from(REDUCING))]
    chosen: dict[str, Any] = {
        name: draw(st.sampled_from(option.choices))
        for name, option in method.options.items()
        if option.choices
    }
    composition = method.compose(provides, **chosen)
    assert composition is not None
    return composition


@st.composite
def cases(draw: st.DrawFn) -> tuple[Backbone, Composition, dict[int, Reducer]]:
    """A backbone, a composition for it, and a plan that removes from nothing to all it can."""
    model = backbone(draw(st.sampled_from(list(KINDS))), draw(st.integers(1, 4)))
    composition = draw(compositions(model.provides))
    assume(incompatibility(composition, model) is None)
    shape = model.describe()
    plan, standing, sides, before = {}, shape.patches, shape.rectangle, 0
    for site in sorted(draw(st.sets(st.sampled_from(model.sites), min_size=1))):
        lines = (0, 0)
        for block in shape.halvings:
            if before < block <= site:
                assert sides is not None
                sides = halved(sides)
                standing = sides[0] * sides[1]
        before = site
        if composition.keeps_rectangle:
            assert sides is not None
            lines = tuple(draw(st.integers(0, composition.cap_of_line(side))) for side in sides)
            sides = sides[0] - lines[0], sides[1] - lines[1]
            remove = standing - sides[0] * sides[1]
        else:
            remove = draw(st.integers(0, composition.cap(standing, len(model.special_places))))
        plan[site] = Reducer(composition, remove, site, draw(st.integers(0, 3)), lines)
        standing -= remove
    return model, composition, dict(sorted(plan.items()))


Case = tuple[Backbone, Composition, dict[int, Reducer]]


def check_step(
    before: TokenSequence, after: TokenSequence, composition: Composition, remove: int
) -> None:
    """The contract of a reduction, and the place of special tokens that an option misplaces."""
    assert step_problem(Step(composition, before, after, remove)) == ""
    for image in range(before.batch):
        old, new = before.special[image].tolist(), sorted(after.special[image].tolist())
        if composition.cls_placement == "first":
            assert new == list(range(len(old)))
        elif composition.cls_placement == "last":
            assert new == list(range(after.length - len(old), after.length))
        elif composition.cls_placement == "proportional":
            # the released misplacement of the class token: floor(p k / t)
            assert new == [place * after.length // before.length for place in old]


@settings(max_examples=50, deadline=None)
@given(cases())
def test_sequences_between_blocks(case: Case) -> None:
    model, composition, plan = case
    tokens = model.embed(images(model, 2), torch.tensor([11, 4])).tracked()
    start, removed = 0, 0
    for site, reducer in plan.items():
        tokens = model.run(tokens, start, site, needs=reducer.needs)
        reduced = reducer(tokens)
        removed += tokens.length - reduced.length
        if reducer.remove == 0:
            assert same_tokens(reduced, tokens)
        else:
            check_step(tokens, reduced, composition, reducer.remove)
            assert same_tokens(reducer(tokens), reduced)
        tokens, start = reduced, site
    end = model.run(tokens, start)
    assert removed == sum(reducer.remove for reducer in plan.values())
    if not model.describe().halvings:
        assert end.length == model.describe().length - removed
    logits = model.readout(end)
    assert logits.shape == (2, 10)
    assert bool(torch.isfinite(logits).all())


@settings(max_examples=25, deadline=None)
@given(cases())
def test_removing_nothing_gives_the_dense_logits(case: Case) -> None:
    model, composition, plan = case
    nothing = {site: Reducer(composition, 0, site) for site in plan}
    end = model.run(model.embed(images(model, 2)), 0, plan=nothing)
    assert torch.equal(model.readout(end), model(images(model, 2)))


@settings(max_examples=25, deadline=None)
@given(cases())
def test_restoring_the_order_of_all_tokens_changes_nothing(case: Case) -> None:
    model, _, plan = case
    # nobody moves the tokens of a map that has to stay one
    assume(not model.needs_rectangle)
    site = next(iter(plan))
    tokens = model.run(model.embed(images(model, 2)), 0, site)
    assert same_tokens(permuted(tokens, "restored", 1.0, Chance(0, tokens.image, site)), tokens)


@settings(max_examples=25, deadline=None)
@given(cases(), st.sets(st.sampled_from(sorted(TRACE_FIELDS))))
def test_asking_for_more_trace_never_changes_the_logits(case: Case, more: set[str]) -> None:
    model, _, plan = case
    wanted = frozenset(more) & model.provides

    def logits(extra: frozenset[str]) -> Tensor:
        tokens = model.embed(images(model, 2))
        for block in range(model.depth):
            following = plan.get(block + 1)
            asked = extra if block + 1 in model.sites else frozenset()
            tokens = model.run(
                tokens,
                block,
                block + 1,
                needs=asked | (following.needs if following else frozenset()),
            )
            if following:
                tokens = following(tokens)
        return model.readout(tokens)

    assert torch.equal(logits(wanted), logits(frozenset()))
    assert torch.equal(
        logits(wanted), model.readout(model.run(model.embed(images(model, 2)), plan=plan))
    )


@settings(max_examples=15, deadline=None)
@given(cases(), st.integers(1, 33), st.data())
def test_an_image_does_not_depend_on_its_batch_or_the_threads(
    case: Case, count: int, data: st.DataObject
) -> None:
    model, _, plan = case
    chosen = data.draw(st.integers(0, count - 1))
    threads = torch.get_num_threads()
    found = []
    try:
        for used, rows in ((1, slice(None)), (2, slice(None)), (1, slice(chosen, chosen + 1))):
            torch.set_num_threads(used)
            tokens = model.embed(images(model, 33)[:count][rows], torch.arange(count)[rows])
            logits = model.readout(model.run(tokens, plan=plan))
            found.append(logits[0] if len(logits) == 1 else logits[chosen])
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


FULL_SIZE: dict[str, dict[str, int]] = {
    "vim_nano": {"depth": 4},
    "vim_tiny": {"depth": 4},
    "videomamba_tiny": {"depth": 4},
    "videomamba_tiny_video": {"depth": 3, "frames": 2},
    "mambareg_tiny": {"depth": 4},
    "mambareg_base": {"depth": 2},
    "plainmamba_l1": {"depth": 4},
    "adventurer_nano": {"depth": 4},
    "adventurer_tiny": {"depth": 4},
    "deit_nano": {"layers": 2},
    "deit_tiny": {"layers": 2},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", REDUCING)
@pytest.mark.parametrize("model_name", FULL_SIZE)
def test_batch_independence_at_full_size(name: str, model_name: str) -> None:
    model = create_model(model_name, **FULL_SIZE[model_name])
    composition = METHODS[name].compose(model.provides)
    assert composition is not None
    if incompatibility(composition, model):
        return
    pixels = images(model, 33)
    counts = {site: 20 for site in (1, 3) if site in model.sites}
    plan = reducers(composition, counted_plan(model.describe(), counts, composition), 1)

    def logits(rows: slice) -> Tensor:
        return model.readout(
            model.run(model.embed(pixels[rows], torch.arange(33)[rows]), plan=plan)
        )

    alone = torch.cat([logits(slice(row, row + 1)) for row in range(33)])
    for count in (2, 3, 8, 17, 32, 33):
        assert torch.equal(logits(slice(0, count)), alone[:count])


@pytest.mark.parametrize("name", list(KINDS))
@pytest.mark.parametrize("method", REDUCING)
def test_every_method_runs_on_every_backbone(method: str, name: str) -> None:
    model = backbone(name, 3)
    composition = METHODS[method].compose(model.provides)
    assert composition is not None
    site = model.sites[0]
    if missing := model.missing(composition.needs):
        with pytest.raises(UserError, match=f"no .*{min(missing)}"):
            model.run(model.embed(images(model, 2)), 0, site, needs=composition.needs)
        return
    if incompatibility(composition, model):
        pytest.skip("a cell that a run skips, with its reason: tests/suite/plan")
    tokens = model.run(model.embed(images(model, 2)).tracked(), 0, site, needs=composition.needs)
    count = (
        4
        if composition.keeps_rectangle
        else composition.cap(model.describe().patches, len(model.special_places))
    )
    plan = counted_plan(model.describe(), {site: min(4, count)}, composition)
    # a window may leave nothing that can go
    for reducer in reducers(composition, plan, 0).values():
        check_step(tokens, reducer(tokens), composition, plan.removals[site].tokens)
    assert same_tokens(Reducer(composition, 0, site)(tokens), tokens)

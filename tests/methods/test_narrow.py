"""What holds for every method that keeps a rectangle, whatever its options, over several sites."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from option_values import ON_GRID, every

from backbones.common.errors import UserError
from backbones.sequence import TokenSequence, Trace
from methods import METHODS
from methods.composition import Composition
from methods.parts.grid_pairs import Rectangle
from methods.reducer import Reducer
from methods.spec import parse
from suite.verify.step_contract import Step, same_tokens, single_image, step_problem

Fabricate = Callable[..., TokenSequence]


@st.composite
def compositions(draw: st.DrawFn) -> Composition:
    """Any method of the grid with any of its options."""
    method = METHODS[draw(st.sampled_from(ON_GRID))]
    chosen = {name: draw(st.sampled_from(found)) for name, found in every(method).items()}
    composition = method.compose(**chosen)
    assert composition is not None
    return composition


Case = tuple[Composition, dict[str, Any], list[Rectangle]]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """A composition, the sizes of a sequence, and the rows and columns that leave at each site."""
    composition = draw(compositions())
    height, width = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    cells = height * width
    least = 1 if composition.needs_class_token else 0
    special = draw(st.sets(st.integers(0, cells), min_size=least, max_size=3))
    special = {place for place in special if place < cells + len(special)}
    sizes = {
        "grid": (1, height, width),
        "special": tuple(special),
        "seed": draw(st.integers(0, 9)),
        "batch": 3,
    }
    lines = []
    for _ in range(3):
        rows = draw(st.integers(0, composition.cap_of_line(height)))
        columns = draw(st.integers(0, composition.cap_of_line(width)))
        height, width = height - rows, width - columns
        lines.append((rows, columns))
    return composition, sizes, lines


def reducer_of(composition: Composition, tokens: TokenSequence, lines: Rectangle) -> Reducer:
    """The reducer that takes these rows and columns from the tokens."""
    assert tokens.rectangle is not None
    height, width = tokens.rectangle
    gone = height * width - (height - lines[0]) * (width - lines[1])
    return Reducer(composition, gone, site=2, seed=5, lines=lines)


@settings(max_examples=30, deadline=None)
@given(cases())
def test_truths_of_the_map(fabricate: Fabricate, case: Case) -> None:
    composition, sizes, sites = case
    tokens = fabricate(**sizes)
    trace = tokens.trace
    for lines in sites:
        if not any(lines):
            continue
        reducer = reducer_of(composition, tokens, lines)
        out = reducer(tokens)
        assert step_problem(Step(composition, tokens, out, reducer.remove)) == ""
        assert out.trace is None
        assert same_tokens(reducer(tokens), out)
        for b in range(tokens.batch):
            assert same_tokens(reducer(single_image(tokens, b)), single_image(out, b))
            if composition.matching == "grid-resize":
                continue
            before = tokens.position[b].tolist()
            index = [before.index(position) for position in out.position[b].tolist()]
            grown = out.size[b] != tokens.size[b][index]
            for name in ("branch", "residual"):
                old, new = getattr(tokens, name)[b][index], getattr(out, name)[b]
                assert torch.equal(new[~grown], old[~grown])
        assert trace is not None
        kept = trace_of(trace, out.length)
        tokens = replace(out, trace=kept)


def trace_of(trace: Trace, length: int) -> Trace:
    """A trace of the first `length` tokens, as if a block had run on as many."""
    shown = {}
    for name in ("delta_mean", "delta", "B", "C"):
        shown[name] = getattr(trace, name)[:, :, :length]
    for name in ("y", "y_forward", "y_backward", "ungated", "ungated_forward", "ungated_backward"):
        shown[name] = getattr(trace, name)[:, :length]
    shown |= {"keys": trace.keys[:, :length], "cls_attention": trace.cls_attention[:, :length]}  # type: ignore[index]
    return Trace(A=trace.A, **shown)


@settings(max_examples=20, deadline=None)
@given(cases())
def test_every_row_and_every_column_lose_as_many_cells(fabricate: Fabricate, case: Case) -> None:
    composition, sizes, (lines, *_) = case
    tokens = fabricate(**sizes)
    assert tokens.rectangle is not None
    height, width = tokens.rectangle
    rows = reducer_of(composition, tokens, (0, lines[1]))(tokens)
    special = tokens.position.gather(1, tokens.special)
    patches = rows.position.gather(1, rows.patches())
    cells = patches - (special[:, None, :] < patches[:, :, None]).sum(2)
    counts = torch.stack([(cells // width == row).sum(1) for row in range(height)])
    assert bool((counts == width - lines[1]).all())
    columns = reducer_of(composition, tokens, (lines[0], 0))(tokens)
    patches = columns.position.gather(1, columns.patches())
    cells = patches - (special[:, None, :] < patches[:, :, None]).sum(2)
    counts = torch.stack([(cells % width == column).sum(1) for column in range(width)])
    assert bool((counts == height - lines[0]).all())


@pytest.mark.parametrize("text", [*ON_GRID, "storm[pairs=importance,weights=mean]"])
def test_merging_both_streams_is_merging_their_sum(fabricate: Fabricate, text: str) -> None:
    tokens = fabricate(dtype=torch.float64)
    composition = parse(text).composition()
    assert composition is not None
    out = reducer_of(composition, tokens, (1, 2))(tokens)
    moved = replace(tokens, branch=2 * tokens.branch)
    twice = reducer_of(composition, moved, (1, 2))(moved)
    torch.testing.assert_close(twice.branch, 2 * out.branch)
    torch.testing.assert_close(twice.residual, out.residual)


def test_only_what_is_needed_is_read(fabricate: Fabricate) -> None:
    tokens = fabricate()
    for text, needed in (
        ("storm", frozenset[str]()),
        ("storm[pairs=importance,score=delta]", frozenset({"delta_mean"})),
        ("grid-pool", frozenset[str]()),
    ):
        composition = parse(text).composition()
        assert composition is not None
        assert composition.needs == needed
        assert tokens.trace is not None
        shown = Trace(**{name: getattr(tokens.trace, name) for name in needed})
        reducer = reducer_of(composition, tokens, (1, 1))
        assert same_tokens(reducer(replace(tokens, trace=shown)), reducer(tokens))


def test_only_the_similar_and_the_important_look_at_the_image() -> None:
    blind = {
        text: composition.blind
        for text in (*ON_GRID, "storm[pairs=importance]", "storm[pairs=importance,score=random]")
        if (composition := parse(text).composition())
    }
    assert blind == {
        "storm": False,
        "grid-pool": True,
        "grid-resize": True,
        "storm[pairs=importance]": False,
        "storm[pairs=importance,score=random]": True,
    }


def test_gradients_go_through(fabricate: Fabricate) -> None:
    for text in (*ON_GRID, "grid-resize[kind=bilinear]"):
        composition = parse(text).composition()
        assert composition is not None
        with torch.enable_grad():
            tokens = fabricate()
            branch = tokens.branch.clone().requires_grad_()
            given = replace(tokens, branch=branch)
            reducer_of(composition, given, (1, 1))(given).branch.sum().backward()
        assert branch.grad is not None
        assert float(branch.grad.abs().sum()) > 0


def test_low_precision_is_merged_in_fp32(fabricate: Fabricate) -> None:
    for text in ("storm[weights=mean]", "grid-resize"):
        tokens = fabricate(batch=1)
        rough = replace(tokens, branch=tokens.branch.bfloat16())
        composition = parse(text).composition()
        assert composition is not None
        out = reducer_of(composition, rough, (2, 2))(rough)
        wide = replace(rough, branch=rough.branch.float())
        exact = reducer_of(composition, wide, (2, 2))(wide)
        assert out.branch.dtype == torch.bfloat16
        assert torch.equal(out.branch, exact.branch.bfloat16())


def test_what_fits_no_map_is_refused(fabricate: Fabricate) -> None:
    composition = parse("storm").composition()
    assert composition is not None
    tokens = fabricate()
    with pytest.raises(UserError, match="cannot remove 12 of 4 x 4 tokens at site 1 as 3 rows"):
        Reducer(composition, 12, site=1, lines=(3, 0))(tokens)
    with pytest.raises(UserError, match="cannot remove 5 of 4 x 4"):
        Reducer(composition, 5, site=1, lines=(1, 0))(tokens)
    dropped = Composition("lowest", score="random")
    with pytest.raises(UserError, match="fill no rectangle"):
        Reducer(composition, 4, site=1, lines=(1, 0))(Reducer(dropped, 1, site=1)(tokens))
    with pytest.raises(UserError, match="fill no rectangle"):
        Reducer(composition, 4, site=1, lines=(1, 0))(fabricate(grid=(2, 4, 4)))


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"weights": "pair", "feature": "branch"}, "cannot combine by 'pair'"),
        ({"weights": "sum", "order": "reversed"}, "in its own order"),
        ({"weights": "sum", "cls_window": 2}, "equally many cells from every line"),
        ({"weights": "sum", "feature": "branch", "score": "norm"}, "leave one out"),
    ],
)
def test_what_breaks_the_rectangle_is_no_composition(parts: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        Composition("grid-pairs", **parts)
    with pytest.raises(UserError, match="those of grid-pairs"):
        Composition("odd-even", feature="branch", weights="sum")

"""What every method must hold to, as checks that say in words what a method gets wrong.

They run on tokens of a small Vim with random weights, given the trace fields the method declares
and no others, for several lengths, counts and batches. `verify` runs them on anybody's method.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

import torch
from torch import Tensor

from backbones import create_model
from backbones.base import Backbone
from backbones.common.errors import UserError
from backbones.sequence import TRACE_FIELDS, TokenSequence, Trace
from methods.composition import Composition
from suite.flops.counters import count_with_torch
from suite.plan.cells import reducer

SIDES = (1, 2, 3, 5, 8)
SITE = 1
STACKED = frozenset(
    {"delta_mean", "delta", "B", "C"}
)  # trace fields whose first axis is the direction, not the image
Check = Callable[[Composition], str]


@dataclass(frozen=True)
class Finding:
    """One check and what came of it; `problem` is empty where the method holds."""

    check: str
    problem: str

    @property
    def passed(self) -> bool:
        """Whether the method holds."""
        return not self.problem


def examine(composition: Composition) -> list[Finding]:
    """Every check on one composition, in the order in which a failure explains the next."""
    found = []
    with torch.inference_mode():
        for check in CHECKS:
            title = (check.__doc__ or "").split("\n")[0].rstrip(".")
            try:
                problem = check(composition)
            except Exception as error:  # the method under test may raise anything
                problem = f"{type(error).__name__}: {error}"
            found.append(Finding(title, problem))
    return found


@cache
def model(side: int) -> Backbone:
    """A narrow Vim of side x side patches and three blocks, with weights that tell tokens apart."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(side)
        made = create_model("vim_nano", dim=32, depth=3, image_size=4 * side)
        with torch.no_grad():
            for parameter in made.parameters():
                parameter.add_(torch.randn(parameter.shape), alpha=0.1)
    return made


def tokens_before(composition: Composition, side: int, batch: int = 3) -> TokenSequence:
    """Tracked tokens that enter the site, with a trace of what the method declares and nothing more."""
    drawn = torch.randn(batch, 3, 4 * side, 4 * side, generator=torch.Generator().manual_seed(side))
    backbone = model(side)
    start = backbone.embed(drawn, torch.arange(10, 10 + batch)).tracked()
    return backbone.run(start, 0, SITE, needs=composition.needs)


def trials(composition: Composition) -> Iterator[tuple[TokenSequence, int]]:
    """Sequences of 1 to 64 patches with a count that can go: one, a third, and as many as the cap allows."""
    for side in SIDES:
        cap = composition.cap(side * side)
        for count in sorted({1, side * side // 3, cap} - {0}):
            if count <= cap:
                yield tokens_before(composition, side), count


def reduced(
    composition: Composition, tokens: TokenSequence, count: int, seed: int = 0
) -> TokenSequence:
    """The tokens after the method took `count` away."""
    return reducer(composition, count, SITE, seed)(tokens)


def _same(one: TokenSequence, other: TokenSequence) -> bool:
    pairs = (
        (getattr(one, field.name), getattr(other, field.name))
        for field in fields(one)
        if field.name != "trace"
    )
    return all(torch.equal(a, b) if isinstance(a, Tensor) else a == b for a, b in pairs)


def check_needs(composition: Composition) -> str:
    """It declares trace fields that exist."""
    unknown = composition.needs - TRACE_FIELDS
    return (
        f"needs {', '.join(sorted(unknown))}, but a trace has {', '.join(sorted(TRACE_FIELDS))}"
        if unknown
        else ""
    )


def check_nothing(composition: Composition) -> str:
    """With nothing to remove it returns its tokens bit for bit."""
    tokens = tokens_before(composition, 5)
    return (
        ""
        if _same(reduced(composition, tokens, 0), tokens)
        else "tokens changed although none was to go"
    )


def check_count(composition: Composition) -> str:
    """Exactly as many tokens are left as were asked for, for any number of patches from 1 up."""
    for tokens, count in trials(composition):
        left = reduced(composition, tokens, count).length
        if left != tokens.length - count:
            return f"{left} of {tokens.length} tokens were left when {count} were to go"
    return ""


def check_cap(composition: Composition) -> str:
    """Its cap is never negative, never all patches, and more than it is refused in one line."""
    for patches in range(1, 65):
        cap = composition.cap(patches)
        if not 0 <= cap < patches:
            return f"cap({patches}) is {cap}: it must be from 0 to {patches - 1}"
    try:
        reduced(composition, tokens_before(composition, 5), composition.cap(25) + 1)
    except UserError:
        return ""
    return f"removing {composition.cap(25) + 1} of 25 patches, one more than the cap, was not refused with UserError"


def check_specials(composition: Composition) -> str:
    """Special tokens survive untouched, and `special` is their exact rank."""
    for tokens, count in trials(composition):
        after = reduced(composition, tokens, count)
        before_place = tokens.position.gather(1, tokens.special)
        if not torch.equal(after.position.gather(1, after.special), before_place):
            return f"`special` points at other tokens after {count} of {tokens.length} went"
        for stream in ("branch", "residual"):
            old = _rows(getattr(tokens, stream), tokens.special)
            if not torch.equal(_rows(getattr(after, stream), after.special), old):
                return f"the {stream} of a special token changed"
        if not bool((after.size.gather(1, after.special) == 1).all()):
            return "a special token's size is not 1"
    return ""


def check_order(composition: Composition) -> str:
    """Order restored means positions strictly increasing; any other keeps each position once and specials in place."""
    if composition.special != "exact":
        # an option that misplaces the class token on purpose, as its method's released code does
        return ""
    for tokens, count in trials(composition):
        after = reduced(composition, tokens, count)
        steps = after.position.diff(dim=1)
        if composition.order == "restored" and not bool((steps > 0).all()):
            return f"positions do not increase after {count} of {tokens.length} went"
        if not bool((after.position.sort(dim=1).values.diff(dim=1) > 0).all()):
            return "a position stands twice in the sequence"
        special = after.position.gather(1, after.special)
        smaller = (after.position[:, None, :] < special[:, :, None]).sum(2)
        if not torch.equal(smaller, after.special):
            return "a special token does not stand at the number of tokens of smaller position"
    return ""


def check_sizes(composition: Composition) -> str:
    """Sizes add up: what survives stands for all originals but the dropped ones, and `owner` says which."""
    for tokens, count in trials(composition):
        after = reduced(composition, tokens, count)
        assert after.owner is not None
        kept = after.owner >= 0
        counted = torch.zeros_like(after.size).scatter_add_(
            1, after.owner.clamp(min=0), kept.to(after.size.dtype)
        )
        if bool((after.owner >= after.length).any()):
            return "`owner` points beyond the sequence"
        if not torch.equal(counted, after.size):
            return f"sizes are not the numbers of original tokens that `owner` counts, after {count} went"
        own = after.owner.gather(1, after.position)
        if not torch.equal(own, torch.arange(after.length).expand_as(own)):
            return "a surviving token does not own its own position"
    return ""


def check_finite(composition: Composition) -> str:
    """Both streams stay finite."""
    for tokens, count in trials(composition):
        after = reduced(composition, tokens, count)
        if not bool(torch.isfinite(after.branch).all() & torch.isfinite(after.residual).all()):
            return f"a value is not finite after {count} of {tokens.length} tokens went"
    return ""


def check_seed(composition: Composition) -> str:
    """The same seed gives the same result, and another seed another one exactly if the method is stochastic."""
    tokens = tokens_before(composition, 8)
    count = max(1, composition.cap(64) // 2)
    first = reduced(composition, tokens, count)
    if not _same(first, reduced(composition, tokens, count)):
        return "two runs with one seed differ"
    differs = any(not _same(first, reduced(composition, tokens, count, seed)) for seed in (1, 2, 3))
    if differs and not composition.stochastic:
        return "the seed makes a difference, but the method does not say that it is stochastic"
    if composition.stochastic and not differs:
        return "it says it is stochastic, but four seeds give the same result"
    return ""


def check_batch(composition: Composition) -> str:
    """What becomes of an image does not depend on its batch, to the bit on CPU."""
    for side in SIDES[1:]:
        count = composition.cap(side * side)
        if not count:
            continue
        whole = reduced(composition, tokens_before(composition, side, batch=3), count)
        alone = tokens_before(composition, side, batch=3)
        for row in range(3):
            single = reduced(composition, only(alone, row), count)
            if not _same(single, only(whole, row)):
                return f"image {row} of a batch of 3 differs from the same image alone ({side * side} patches)"
    return ""


def check_inputs(composition: Composition) -> str:
    """It leaves its input as it was."""
    tokens, again = tokens_before(composition, 5), tokens_before(composition, 5)
    reduced(composition, tokens, max(1, composition.cap(25) // 2))
    return "" if _same(tokens, again) else "the tokens it was given were changed in place"


def check_cost(composition: Composition) -> str:
    """Its closed-form cost counts its matrix products exactly."""
    for side in SIDES[1:]:
        count = max(1, composition.cap(side * side) // 2)
        if count > composition.cap(side * side):
            continue
        tokens = tokens_before(composition, side, batch=1)
        counted = count_with_torch(
            lambda tokens=tokens, count=count: reduced(composition, tokens, count)  # type: ignore[misc]
        ).gemm
        stated = composition.cost(side * side, count, model(side).describe()).matmul_macs
        if counted != stated:
            return f"removing {count} of {side * side} takes {counted:,} multiply-accumulates, cost() says {stated:,}"
    return ""


def only(tokens: TokenSequence, row: int) -> TokenSequence:
    """One image of a sequence, with its trace."""
    keep = slice(row, row + 1)

    def cut(value: Any, axis: int) -> Any:
        return (
            value if not isinstance(value, Tensor) else value[keep] if axis == 0 else value[:, keep]
        )

    values = {field.name: cut(getattr(tokens, field.name), 0) for field in fields(tokens)}
    values["carry"] = cut(tokens.carry, 1)
    if tokens.trace is not None:
        shown = {f.name: getattr(tokens.trace, f.name) for f in fields(Trace)}
        values["trace"] = Trace(
            **{
                name: value if name == "A" else cut(value, int(name in STACKED))
                for name, value in shown.items()
            }
        )
    return TokenSequence(**values)


def _rows(stream: Tensor, index: Tensor) -> Tensor:
    return stream.gather(1, index[:, :, None].expand(-1, -1, stream.shape[2]))


CHECKS: tuple[Check, ...] = (
    check_needs, check_nothing, check_count, check_cap, check_specials, check_order, check_sizes, check_finite,
    check_seed, check_batch, check_inputs, check_cost,
)  # fmt: skip

"""The contract of a method, as checks that say in words what a method gets wrong.

They run on tokens of a small Vim with random weights, with the trace fields that the method
declares and no others, for several lengths, counts and batches, on methods of the suite and on
those of third parties.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial, wraps

import torch

from backbones.base import Backbone
from backbones.common.errors import UserError
from backbones.sequence import TRACE_FIELDS, TokenSequence
from methods.composition import Composition
from suite.flops.counters import count_with_torch
from suite.plan.cells import reducer
from suite.store.schema import Removal
from suite.verify.checks import Finding, distinct_model, problem_of, title
from suite.verify.step_contract import STEP_CHECKS, Step, StepCheck, same_tokens, single_image

SIDES = (1, 2, 3, 5, 8)
SITE = 1
Check = Callable[[Composition], str]


def examine(composition: Composition) -> list[Finding]:
    """Run every check on one composition, in the order in which one failure explains the next."""
    return [Finding(title(check), problem_of(check, composition)) for check in CHECKS]


@cache
def model(side: int) -> Backbone:
    """A narrow Vim of side x side patches and three blocks."""
    return distinct_model("vim_nano", side, dim=32, depth=3, image_size=4 * side)


def tokens_before(composition: Composition, side: int, batch: int = 3) -> TokenSequence:
    """Tracked tokens at the site, with a trace of what the method declares and nothing more."""
    # Numbers of images that are not their rows, so that a method cannot take one for the other.
    drawn = torch.randn(batch, 3, 4 * side, 4 * side, generator=torch.Generator().manual_seed(side))
    # No field beyond those declared, or a method could read what it does not ask for.
    backbone = model(side)
    start = backbone.embed(drawn, torch.arange(10, 10 + batch)).tracked()
    return backbone.run(start, 0, SITE, needs=composition.needs)


def reduced(
    composition: Composition, tokens: TokenSequence, removal: Removal, seed: int = 0
) -> TokenSequence:
    """The tokens after the method removed what `removal` says."""
    return reducer(composition, removal, SITE, seed)(tokens)


def removal_of(side: int, rows: int, columns: int) -> Removal:
    """So many rows and columns of side x side patches."""
    left = (side - rows) * (side - columns)
    return Removal(tokens=side * side - left, rows=rows, columns=columns)


def removals(composition: Composition, side: int) -> list[Removal]:
    """One of side x side patches, or a line of them, a part, and as much as the cap allows."""
    if composition.keeps_rectangle:
        most = composition.cap_of_line(side)
        lines = {(0, 1), (1, 0), (most // 2, most), (most, most)} if most else {(0, 0)}
        return [removal_of(side, *taken) for taken in sorted(lines - {(0, 0)})]
    cap = composition.cap(side * side)
    counts = sorted({1, side * side // 3, cap} - {0})
    return [Removal(tokens=count) for count in counts if count <= cap]


def half(composition: Composition, side: int) -> Removal | None:
    """Half of what the cap allows of side x side patches, at least one; None if it allows none."""
    if composition.keeps_rectangle:
        most = composition.cap_of_line(side)
        return removal_of(side, -(-most // 2), -(-most // 2)) if most else None
    cap = composition.cap(side * side)
    return Removal(tokens=max(1, cap // 2)) if cap else None


def steps(composition: Composition) -> Iterator[Step]:
    """Reductions of 1 to 64 patches by little, by a part, and by as many as the cap allows."""
    for side in SIDES:
        for removal in removals(composition, side):
            tokens = tokens_before(composition, side)
            after = reduced(composition, tokens, removal)
            yield Step(composition, tokens, after, removal.tokens)


def on_every_step(check: StepCheck) -> Check:
    """The check of a step as one of a composition: on all of its `steps`."""

    @wraps(check)
    def run(composition: Composition) -> str:
        for step in steps(composition):
            if problem := check(step):
                return f"{problem} when {step.removed} of {step.before.length} were to go"
        return ""

    return run


def check_needs(composition: Composition) -> str:
    """It declares trace fields that exist."""
    unknown = ", ".join(sorted(composition.needs - TRACE_FIELDS))
    return f"needs {unknown}, but a trace has {', '.join(sorted(TRACE_FIELDS))}" if unknown else ""


def check_nothing(composition: Composition) -> str:
    """With nothing to remove it returns its tokens bit for bit."""
    tokens = tokens_before(composition, 5)
    same = same_tokens(reduced(composition, tokens, Removal(tokens=0)), tokens)
    return "" if same else "tokens changed although none was to go"


def check_cap(composition: Composition) -> str:
    """Its cap is never negative or all patches, and more than the cap is a UserError."""
    for count in range(1, 65):
        on_grid = composition.keeps_rectangle
        cap = composition.cap_of_line(count) if on_grid else composition.cap(count)
        if not 0 <= cap < count:
            name = "cap_of_line" if on_grid else "cap"
            return f"{name}({count}) is {cap}: it must be from 0 to {count - 1}"
    # A cap that clamps in silence would give a budget other than the solver's.
    if composition.keeps_rectangle:
        beyond = removal_of(5, composition.cap_of_line(5) + 1, 0)
    else:
        beyond = Removal(tokens=composition.cap(25) + 1)
    try:
        reduced(composition, tokens_before(composition, 5), beyond)
    except UserError:
        return ""
    what = f"{beyond.rows} of 5 rows" if beyond.rows else f"{beyond.tokens} of 25 patches"
    return f"removing {what}, one more than the cap, was not refused with UserError"


def check_seed(composition: Composition) -> str:
    """The same seed gives the same result, another seed another one only if it is stochastic."""
    tokens = tokens_before(composition, 8)
    # Half the cap: at the cap itself some methods have no choice left to draw.
    part = half(composition, 8)
    assert part is not None
    first = reduced(composition, tokens, part)
    if not same_tokens(first, reduced(composition, tokens, part)):
        return "two runs with one seed differ"
    # one other seed may give the same result by chance, three will not
    others = [reduced(composition, tokens, part, seed) for seed in (1, 2, 3)]
    differs = not all(same_tokens(first, other) for other in others)
    if differs and not composition.stochastic:
        return "the seed makes a difference, but the method does not say that it is stochastic"
    if composition.stochastic and not differs:
        return "it says it is stochastic, but four seeds give the same result"
    return ""


def check_batch(composition: Composition) -> str:
    """What becomes of an image does not depend on its batch, to the bit on CPU."""
    for side in SIDES[1:]:
        possible = removals(composition, side)
        if not possible:
            continue
        most = possible[-1]
        tokens = tokens_before(composition, side)
        batch = reduced(composition, tokens, most)
        for row in range(tokens.batch):
            # Whole runs must not depend on --batch-size.
            alone = reduced(composition, single_image(tokens, row), most)
            if not same_tokens(alone, single_image(batch, row)):
                return (
                    f"image {row} of a batch of 3 differs from the same image alone "
                    f"({side * side} patches)"
                )
    return ""


def check_inputs(composition: Composition) -> str:
    """It leaves its input unchanged."""
    tokens, again = tokens_before(composition, 5), tokens_before(composition, 5)
    part = half(composition, 5)
    assert part is not None
    reduced(composition, tokens, part)
    return "" if same_tokens(tokens, again) else "its input was changed in place"


def check_cost(composition: Composition) -> str:
    """Its closed-form cost counts its matrix products exactly."""
    for side in SIDES[1:]:
        removal, shape = half(composition, side), model(side).describe()
        if removal is None:
            continue
        tokens = tokens_before(composition, side, batch=1)
        # By a counter that knows nothing of cost(): the budget is met with this figure.
        counted = count_with_torch(partial(reduced, composition, tokens, removal)).gemm
        if composition.keeps_rectangle:
            left = side - removal.rows, side - removal.columns
            stated = composition.cost_on_grid((side, side), left, shape).matmul_macs
        else:
            stated = composition.cost(side * side, removal.tokens, shape).matmul_macs
        if counted != stated:
            return (
                f"removing {removal.tokens} of {side * side} takes {counted:,} "
                f"multiply-accumulates, cost() says {stated:,}"
            )
    return ""


CHECKS: tuple[Check, ...] = (
    check_needs,
    check_nothing,
    check_cap,
    *map(on_every_step, STEP_CHECKS),
    check_seed,
    check_batch,
    check_inputs,
    check_cost,
)

"""The contract of one reduction, as checks on the tokens before and after it.

Whatever a method chooses, tokens must be counted exactly, special tokens must survive, and sizes
and owners must account for every original token. `verify` checks it for the methods, the tests for
every option and backbone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from backbones.sequence import TokenSequence, Trace
from methods.composition import Composition

# fields whose first axis is the direction, not the image
STACKED = frozenset({"carry", "delta_mean", "delta", "B", "C"})


class Step(NamedTuple):
    """One reduction of tracked tokens, which was to remove `removed` patch tokens."""

    composition: Composition
    before: TokenSequence
    after: TokenSequence
    removed: int


StepCheck = Callable[[Step], str]


def step_problem(step: Step) -> str:
    """The first thing that is wrong with the step; empty if it keeps the contract."""
    for check in STEP_CHECKS:
        if problem := check(step):
            return problem
    return ""


def check_count(step: Step) -> str:
    """Exactly as many tokens are left as requested, for any number of patches from 1 up."""
    left, whole = step.after.length, step.before.length
    return "" if left == whole - step.removed else f"{left} of {whole} tokens were left"


def check_specials(step: Step) -> str:
    """Special tokens survive untouched, and `special` is their exact rank."""
    before, after = step.before, step.after
    # By position: the rank of a special token changes with every token that leaves before it.
    positions = before.position.gather(1, before.special)
    if not torch.equal(after.position.gather(1, after.special), positions):
        return "`special` points at other tokens"
    for stream in ("branch", "residual"):
        old = getattr(before, stream).take_along_dim(before.special[:, :, None], 1)
        new = getattr(after, stream).take_along_dim(after.special[:, :, None], 1)
        if not torch.equal(old, new):
            return f"the {stream} of a special token changed"
    if not bool((after.size.gather(1, after.special) == 1).all()):
        return "a special token's size is not 1"
    if step.composition.cls_placement != "exact":
        # an option that misplaces the class token on purpose, as its method's released code does
        return ""
    smaller = (after.position[:, None, :] < positions[:, :, None]).sum(2)
    if not torch.equal(smaller, after.special):
        return "a special token is not at the number of tokens with a smaller position"
    return ""


def check_rectangle(step: Step) -> str:
    """What keeps a rectangle says which; after anything else there is none."""
    before, after = step.before.rectangle, step.after.rectangle
    if not step.composition.keeps_rectangle:
        return "" if step.after.lattice is None else "`lattice` was not set to None"
    if before is None or after is None:
        return f"`lattice` is {step.after.lattice}, which the patch tokens do not fill"
    if after[0] > before[0] or after[1] > before[1]:
        return f"{before[0]} x {before[1]} tokens became {after[0]} x {after[1]}"
    return ""


def check_order(step: Step) -> str:
    """Order restored means patches by increasing position; any order keeps each position once.

    What keeps a rectangle has the order of its rows and columns: down a column of a map that was
    whole, tokens come from rows further down.
    """
    before, after = step.before, step.after
    if not bool((after.position.sort(dim=1).values.diff(dim=1) > 0).all()):
        return "a position occurs twice in the sequence"
    # A merge may move features, but makes no new place in the sequence.
    known = after.position[:, :, None] == before.position[:, None, :]
    if not bool(known.any(2).all()):
        return "a position was not in the sequence before"
    # the special tokens' places are checked on their own
    is_patch = torch.ones_like(after.position, dtype=torch.bool).scatter_(1, after.special, False)
    patches = after.position[is_patch].view(after.batch, -1)
    if step.composition.keeps_rectangle:
        rectangle, whole = after.rectangle, before.length == before.original_length
        if rectangle is None or not whole:
            return ""
        special = before.position.gather(1, before.special)
        cells = patches - (special[:, None, :] < patches[:, :, None]).sum(2)
        rows = (cells // before.grid[2]).unflatten(1, rectangle)
        increase = bool((rows.diff(dim=1) > 0).all())
        return "" if increase else "the rows of the map are mixed"
    if step.composition.order == "restored" and not bool((patches.diff(dim=1) > 0).all()):
        return "positions do not increase"
    return ""


def check_sizes(step: Step) -> str:
    """Sizes add up: a survivor counts the originals in it, and `owner` says which they are."""
    before, after = step.before, step.after
    assert before.owner is not None
    assert after.owner is not None
    if bool((after.owner >= after.length).any()):
        return "`owner` points beyond the sequence"
    index = torch.arange(after.length).expand_as(after.position)
    if not torch.equal(after.owner.gather(1, after.position), index):
        return "a surviving token does not own its own position"
    # where each token of before went, -1 if it was dropped
    target = after.owner.gather(1, before.position)
    owner = target.gather(1, before.owner.clamp(min=0)).where(before.owner >= 0, -1)
    if not torch.equal(after.owner, owner):
        return "`owner` parts originals that were one token before"
    # What was dropped counts nowhere; what was merged counts in its target.
    gained = before.size.where(target >= 0, 0)
    sizes = torch.zeros_like(after.size).scatter_add_(1, target.clamp(min=0), gained)
    if not torch.equal(sizes, after.size):
        return "sizes are not the sums of the sizes that `owner` counts"
    return ""


def check_finite(step: Step) -> str:
    """Both streams stay finite."""
    finite = torch.isfinite(step.after.branch).all() & torch.isfinite(step.after.residual).all()
    return "" if bool(finite) else "a value is not finite"


def same_tokens(one: TokenSequence, other: TokenSequence) -> bool:
    """Whether two sequences are equal to the last bit, in all but the trace."""
    for field in fields(one):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if field.name == "trace":
            continue  # what a block shows of itself, not what the next one gets
        if not (torch.equal(a, b) if isinstance(a, Tensor) else a == b):
            return False
    return True


def single_image(tokens: TokenSequence, row: int) -> TokenSequence:
    """The image `row` of a sequence as a batch of one, with its trace."""
    trace = tokens.trace
    if trace is not None:
        trace = replace(trace, **_of_image(trace, row))
    return replace(tokens, **_of_image(tokens, row), trace=trace)


def _of_image(values: TokenSequence | Trace, row: int) -> dict[str, Any]:
    tensors = {}
    for field in fields(values):
        value = getattr(values, field.name)
        # A is a parameter, the same for all images
        if isinstance(value, Tensor) and field.name != "A":
            images = slice(row, row + 1)
            tensors[field.name] = value[:, images] if field.name in STACKED else value[images]
    return tensors


STEP_CHECKS: tuple[StepCheck, ...] = (
    check_count,
    check_specials,
    check_rectangle,
    check_order,
    check_sizes,
    check_finite,
)

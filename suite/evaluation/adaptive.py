"""Evaluate a cell of adaptive counts: images part at every site by how many tokens leave them.

Images that are left with equally many tokens run together, as a batch of their own: what becomes of
an image does not depend on the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

from backbones.base import Backbone
from backbones.common.errors import UserError
from backbones.sequence import TokenSequence
from methods.adaptive import AdaptiveStep
from suite.evaluation.groups import Group, by_length, split
from suite.evaluation.tree import Failure, Job, check_shapes, failures

Steps = Mapping[int, AdaptiveStep]
GroupObserver = Callable[[int, Sequence[Group]], None]


class Adaptive(NamedTuple):
    """Logits (B, classes), and the tokens that left each image at each site (B, sites)."""

    logits: Tensor
    removed: Tensor


def evaluate_adaptive(
    model: Backbone, tokens: TokenSequence, key: str, steps: Steps, observe: GroupObserver
) -> Adaptive | Failure:
    """Evaluate the cell `key`, which has these `steps` in the order of their sites.

    `tokens` enter block 0. `observe(site, groups)` receives the tokens that enter block `site`
    after a reduction. A Failure says why it could not be evaluated; raised are a UserError, and
    what `suite.evaluation.tree.failures` raises.
    """
    try:
        return run_adaptive(model, tokens, steps, observe)
    except UserError:
        raise
    except Exception as error:  # a third party's block or score may raise anything
        place = error.__notes__[-1]
        ((_, failure),) = failures(error, [Job(key, {})], lambda _: place, tokens.batch)
        return failure


def run_adaptive(
    model: Backbone,
    tokens: TokenSequence,
    steps: Steps,
    observe: GroupObserver = lambda site, groups: None,
) -> Adaptive:
    """Run `tokens` from block 0 to logits; an exception has a note of the place it came from."""
    groups, start = [Group.whole(tokens)], 0
    removed = torch.zeros(tokens.batch, len(steps), dtype=torch.long, device=tokens.position.device)
    for column, (site, step) in enumerate(steps.items()):
        with noted(f"before block {site}"):
            groups = [
                Group(group.rows, model.run(group.tokens, start, site, needs=step.needs))
                for group in groups
            ]
        parts = []
        with noted(f"at site {site}"):
            for group in groups:
                counts = step.counts(group.tokens)
                removed[group.rows, column] = counts
                for count, some in split(group, counts).items():
                    reduced = step.reducer(count)(some.tokens)
                    check_shapes(some.tokens, reduced)
                    parts.append(Group(some.rows, reduced))
            groups, start = by_length(parts), site
            observe(site, groups)
    with noted(f"after block {start}"):
        logits = [model.readout(model.run(group.tokens, start)) for group in groups]
    rows = torch.cat([group.rows for group in groups])
    return Adaptive(torch.cat(logits)[rows.argsort()], removed.cpu())


@contextmanager
def noted(place: str) -> Iterator[None]:
    """Note the `place` on an exception that passes."""
    try:
        yield
    except Exception as error:
        error.add_note(place)
        raise

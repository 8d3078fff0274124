"""Scores: how important each patch token is; larger is more important.

A score is (B, n) for the n patch tokens in sequence order, in fp32 at least. `direction` chooses
the scan a trace of several directions is read from: forward, backward (in image order), or both
(the sum of all).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from backbones.common.errors import UserError
from backbones.sequence import TokenSequence, turned
from methods.parts.cost import Widths
from methods.parts.counter_random import uniform
from methods.parts.features import length, precise, rows, summed, traced
from methods.parts.hidden_attention import hidden_attention, undecayed_attention

DIRECTIONS = ("both", "forward", "backward")
SIGNED = ("cls-similarity",)  # scores that may be negative
READINGS = ("ungated", "gated", "projected")
"""What ``activation`` clips: the scan's output before or after its gate, or the branch."""


@dataclass(frozen=True)
class SiteContext:
    """The input of a reduction.

    ``tokens``   the sequence (B, L, ...), with the trace of the block before
    ``patches``  (B, n) indices of its patch tokens, in sequence order
    ``seed``     of a random method
    ``site``     the block that comes next
    """

    tokens: TokenSequence
    patches: Tensor
    seed: int
    site: int

    def part(self, ranks: Tensor) -> SiteContext:
        """The same site with only the patches of these ranks (B, m)."""
        return replace(self, patches=self.patches.gather(1, ranks))


def of_direction(values: Tensor, direction: str) -> Tensor:
    """One direction of `values` (K, ...), forward first, as (1, ...), or all."""
    if direction == "both":
        return values
    scan = DIRECTIONS.index(direction) - 1
    return values[scan : scan + 1]


def _delta(context: SiteContext, direction: str) -> Tensor:
    """MTR: mean of the timescales, s_i = (1/G) sum_g sum_direction Delta_{i,g}."""
    mean = of_direction(traced(context.tokens.trace, "delta_mean"), direction)
    return summed(precise(mean).unbind()).gather(1, context.patches)


def _magnitude(name: str) -> Callable[[SiteContext, str], Tensor]:
    """Mean over states of |B| or |C|: how strongly a token writes to, or reads from, the state."""

    def score(context: SiteContext, direction: str) -> Tensor:
        values = of_direction(traced(context.tokens.trace, name), direction)
        magnitude = precise(values).abs().mean(-1)
        return summed(magnitude.unbind()).gather(1, context.patches)

    return score


def _delta_b(context: SiteContext, direction: str) -> Tensor:
    """Mean Delta times mean |B|, direction by direction: the size of the input gate Delta B."""
    mean, B = (
        precise(of_direction(traced(context.tokens.trace, name), direction))
        for name in ("delta_mean", "B")
    )
    # Delta > 0 and B has no channels, so the mean of |Delta_d B_n| is the product of the means.
    gate = mean * B.abs().mean(-1)
    return summed(gate.unbind()).gather(1, context.patches)


def outputs_read(reading: str, direction: str) -> frozenset[str]:
    """Trace fields that ``activation`` clips under `reading`; none if it clips the branch."""
    if reading == "projected":
        return frozenset()
    # Combined as the block does, by sum or mean: the directions cannot be added here.
    name = {"gated": "y", "ungated": "ungated"}[reading]
    return frozenset({name if direction == "both" else f"{name}_{direction}"})


def output(tokens: TokenSequence, reading: str, direction: str) -> Tensor:
    """What ``activation`` clips (B, L, E or C)."""
    fields = outputs_read(reading, direction)
    return traced(tokens.trace, *fields) if fields else tokens.branch


def _activation(reading: str) -> Callable[[SiteContext, str], Tensor]:
    """UTR and HSA: mean over channels of max(0, y), y what `reading` says."""

    def score(context: SiteContext, direction: str) -> Tensor:
        # Some images at a time, so that what is clipped stays in cache.
        images = output(context.tokens, reading, direction).split(8)
        clipped = torch.cat([precise(y).clamp_min(0).mean(-1) for y in images])
        return clipped.gather(1, context.patches)

    return score


def _norm(context: SiteContext, direction: str) -> Tensor:
    """Length of branch + residual."""
    return length(precise(context.tokens.residual) + precise(context.tokens.branch)).gather(
        1, context.patches
    )


def _magnitude_of_residual(context: SiteContext, direction: str) -> Tensor:
    """STORM's form for EViT: mean over channels of |residual|."""
    return precise(context.tokens.residual).abs().mean(-1).gather(1, context.patches)


def _cls_similarity(context: SiteContext, direction: str) -> Tensor:
    """Cosine of branch + residual with the class token, mean over several special tokens.

    A backbone without any reads its answer from the mean token, weighted by size; that stands for
    the class token.
    """
    tokens = context.tokens
    total = precise(tokens.residual) + precise(tokens.branch)
    if tokens.special.shape[1] == 0:
        # No division by the sizes' sum: only the direction matters to a cosine.
        special = (total * tokens.size.to(total.dtype)[..., None]).sum(1, keepdim=True)
    else:
        special = rows(total, tokens.special)
    special = special / length(special)[..., None]
    # The length is divided out of one number a token rather than of its C.
    size = length(total)
    # One special token at a time, without a tensor (B, L, S, C); there are few.
    cosines = [(total * special[:, j : j + 1]).sum(-1) / size for j in range(special.shape[1])]
    return torch.stack(cosines).mean(0).gather(1, context.patches)


def _cls_attention(context: SiteContext, direction: str) -> Tensor:
    """EViT: attention the class token pays, mean over heads (attention backbones)."""
    return precise(traced(context.tokens.trace, "cls_attention")).gather(1, context.patches)


def _hidden_attention(context: SiteContext, direction: str) -> Tensor:
    """EViT's attention of the class token on a scan, mean over several special tokens."""
    A = precise(traced(context.tokens.trace, "A"))

    def row(delta: Tensor, B: Tensor, C: Tensor, readers: Tensor) -> Tensor:
        return hidden_attention(delta, A, B, C, readers, direction)

    return _attention_of_specials(context, row, ("delta", "B", "C"))


def _undecayed_attention(context: SiteContext, direction: str) -> Tensor:
    """The same without the decay."""

    def row(delta_mean: Tensor, B: Tensor, C: Tensor, readers: Tensor) -> Tensor:
        return undecayed_attention(delta_mean, B, C, readers, direction)

    return _attention_of_specials(context, row, ("delta_mean", "B", "C"))


def _attention_of_specials(
    context: SiteContext, row: Callable[..., Tensor], names: tuple[str, ...]
) -> Tensor:
    """`row` (B, L) of the trace fields `names` and the special tokens, at the patches."""
    special = context.tokens.special
    if special.shape[1] == 0:
        raise UserError(
            "score 'hidden-attention' needs a class token and this backbone has none: "
            "use score=cls-similarity"
        )
    trace = context.tokens.trace
    assert trace is not None
    fields = [precise(traced(trace, name)) for name in names]
    if not trace.flipped:
        return row(*fields, special).gather(1, context.patches)
    # in the order in which the scan read the tokens, and back
    last = fields[0].shape[2] - 1
    readers = torch.where(special == last, special, last - 1 - special)
    attention = row(*(turned(values, 2) for values in fields), readers)
    return turned(attention, 1).gather(1, context.patches)


def _random(context: SiteContext, direction: str) -> Tensor:
    """Uniform numbers of (seed, image, site, position)."""
    # By position, not by rank: a token's number does not depend on who else survived.
    position = context.tokens.position.gather(1, context.patches)
    return uniform(context.seed, context.tokens.image, context.site, position)


def faded(score: Tensor, context: SiteContext, rate: float) -> Tensor:
    """`score` (B, n) times exp(-rate d), d the distance to the nearest special token.

    Distance is that of the unreduced sequence, over its length, so that 0 <= d < 1 at every site.
    """
    tokens = context.tokens
    if tokens.special.shape[1] == 0:
        raise UserError("sensitivity needs a class token and this backbone has none: set it to 0")
    # Distances between survivors would shrink from site to site, and fading with them.
    special = tokens.position.gather(1, tokens.special)
    distance = (
        (tokens.position.gather(1, context.patches)[:, None, :] - special[:, :, None]).abs().amin(1)
    )
    return score * torch.exp(-rate * distance.to(score.dtype) / tokens.original_length)


@dataclass(frozen=True)
class Score:
    """A score.

    ``read``        (context, direction) -> (B, n)
    ``needs``       direction -> trace fields it reads
    ``directed``    whether the direction makes a difference
    ``arithmetic``  (tokens, directions read, shape) -> operations
    """

    read: Callable[[SiteContext, str], Tensor]
    needs: Callable[[str], frozenset[str]]
    directed: bool
    arithmetic: Callable[[int, int, Widths], int]


def _clipping(reading: str, tokens: int, scans: int, shape: Widths) -> int:
    return tokens * ((shape.dim if reading == "projected" else shape.inner) + 1)


def _magnitudes(tokens: int, scans: int, shape: Widths) -> int:
    return tokens * (scans * (shape.states + 1) + scans - 1)


def _cosines(tokens: int, scans: int, shape: Widths) -> int:
    # The mean token, where there is no special one, is a sum of all, each times its size.
    mean = 0 if shape.specials else 2 * tokens * shape.dim
    each = 3 * shape.dim + 1 + tokens * (2 * shape.dim + 1)
    specials = max(1, shape.specials)
    return tokens * (3 * shape.dim + 1) + mean + specials * each + tokens * (specials + 1)


def _fixed(*names: str) -> Callable[[str], frozenset[str]]:
    return lambda direction: frozenset(names)


def _attending(tokens: int, scans: int, shape: Widths) -> int:
    # One scan for each token, whichever are asked for: see `methods.parts.hidden_attention`. Where
    # a head has one decay for all its states, C B is summed over these before it decays.
    scales, states = shape.timescales, shape.states
    by_head = scales < shape.inner
    decays, weights = (1, 2 * states) if by_head else (states, states)
    reader = scales * (4 * decays + 3) + weights + 2
    return tokens * (shape.directions * scales + shape.specials * reader + 1)


def _attending_without_decay(tokens: int, scans: int, shape: Widths) -> int:
    # C B summed over states, times Delta's mean; one product for each special token.
    return tokens * (scans * (shape.timescales + 1) + shape.specials * (2 * shape.states + 2) + 1)


# `arithmetic` counts what the plain path computes, and what a block averages for the trace alone:
# Delta over its channels, attention over its heads. n tokens, k scans read, s the backbone's sizes;
# a sum of m numbers is m additions.
ACTIVATIONS: dict[str, Score] = {
    # The branch is of both scans, whichever is asked for.
    reading: Score(
        _activation(reading),
        partial(outputs_read, reading),
        reading != "projected",
        partial(_clipping, reading),
    )
    for reading in READINGS
}
ATTENTIONS: dict[bool, Score] = {
    # by whether what a token wrote decays on its way to the class token
    True: Score(_hidden_attention, _fixed("delta", "A", "B", "C"), True, _attending),
    False: Score(
        _undecayed_attention, _fixed("delta_mean", "B", "C"), True, _attending_without_decay
    ),
}
SCORES: dict[str, Score] = {
    "delta": Score(
        _delta, _fixed("delta_mean"), True, lambda n, k, s: n * (k * (s.timescales + 1) + k - 1)
    ),
    "b": Score(_magnitude("B"), _fixed("B"), True, _magnitudes),
    "c": Score(_magnitude("C"), _fixed("C"), True, _magnitudes),
    "delta-b": Score(
        _delta_b,
        _fixed("delta_mean", "B"),
        True,
        lambda n, k, s: n * (k * (s.timescales + s.states + 3) + k - 1),
    ),
    "activation": ACTIVATIONS[READINGS[0]],
    "norm": Score(_norm, _fixed(), False, lambda n, k, s: n * (3 * s.dim + 1)),
    "magnitude": Score(_magnitude_of_residual, _fixed(), False, lambda n, k, s: n * (s.dim + 1)),
    "cls-similarity": Score(_cls_similarity, _fixed(), False, _cosines),
    "cls-attention": Score(
        _cls_attention, _fixed("cls_attention"), False, lambda n, k, s: n * (s.heads + 1)
    ),
    "hidden-attention": ATTENTIONS[True],
    "random": Score(_random, _fixed(), False, lambda n, k, s: 0),
}


def score_of(name: str, reading: str, decay: bool) -> Score:
    """The score `name`; ``activation`` as `reading` says, ``hidden-attention`` with `decay`."""
    if name == "activation":
        return ACTIVATIONS[reading]
    return ATTENTIONS[decay] if name == "hidden-attention" else SCORES[name]

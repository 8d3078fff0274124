"""The reduction for inference on a GPU: a handful of launches in the place of a hundred.

Ranking, most similar tokens, the new indices, and the rows of both streams have a Triton program
each. Matchings without a program, and coefficients that are no mean, come from `methods.reduce`.
"""

from __future__ import annotations

import torch
import triton
from torch import Tensor

from backbones.scan.contract import dense
from backbones.sequence import TokenSequence
from methods import reduce as compose
from methods.composition import Composition, part
from methods.fused.gpu.attention import attended
from methods.fused.gpu.merging import arrange, move_carry, move_rows
from methods.fused.gpu.ranking import clipped_mean, ranked
from methods.fused.gpu.similarity import most_similar
from methods.parts.features import FEATURES, traced
from methods.parts.match import target_count
from methods.parts.score import SiteContext, output

MEANS = ("mean", "size")  # coefficients that `arrange` works out
DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def serves(composition: Composition, tokens: TokenSequence) -> bool:
    """Whether these programs can reduce `tokens` by `composition`."""
    exact = [tokens.residual, tokens.size]
    exact += [] if tokens.carry is None else [tokens.carry]
    exact += [traced(tokens.trace, "delta")] if composition.aligned else []
    # `move_rows` moves both streams at once, with one list of pairs.
    same_pairs = composition.branch_drop_ratio == composition.residual_drop_ratio
    return (
        same_pairs
        and tokens.branch.dtype in DTYPES
        and all(part.dtype == torch.float32 for part in exact)
    )


def launch(
    composition: Composition, context: SiteContext, removed: int, new: dict[str, Tensor]
) -> None:
    """Reduce the tokens into `new`, tensors of a token sequence by their names."""
    tokens = context.tokens
    source, target, coefficients = _pairs(composition, context, removed)
    merged = _merged(composition, removed)
    left, batch, device = tokens.length - removed, tokens.batch, tokens.branch.device

    # int32 and uninitialised: half the bytes of int64, and no launch that only clears.
    def whole(*shape: int) -> Tensor:
        return torch.empty(shape, dtype=torch.int32, device=device)

    index, landing, heir = whole(batch, left), whole(batch, removed), whole(batch, removed)
    averages = coefficients is None and merged
    share = tokens.size.new_empty(batch, removed) if averages else None
    scratch = (
        whole(batch, tokens.original_length),
        whole(batch, tokens.length),
        tokens.size.new_empty(batch, tokens.length),
    )
    # tl.arange takes powers of two only; lanes beyond the size are masked
    pair = {"REMOVED": triton.next_power_of_2(removed), "num_warps": 4}
    with torch.cuda.device_of(tokens.branch):
        arrange[(batch,)](
            tokens.position.contiguous(), tokens.size.contiguous(), tokens.special.contiguous(),
            None if tokens.owner is None else tokens.owner.contiguous(), source, target,
            new["position"], new["size"], new["special"], new.get("owner"),
            index, landing, heir, share, *scratch,
            tokens.length, tokens.original_length, left, removed, merged, tokens.special.shape[1],
            *source.stride(), *target.stride(),
            SIZED=composition.weights == "size", LENGTH=triton.next_power_of_2(tokens.length),
            ORIGINAL=triton.next_power_of_2(tokens.original_length),
            SPECIALS=triton.next_power_of_2(max(1, tokens.special.shape[1])), **pair,
        )  # fmt: skip
        # of a mean every source takes back what it brings
        factors = (share, share) if coefficients is None else coefficients
        width = tokens.branch.shape[2]
        move_rows[(left, batch)](
            tokens.branch.contiguous(), tokens.residual.contiguous(), new["branch"],
            new["residual"], index, source, landing, *factors, tokens.length, left, removed, width,
            *source.stride(), MERGES=merged > 0, WIDE=triton.next_power_of_2(width), **pair,
        )  # fmt: skip
        if "carry" in new:
            delta, width = None, new["carry"].shape[3]
            strides: tuple[int, ...] = (0, 0, 0)
            if composition.aligned:
                # Other strides are passed on; channels have to be dense.
                delta = dense(traced(tokens.trace, "delta"))
                strides = delta.stride()[:3]
            move_carry[(left, batch, 2)](
                None if tokens.carry is None else tokens.carry.contiguous(), delta, new["carry"],
                index, source, heir, batch, tokens.length, left, removed, width, *source.stride(),
                *strides, WIDE=triton.next_power_of_2(width), **pair,
            )  # fmt: skip


def _merged(composition: Composition, removed: int) -> int:
    """Number of pairs that are merged, pruned ones included as their own targets."""
    count = composition.merged(removed)[0]
    return part(composition.prune_ratio, removed) + count if count else 0


def _pairs(
    composition: Composition, context: SiteContext, removed: int
) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor] | None]:
    """Indices of sources and targets (B, r), and share and back (B, r) where they are no mean."""
    mean = composition.weights in MEANS or not _merged(composition, removed)
    if (
        composition.cls_window
        or composition.prune_ratio
        or composition.neighbour_rank > 1
        or not mean
    ):
        return _plain(composition, context, removed, mean)
    if composition.matching == "lowest":
        source = _ranked_places(composition, context)[:, -removed:]
        return source, source, None
    if composition.matching == "keep-target-source":
        order = _ranked_places(composition, context)
        first = order.shape[1] - removed
        targets = target_count(order.shape[1], removed, composition.target_ratio)
        source = order[:, first:]
        return (
            source,
            most_similar(
                _features(composition, context), source, order[:, first - targets : first]
            )[0],
            None,
        )
    if composition.matching == "odd-even":
        odd = composition.sources == "odd"
        ones, others = context.patches[:, int(odd) :: 2], context.patches[:, 1 - int(odd) :: 2]
        best, edge = most_similar(_features(composition, context), ones, others)
        source, target = ranked(edge, (ones, best), removed)
        return source, target, None
    return _plain(composition, context, removed, mean)


def _plain(
    composition: Composition, context: SiteContext, removed: int, mean: bool
) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor] | None]:
    """The pairs as `methods.reduce` finds them."""
    score = _scored(composition, context)
    matching = compose.matched(context, composition, score, removed)
    source, target = (
        context.patches.gather(1, ranks) for ranks in (matching.source, matching.target)
    )
    if mean:
        return source, target, None
    count = _merged(composition, removed)
    weighed = compose.weighed(context, composition, score, matching.first(count))
    # Pairs behind the first `count` are dropped: coefficients of 0.
    padded = [
        torch.nn.functional.pad(values.float(), (0, removed - count))
        for values in (weighed.share, weighed.back)
    ]
    return source, target, (padded[0].contiguous(), padded[1].contiguous())


def _ranked_places(composition: Composition, context: SiteContext) -> Tensor:
    """Places of the patch tokens (B, n) by descending score."""
    score = _scored(composition, context)
    assert score is not None
    return ranked(score, (context.patches,), context.patches.shape[1])[0]


def _scored(composition: Composition, context: SiteContext) -> Tensor | None:
    """The score (B, n) of the patch tokens, or None if nothing is scored."""
    tokens, direction = context.tokens, composition.direction
    bare = composition.window == 1 and composition.sensitivity == 0
    if bare and composition.score == "activation":
        y = output(tokens, composition.reading, direction)
        return clipped_mean(y).gather(1, context.patches)
    attends = composition.score == "hidden-attention" and composition.decay
    if bare and attends and tokens.special.shape[1]:
        delta, A, B, C = (traced(tokens.trace, name) for name in ("delta", "A", "B", "C"))
        return attended(delta, A, B, C, tokens.special, direction).gather(1, context.patches)
    return compose.scored(context, composition)


def _features(composition: Composition, context: SiteContext) -> tuple[Tensor, ...]:
    """What tokens are compared by: one or two tensors (B, L, F) to be added."""
    assert composition.feature is not None
    parts = FEATURES[composition.feature].parts(context.tokens)
    if len(parts) > 2:
        # The program adds two tensors as it reads them; more are added here.
        parts = (torch.stack(parts).float().sum(0),)
    return tuple(dense(values) for values in parts)

"""Fill the frame of the compiled reduction from a composition, and run the kernel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor

from backbones.compiled.native import fill
from backbones.scan.contract import dense
from backbones.scan.cpu import LOG2E
from backbones.sequence import TokenSequence
from methods import reduce as compose
from methods.composition import Composition, part
from methods.fused.cpu import grouping, merging, scoring
from methods.fused.cpu.kernel import FRAME, OLD, reduction_kernel
from methods.parts import combine
from methods.parts.features import FEATURES, summed, traced
from methods.parts.match import target_count
from methods.parts.score import SIGNED, SiteContext, output

SCORINGS = {
    "activation": scoring.ACTIVATION,
    "norm": scoring.NORM,
    "cls-similarity": scoring.CLASS,
    "hidden-attention": scoring.HIDDEN,
}
"""Scores that the kernel works out, those that read a row for every token; others it is given."""
MATCHINGS = {
    "lowest": grouping.LOWEST,
    "fused": grouping.FUSED,
    "keep-target-source": grouping.SPLIT,
    "halves": grouping.HALVES,
    "odd-even": grouping.ALTERNATE,
    "neighbours": grouping.NEIGHBOURS,
}
"""Matchings that the kernel finds; others it is given."""
SCANS = {"forward": 0b01, "backward": 0b10, "both": 0b11}
WEIGHTINGS = {"drop": merging.DROP, "pair": merging.PAIR, "attention": merging.SUM}
"""Combinations that are no weighted average."""

Fields = dict[str, int]
Tensors = dict[str, Tensor]


def launch(
    composition: Composition,
    context: SiteContext,
    removed: int,
    new: Mapping[str, Tensor],
) -> None:
    """Reduce the tokens into `new`, tensors of a token sequence by their names."""
    tokens = context.tokens
    # Strides are passed on: views of larger tensors are read where they lie, if channels are dense.
    # The variables keep copies alive until the kernel has run, since a frame stores addresses only.
    rows = {name: dense(value) for name, value in _rows(composition, tokens)}
    tensors, modes = _inputs(composition, context, removed)
    for name in OLD:
        if (value := getattr(tokens, name)) is not None:
            tensors[name] = value.contiguous()
    fields = modes
    for name, value in rows.items():
        # from the last axis but one outwards; without directions there is no third stride
        strides = zip((f"{name}_l", f"{name}_b", f"{name}_k"), value.stride()[-2::-1], strict=False)
        fields |= dict(strides)
    # Either has the inner width of the mixer.
    wide = rows.get("delta", tokens.carry)
    if wide is not None:
        fields["inner"] = wide.shape[-1]
    if "y" in rows:
        fields["y_width"] = rows["y"].shape[-1]
    if "feature" in rows:
        fields["feature_width"] = rows["feature"].shape[-1]
    if "B" in rows:
        fields |= {"directions": rows["B"].shape[0], "states": rows["B"].shape[3]}
    frame = fill(
        FRAME,
        rows | tensors,
        {f"new_{name}": value for name, value in new.items()},
        fields,
        batch=tokens.batch,
        length=tokens.length,
        original_length=tokens.original_length,
        patches=context.patches.shape[1],
        specials=tokens.special.shape[1],
        width=tokens.branch.shape[2],
        tasks=tokens.batch,
    )
    reduction_kernel()(frame)
    if frame["wrong"][0]:
        raise ValueError(
            "a position, an owner or the index of a special token lies outside the token sequence"
        )


def _rows(composition: Composition, tokens: TokenSequence) -> Iterator[tuple[str, Tensor]]:
    """What is read by rows where it lies: (B, L, F), or (2, B, L, F)."""
    mode = _scoring(composition, tokens)
    if mode == scoring.ACTIVATION:
        yield "y", output(tokens, composition.reading, composition.direction)
    if composition.aligned or mode == scoring.HIDDEN:
        yield "delta", traced(tokens.trace, "delta")
    if composition.weights == "delta-b" or mode == scoring.HIDDEN:
        yield "B", traced(tokens.trace, "B")
    if mode == scoring.HIDDEN:
        yield "C", traced(tokens.trace, "C")
    if composition.feature is not None:
        parts = FEATURES[composition.feature].parts(tokens)
        # The kernel adds two rows as it reads them; more would cost a loop over addresses.
        parts = parts if len(parts) <= 2 else (summed(parts),)
        yield from zip(("feature", "feature2"), parts, strict=False)
    if composition.weights == "delta-b":
        # as if of one channel, so that it has the strides of the others
        yield "step", traced(tokens.trace, "delta_mean")[..., None]


def _scoring(composition: Composition, tokens: TokenSequence) -> int:
    """Mode of the score: computed by the kernel, given to it, or none."""
    if composition.score is None:
        return scoring.NONE
    # Pooling and fading read positions and neighbours, which the kernel's scores do not.
    bare = (
        composition.window == 1
        and composition.sensitivity == 0
        and composition.matching in MATCHINGS
    )
    # The plain path has a stand-in for the class token, or says that there is none.
    by_class = composition.score in ("cls-similarity", "hidden-attention")
    # Without decay it is one inner product a token, which needs no kernel.
    undecayed = composition.score == "hidden-attention" and not composition.decay
    if not bare or undecayed or (by_class and tokens.special.shape[1] == 0):
        return scoring.GIVEN
    return SCORINGS.get(composition.score, scoring.GIVEN)


def _inputs(composition: Composition, context: SiteContext, removed: int) -> tuple[Tensors, Fields]:
    """Tensors computed here for the kernel, and the modes by which it computes the rest."""
    pruned = part(composition.prune_ratio, removed)
    branch, residual = ((pruned + count if count else 0) for count in composition.merged(removed))
    free = composition.free(context.patches.shape[1], context.tokens.special.shape[1]) - pruned
    modes = {
        "scoring": _scoring(composition, context.tokens),
        "scans": SCANS[composition.direction],
        "signed": composition.score in SIGNED,
        "matching": MATCHINGS.get(composition.matching, grouping.GIVEN),
        "odd": composition.sources == "odd",
        "neighbour_rank": composition.neighbour_rank,
        "targets": target_count(free, removed - pruned, composition.target_ratio),
        "cls_window": composition.cls_window,
        "weighting": WEIGHTINGS.get(composition.weights, merging.AVERAGE),
        "sized": composition.weights == "size",
        "aligned": composition.aligned,
        "removed": removed,
        "prune_count": pruned,
        "branch_pairs": branch,
        "residual_pairs": residual,
    }
    tensors: Tensors = {}
    score = None
    if modes["scoring"] == scoring.HIDDEN:
        # state by state, and scaled so that the kernel can use exp2
        tensors["A"] = traced(context.tokens.trace, "A").transpose(1, 2) * LOG2E
    if modes["scoring"] == scoring.GIVEN:
        score = compose.scored(context, composition)
        assert score is not None
        # exact for fp32, and needed by random scores, which are fp64
        tensors["score"] = score.double()
    if modes["matching"] == grouping.GIVEN:
        pairs = compose.matched(context, composition, score, removed)
        tensors |= {"source": pairs.source, "target": pairs.target}
    # A score made here is turned into weights here; one of the kernel's own it normalises itself.
    if composition.weights == "attention" and score is not None and composition.score is not None:
        tensors["weight"] = combine.attention(score, composition.score)
    return {name: value.contiguous() for name, value in tensors.items()}, modes

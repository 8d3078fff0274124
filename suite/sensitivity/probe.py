"""Probe one image: remove tokens one by one, remove groups by score, move the class token."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from backbones.base import Backbone
from backbones.sequence import TokenSequence
from methods.composition import Composition
from methods.parts.counter_random import uniform
from methods.parts.match import unprotected
from methods.parts.score import DIRECTIONS, SCORES, SiteContext
from suite.data.loading.loader import Batch
from suite.evaluation.token_edits import moved, pruned, removed, zeroed
from suite.sensitivity.effects import CHANGED, Effects, PixelEffects, effects_on
from suite.sensitivity.gradient_estimates import gradient_estimates

# Half-widths of the protected window round the class token, in patch tokens.
WINDOWS = (1, 2, 4, 8, 16, 32)
# Rankings by exact effects and gradients: name of the ranking -> column it sorts by.
REFERENCE_RANKINGS = {
    "removal": "removal_loss",
    "removal-kl": "removal_kl",
    "zeroing": "zeroing_loss",
    "estimate": "estimate_loss",
    "bound": "bound_loss",
}
Array = NDArray[np.float64]


@dataclass(frozen=True)
class ProbeSettings:
    """What is probed of every image.

    ``layers``           blocks before which tokens are changed
    ``ranks``            (K,) ranks of the patch tokens that are removed and zeroed one at a time
    ``group``            number of tokens removed together by a ranking
    ``class_positions``  (P,) sequence positions to move the class token to; empty where the
                         backbone does not have exactly one special token
    ``scores``           name -> registered score and scan direction to read it from
    ``seed``             of random scores
    ``batch``            variants evaluated together
    ``zeroed``           indices of the images whose tokens are zeroed besides being removed
    """

    layers: tuple[int, ...]
    ranks: Tensor
    group: int
    class_positions: Tensor
    scores: Mapping[str, tuple[str, str]]
    seed: int
    batch: int
    zeroed: frozenset[int]


class ProbeTables(NamedTuple):
    """The results of one image, as three tables, or four where pixels are named.

    ``tokens``
        a row per layer and patch token: the effects of its removal (``removal_loss``, ...) and of
        zeroing it, the gradient estimates, the scores (``score_delta``, ...) and whether it shows
        the object. The scores of a block are read from the trace of the block before; ``block`` =
        depth has the last trace and no effects. NaN where a value was not measured or is unknown.
    ``groups``
        a row per layer and ranking: the effects of removing its last tokens together. ``window`` is
        how many patch tokens on each side of the class token were protected.
    ``placements``
        a row per layer and position of the class token; ``block`` = depth keeps the sequence and
        reads out the token at that position instead
    ``pixels``
        a row per layer and offset in the grid from a token that was removed alone
        (`suite.sensitivity.effects.PixelEffects.by_offset`); None in classification
    """

    tokens: pd.DataFrame
    groups: pd.DataFrame
    placements: pd.DataFrame
    pixels: pd.DataFrame | None = None


def readable_scores(model: Backbone) -> dict[str, tuple[str, str]]:
    """List every registered score that the traces of `model` provide.

    Name -> score and scan direction; the name is ``delta`` for both directions together, and
    ``delta:forward`` for one.
    """
    scores = {}
    # the only scan of a block is not listed twice
    several = model.describe().directions > 1
    for score, entry in SCORES.items():
        for direction in DIRECTIONS if entry.directed and several else ("both",):
            alone = Composition("lowest", score=score, direction=direction)
            lacks_class_token = alone.needs_class_token and not model.special_places
            if not lacks_class_token and not model.missing(alone.needs):
                name = score if direction == "both" else f"{score}:{direction}"
                scores[name] = score, direction
    return scores


def probes_per_image(model: Backbone, settings: ProbeSettings) -> int:
    """The number of places of an image that are probed: its layers, and the end of the model."""
    return len({*settings.layers, model.depth})


def probe(
    model: Backbone,
    batch: Batch,
    settings: ProbeSettings,
    done: Callable[[], None] = lambda: None,
) -> ProbeTables:
    """Measure everything in `settings` on the one image of `batch`.

    `done` is called after each of its layers, and after the last block. Its pixels are on the
    device. Call it with gradients disabled, but not in inference mode: the estimates need a graph.
    """
    embedded = model.embed(batch.images, batch.indices)
    entering = run_prefix(model, embedded, settings)
    dense = model.readout(entering[model.depth][0])
    effects = effects_on(model, dense, batch)
    estimates = gradient_estimates(model, embedded, effects.measures, settings.layers)
    tokens, groups, placements, pixels = [], [], [], []
    for block, (sequence, scores) in entering.items():
        evaluator = VariantEvaluator(model, sequence, block, effects, dense, settings.batch)
        patches = sequence.patches()[0]
        foreground = np.full(len(patches), np.nan)
        if batch.foreground is not None:
            foreground = batch.foreground.flatten().double().numpy()
        columns = {f"score_{name}": values for name, values in scores.items()}
        # After the last block no token can be removed any more; only its scores are recorded.
        if block < model.depth:
            zeroing = int(batch.indices) in settings.zeroed
            single, changed = single_token_effects(evaluator, settings.ranks, zeroing)
            columns |= single
            if isinstance(effects, PixelEffects):
                offsets = effects.by_offset(changed, settings.ranks.numpy())
                pixels.append(block_rows(block, offsets))
            layer = settings.layers.index(block)
            for name, values in estimates.items():
                columns[name] = _array(values[layer, 0, patches])
            rankings = rank_tokens(evaluator, scores, columns, foreground, settings)
            together = group_removal_effects(evaluator, rankings, settings.group)
            groups.append(block_rows(block, together))
        moves = class_position_effects(evaluator, settings.class_positions)
        placements.append(block_rows(block, moves))
        rank = np.arange(len(patches), dtype=np.int32)
        tokens.append(block_rows(block, {"rank": rank, "foreground": foreground, **columns}))
        done()
    return ProbeTables(
        tokens=pd.concat(tokens, ignore_index=True),
        groups=pd.concat(groups, ignore_index=True),
        placements=pd.concat(placements, ignore_index=True),
        pixels=pd.concat(pixels, ignore_index=True) if pixels else None,
    )


def block_rows(block: int, columns: Mapping[str, Any]) -> pd.DataFrame:
    """Return `columns` as rows of `block`, numbers in single precision."""
    frame = pd.DataFrame(columns)
    frame.insert(0, "block", np.int32(block))
    # A row per token, block and image is much: half the bytes are enough for an effect.
    doubles = frame.select_dtypes(np.float64)
    return frame.astype(dict.fromkeys(doubles, np.float32))


def run_prefix(
    model: Backbone,
    tokens: TokenSequence,
    settings: ProbeSettings,
) -> dict[int, tuple[TokenSequence, dict[str, Array]]]:
    """Run the unreduced model once and keep the sequence that enters each layer.

    The sequence that leaves the last block is kept under ``depth``. Each comes with its scores (n,)
    by name, empty where the block before has no trace.
    """
    needs: set[str] = set()
    for score, direction in settings.scores.values():
        needs |= SCORES[score].needs(direction)
    # Nothing has been scanned yet before block 0, so there is no trace to read.
    scored = {layer for layer in settings.layers if layer}
    if last_block_has_trace(model):
        scored.add(model.depth)
    entering = {}
    for block in range(model.depth + 1):
        if block in settings.layers or block == model.depth:
            scores: dict[str, Array] = {}
            if block in scored:
                context = SiteContext(tokens, tokens.patches(), settings.seed, block)
                for name, (score, direction) in settings.scores.items():
                    scores[name] = _array(SCORES[score].read(context, direction)[0])
            entering[block] = tokens, scores
        if block < model.depth:
            # A trace costs time and memory, so it is requested only where a score reads it.
            traced = frozenset(needs) if block + 1 in scored else frozenset[str]()
            tokens = model.run(tokens, block, block + 1, needs=traced)
    return entering


def last_block_has_trace(model: Backbone) -> bool:
    """Whether the last block has a trace: the MLP that ends a transformer has none."""
    # Sites follow blocks that have a trace at a constant step: 1 for a scan, 2 where attention and
    # MLP alternate.
    first, *others = model.sites
    step = others[0] - first if others else 1
    return (model.depth - first) % step == 0


@dataclass(frozen=True)
class VariantEvaluator:
    """Runs variants of the sequence before `block` and compares them with the unchanged model.

    ``tokens``   the one image's sequence that enters `block`
    ``effects``  what variants change
    ``dense``    logits (1, C, ...) of the unchanged model
    ``batch``    variants evaluated together
    """

    model: Backbone
    tokens: TokenSequence
    block: int
    effects: Effects
    dense: Tensor
    batch: int

    def of(
        self,
        make_variants: Callable[[Tensor], TokenSequence],
        edits: Tensor,
    ) -> dict[str, Array]:
        """Return the effects (K, ...) of the variants made of `edits`, which has K entries."""
        found = [self.effects.of(self.dense[:0])]
        # Splitting an empty tensor gives one empty part, which the model cannot run.
        parts = edits.split(self.batch) if len(edits) else ()
        for part in parts:
            output = self.model.run(make_variants(part), self.block)
            found.append(self.effects.of(self.model.readout(output)))
        return {name: np.concatenate([one[name] for one in found]) for name in found[0]}


def single_token_effects(
    evaluator: VariantEvaluator,
    ranks: Tensor,
    zeroing: bool,
) -> tuple[dict[str, Array], Array]:
    """Measure removing, and zeroing, each patch token of `ranks` (K,) alone; (n,), NaN elsewhere.

    And of segmentation the pixels that the removals change, (K, n); else nothing, (0,).
    """
    tokens = evaluator.tokens
    patches = tokens.length - tokens.special.shape[1]
    edits = {"removal": removed, "zeroing": zeroed}
    columns = {}
    for kind, effect in product(edits, evaluator.effects.names):
        # The columns exist in every image, so that images can be stacked.
        columns[f"{kind}_{effect}"] = np.full(patches, np.nan)
    if not zeroing:
        del edits["zeroing"]
    changed = np.empty(0)
    for kind, edit in edits.items():
        found = evaluator.of(partial(edit, tokens, 0), ranks)
        for effect in evaluator.effects.names:
            columns[f"{kind}_{effect}"][ranks.numpy()] = found[effect]
        if kind == "removal":
            changed = found.get(CHANGED, changed)
    return columns, changed


def rank_tokens(
    evaluator: VariantEvaluator,
    scores: Mapping[str, Array],
    columns: Mapping[str, Array],
    foreground: Array,
    settings: ProbeSettings,
) -> dict[tuple[str, int], Array]:
    """List the rankings whose last tokens are removed together, (n,) each, lowest removed first.

    They are all scores; exact effects and estimates where every token was tried; ``random``; the
    true object, where it is known. The key is a ranking's name and the protected window round the
    class token: 0 for all of them, and each of `WINDOWS` for ``random`` and the first score.
    """
    by_name = dict(scores)
    for name, column in REFERENCE_RANKINGS.items():
        # With some tokens untried, "the last" would mean "the last of those tried".
        if np.isfinite(columns[column]).all():
            by_name[name] = columns[column]
    tokens = evaluator.tokens
    patches = tokens.patches()
    chance = uniform(settings.seed, tokens.image, evaluator.block, tokens.position)
    by_name["random"] = _array(chance.gather(1, patches)[0])
    if np.isfinite(foreground).all():
        # Draws in [0, 1) order the tokens within object and background.
        by_name["foreground"] = foreground + by_name["random"]
    rankings = {(name, 0): values for name, values in by_name.items()}
    windowed = dict.fromkeys(["random", *list(scores)[:1]])
    # Windows lie round special tokens, and not every backbone has one.
    windows = WINDOWS if tokens.special.shape[1] else ()
    for name, window in product(windowed, windows):
        removable = unprotected(patches, tokens.special, window)
        free = removable[0].cpu().numpy()
        if len(free) >= settings.group:
            # Infinite importance is what protects a token: only the lowest values are removed.
            values = np.full_like(by_name[name], np.inf)
            values[free] = by_name[name][free]
            rankings[name, window] = values
    return rankings


def group_removal_effects(
    evaluator: VariantEvaluator,
    rankings: Mapping[tuple[str, int], Array],
    group: int,
) -> dict[str, Any]:
    """Measure removing at once the `group` tokens that each ranking puts last."""
    tokens = evaluator.tokens
    names, windows = zip(*rankings, strict=True)
    scores = torch.from_numpy(np.stack(list(rankings.values())))
    on_device = scores.to(tokens.branch.device)
    found = evaluator.of(lambda part: pruned(tokens, 0, part, group), on_device)
    found.pop(CHANGED, None)
    return {"ranking": names, "window": np.array(windows, np.int32), **found}


def class_position_effects(evaluator: VariantEvaluator, positions: Tensor) -> dict[str, Any]:
    """Measure moving the class token to each of `positions`, the patches in order.

    After the last block nothing mixes tokens any more: there the token at that position is read out
    in its stead.
    """
    tokens = evaluator.tokens
    edit = moved if evaluator.block < evaluator.model.depth else _read_out_at
    found = evaluator.of(partial(edit, tokens, 0), positions)
    found.pop(CHANGED, None)
    return {"position": positions.numpy(), **found}


def _read_out_at(tokens: TokenSequence, row: int, positions: Tensor) -> TokenSequence:
    """K variants of one image, the token at `positions[k]` (K,) taken for the class token."""
    picked = tokens.pick_images(torch.full_like(positions, row))
    picked.special[:, 0] = positions.to(picked.special.device)
    return picked


def _array(values: Tensor) -> Array:
    return values.detach().double().cpu().numpy()

"""A composition that keeps a rectangle, applied to the tokens that enter one block."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from backbones.sequence import TokenSequence
from methods.composition import Composition
from methods.parts import grid_pairs, grid_resize
from methods.parts.assemble import Arrangement, Merge, arrange_on_grid, assembled
from methods.parts.features import FEATURES, rows
from methods.parts.grid_pairs import Important, Ranking, Rectangle, Similar, Spread
from methods.parts.grid_resize import resampled
from methods.parts.match import Matching
from methods.parts.score import SiteContext
from methods.reduce import scored, weighed


def narrowed(
    composition: Composition, context: SiteContext, sides: tuple[Rectangle, Rectangle]
) -> TokenSequence:
    """Narrow the map of patch tokens of `context` between `sides` (rows, columns)."""
    tokens, patches = context.tokens, context.patches
    before, after = sides
    if composition.matching == "grid-resize":
        plan = grid_resize.plan(tokens.batch, before, after, patches.device)
    else:
        ranking = ranked_by(composition, context)
        plan = grid_pairs.plan(ranking, tokens.batch, before, after, patches.device)
    matching = plan.matching
    # The same tokens leave as if merged, so that the two differ in nothing else.
    if composition.weights == "drop":
        matching = matching.dropped()
    arrangement = arrange_on_grid(tokens, patches, matching, plan.kept)
    coefficients = None
    if composition.weights != "drop":
        coefficients = weighed(context, composition, None, matching)
    merge = Merge.of(patches, matching, coefficients)
    out = assembled(tokens, arrangement, merge, merge, lattice=after)
    if composition.matching == "grid-resize":
        # The merge has set sizes and owners; its values give way to the resampled ones.
        out = mixed(tokens, out, patches, arrangement, plan.kept, (composition.resize, *sides))
    # Attention counts tokens by their size from here on.
    return replace(out, weighted=True) if composition.proportional else out


def ranked_by(composition: Composition, context: SiteContext) -> Ranking:
    """How the composition ranks pairs: by similarity, by importance, or not at all."""
    if composition.feature is not None:
        # Columns are ranked on what the rows have become, which must merge as streams do.
        def merged(values: Tensor, matching: Matching) -> Tensor:
            return merged_values(composition, context, values, matching)

        values = FEATURES[composition.feature].read(context.tokens, context.patches)
        return Similar(values, composition.distance, composition.pair_window, merged)
    score = scored(context, composition)
    return Spread() if score is None else Important(score, composition.pair_window)


def merged_values(
    composition: Composition, context: SiteContext, values: Tensor, matching: Matching
) -> Tensor:
    """`values` (B, n, F) of the patch tokens after their merges, those that went unchanged."""
    # Nothing flows into the tokens that stay.
    if composition.weights == "drop":
        return values
    coefficients = weighed(context, composition, None, matching)
    share, back = (
        part[..., None].to(values.dtype) for part in (coefficients.share, coefficients.back)
    )
    # Read from the old values, as the merge of the streams reads the old streams.
    brought = rows(values, matching.source) * share - rows(values, matching.target) * back
    batch, count = values.shape[:2]
    # Rows of all images in one index: index_add takes one for the whole batch.
    offset = torch.arange(batch, device=values.device)[:, None] * count
    into = (matching.target + offset).flatten()
    flat = values.flatten(0, 1).index_add(0, into, brought.flatten(0, 1))
    return flat.view(values.shape)


def mixed(
    tokens: TokenSequence,
    out: TokenSequence,
    patches: Tensor,
    arrangement: Arrangement,
    kept: Tensor,
    resizing: tuple[str, Rectangle, Rectangle],
) -> TokenSequence:
    """`out` with both streams of its patch tokens resampled from those of `tokens`."""
    kind, before, after = resizing
    slot = arrangement.slot.gather(1, patches.gather(1, kept))[..., None]
    streams = {}
    for name in ("branch", "residual"):
        small = resampled(rows(getattr(tokens, name), patches), before, after, kind)
        old = getattr(out, name)
        # Only patch tokens: special ones keep what they had.
        streams[name] = old.scatter(1, slot.expand_as(small), small)
    return replace(out, **streams)

"""Variants of one image as a batch: tokens removed, zeroed or pruned, the class token moved.

Each function takes the sequence that enters a block, copies one image of it K times and changes
every copy in its own way. Patch tokens are numbered by their rank 0..n-1 in sequence order.
"""

from __future__ import annotations

import torch
from torch import Tensor

from backbones.sequence import TokenSequence
from methods.parts.assemble import Arranged, Merge, arrange, assembled, taken
from methods.parts.match import Matching, lowest
from methods.parts.order import Chance


def copies(tokens: TokenSequence, row: int, count: int) -> TokenSequence:
    """Copy the image at `row` of the batch `count` times."""
    return tokens.pick_images(torch.full((count,), row, device=tokens.branch.device))


def without(tokens: TokenSequence, matching: Matching) -> TokenSequence:
    """The sequence without the sources of `matching`, order restored."""
    patches = tokens.patches()
    asked = Arranged("restored", 1.0, "exact", Chance(0, tokens.image, 0))
    arrangement = arrange(tokens, patches, matching, None, asked)
    merge = Merge.of(patches, matching, None)
    return assembled(tokens, arrangement, merge, merge)


def removed(tokens: TokenSequence, row: int, ranks: Tensor) -> TokenSequence:
    """K variants of one image, the patch token `ranks[k]` (K,) missing from the k-th."""
    source = ranks.to(tokens.branch.device)[:, None]
    return without(copies(tokens, row, len(ranks)), Matching(source, source, source[:, :0]))


def zeroed(tokens: TokenSequence, row: int, ranks: Tensor) -> TokenSequence:
    """K variants of one image, both streams of the patch token `ranks[k]` (K,) zero in the k-th.

    The token stays in the sequence: a scan still lets its state decay there.
    """
    device = tokens.branch.device
    picked = copies(tokens, row, len(ranks))
    variant = torch.arange(len(ranks), device=device)
    place = tokens.patches()[row, ranks.to(device)]
    # In place, since the copies share no memory with the sequence that they were made from.
    picked.branch[variant, place] = 0
    picked.residual[variant, place] = 0
    return picked


def pruned(tokens: TokenSequence, row: int, scores: Tensor, count: int) -> TokenSequence:
    """K variants of one image, each without the tokens lowest in its row of `scores` (K, n)."""
    return without(copies(tokens, row, len(scores)), lowest(scores, count))


def moved(tokens: TokenSequence, row: int, places: Tensor) -> TokenSequence:
    """K variants of one image, its special token moved to sequence index `places[k]` (K,)."""
    if tokens.special.shape[1] != 1:
        raise ValueError(f"one special token can be moved, not {tokens.special.shape[1]}")
    device = tokens.branch.device  # `places` may be on the CPU
    picked = copies(tokens, row, len(places))
    special = places.to(device)[:, None]
    # Patches keep their order: those from the special token's new index on move one further.
    slot = torch.arange(tokens.length - 1, device=device)
    slot = slot + (slot >= special)
    index = torch.empty_like(picked.position)
    index.scatter_(1, special, picked.special)
    index.scatter_(1, slot, picked.patches())
    return taken(picked, index, special)

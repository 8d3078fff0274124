"""Published schedules: where and by how much a method reduced, scaled to any backbone.

Each function gives the tokens removed before each block, {site: count}, for a `Shape`. Blocks are
scaled by depth and counts of tokens by the number of patches, over the 24 blocks and 196 patches of
Vim at 224 / 16; a site is never below 1 and a count of pairs never above half of what stands there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from backbones.shape import Shape

DEPTH, PATCHES = 24, 196
Counts = dict[int, int]


def _nearest(numerator: int, denominator: int) -> int:
    """The quotient to the nearest whole number, halves up."""
    # In whole numbers: a float quotient may round a half either way.
    return (2 * numerator + denominator) // (2 * denominator)


def sites_at(shape: Shape, blocks: Iterable[int]) -> list[int]:
    """The last site of `shape` at or before each block, else the first; without repetition."""
    listed = shape.sites
    # A set, since two published blocks may fall on one site of a shallow backbone.
    return sorted(
        {
            max((site for site in listed if site <= block), default=listed[0])
            for block in blocks
            if listed
        }
    )


def scaled(blocks: Iterable[int], shape: Shape, of: int) -> list[int]:
    """Sites before these blocks of `of`, carried over to `shape`, without repetition."""
    return sites_at(shape, (_nearest(block * shape.depth, of) for block in blocks))


def by_count(shape: Shape, sites: Iterable[int], removed: int) -> Counts:
    """`removed` of 196 tokens at each site."""
    left, counts = shape.patches, {}
    for site in sites:
        # A bipartite matching removes at most half of the tokens.
        count = min(_nearest(removed * shape.patches, PATCHES), left // 2)
        if count:
            counts[site] = count
        left -= count
    return counts


def by_keeping(shape: Shape, sites: Iterable[int], keep: Callable[[int], int]) -> Counts:
    """At each site all but `keep` (patch tokens there -> patch tokens kept)."""
    left, counts = shape.patches, {}
    for site in sites:
        # At least one patch token stays, however small the backbone.
        kept = min(max(1, keep(left)), left)
        if kept < left:
            counts[site] = left - kept
        left = kept
    return counts


def merging(shape: Shape, options: Mapping[str, object]) -> Counts:
    """R-MeeTo, and adapted ToMe: before each even block, 5 tokens at Vim-Ti's width, 11 above."""
    # r is published by model; the width tells which one this backbone resembles.
    return by_count(shape, sites_at(shape, range(2, shape.depth, 2)), 5 if shape.dim <= 192 else 11)


def tome(shape: Shape, options: Mapping[str, object]) -> Counts:
    """ToMe: in each layer of a transformer, 13 tokens of ViT-S and -B, 7 of ViT-L; else adapted."""
    return (
        # 12 layers tell ViT-S and -B from ViT-L, which has 24.
        by_count(shape, shape.sites, 13 if len(shape.sites) <= 12 else 7)
        if shape.heads
        else merging(shape, options)
    )


def evit(shape: Shape, options: Mapping[str, object]) -> Counts:
    """EViT: 70 % kept in layers 4, 7 and 10 of 12, rounded up, and the fused token beside them."""
    # The fused token survives beside the kept ones, and is one of what `keep` counts.
    fused = 1 if options.get("fused", True) else 0
    return by_keeping(shape, scaled((4, 7, 10), shape, 12), lambda n: -(-7 * n // 10) + fused)


def pumer(shape: Shape, options: Mapping[str, object]) -> Counts:
    """PuMer for VQA: layers 0, 2, 4, 6 of 12 (from 0) prune 20 % of their tokens, merge 20 %."""
    # After layer 0 is before block 1. Both fifths are of the tokens that enter the layer.
    return by_keeping(shape, scaled((1, 3, 5, 7), shape, 12), lambda n: n - 2 * _nearest(n, 5))


def utr(shape: Shape, options: Mapping[str, object]) -> Counts:
    """UTR on Mamba-2.8B: 90.5 % kept, rounded up, after layers 12, 17, ... 42 of 64 (from 0)."""
    # after layer 12 is before 13; -(-a // b) rounds up, exactly
    return by_keeping(shape, scaled(range(13, 44, 5), shape, 64), lambda n: -(-905 * n // 1000))


def hsa(shape: Shape, options: Mapping[str, object]) -> Counts:
    """HSA: 80 % kept after blocks 5, 10, 15 of 24, an even number: 196, 156, 124, 100 patches."""

    def keep(patches: int) -> int:
        kept = -(-4 * patches // 5)
        # The printed counts are all even: 157 and 125 became 156 and 124.
        return kept - kept % 2

    return by_keeping(shape, scaled((5, 10, 15), shape, DEPTH), keep)


def fambav(shape: Shape, options: Mapping[str, object]) -> Counts:
    """Famba-V's layers: all (7 tokens), alternate (14), the lower five or from the 19th on (9)."""
    everywhere = shape.sites
    strategies = {
        "all": (everywhere, 7),
        "alternate": (sites_at(shape, range(2, shape.depth, 2)), 14),
        # Cross-multiplied, so that no rounding decides on which side of a bound a block falls.
        "lower": ([site for site in everywhere if DEPTH * site <= 5 * shape.depth], 9),
        "upper": ([site for site in everywhere if DEPTH * site >= 20 * shape.depth], 9),
    }
    return by_count(shape, *strategies[str(options.get("layers", "alternate"))])

"""Published schedules: where and by how much a method reduced, carried over to any backbone.

Each public function gives the tokens removed before each block, {site: count}, for a `Shape`. On a
backbone of the published depth and number of patches they are the paper's own. On another one the
sites keep their relative place, and the patch tokens left after each keep their share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from backbones.shape import Shape, halved

DEPTH, PATCHES = 24, 196  # of Vim at 224 / 16
Counts = dict[int, int]


@dataclass(frozen=True)
class Published:
    """What one paper removes on its own backbone.

    ``depth``    blocks of that backbone, or layers if the paper counts those
    ``left``     patch tokens left by the removal before each block, {block: tokens}, ascending
    ``patches``  patch tokens of the unreduced sequence
    """

    depth: int
    left: Mapping[int, int]
    patches: int = PATCHES

    def counts(self, shape: Shape) -> Counts:
        """Tokens removed at each site of `shape`; what comes to one site leaves there together."""
        if not shape.sites:
            return {}
        targets = {}
        for block, left in self.left.items():
            # The last of several removals at one site leaves the fewest.
            targets[self.site(shape, block)] = max(1, _nearest(left * shape.patches, self.patches))
        counts, before = {}, shape.patches
        for site, target in targets.items():
            if target < before:
                counts[site] = before - target
            before = target
        return counts

    def site(self, shape: Shape, block: int) -> int:
        """The site of `shape` nearest to `block` in relative depth, the earlier one of two."""
        # Cross-multiplied, so that no rounding decides between two sites.
        return min(
            shape.sites, key=lambda site: (abs(site * self.depth - block * shape.depth), site)
        )


def _nearest(numerator: int, denominator: int) -> int:
    """The quotient to the nearest whole number, halves up."""
    # In whole numbers: a float quotient may round a half either way.
    return (2 * numerator + denominator) // (2 * denominator)


def by_count(depth: int, blocks: Iterable[int], removed: int) -> Published:
    """`removed` of 196 patch tokens before each of the `blocks`."""
    left = {block: PATCHES - rank * removed for rank, block in enumerate(blocks, start=1)}
    return Published(depth, left)


def by_keeping(
    depth: int, blocks: Iterable[int], keep: Callable[[int], int], patches: int = PATCHES
) -> Published:
    """Before each of the `blocks` all but `keep` (patch tokens there -> patch tokens kept)."""
    left, tokens = {}, patches
    for block in blocks:
        tokens = left[block] = keep(tokens)
    return Published(depth, left, patches)


def merging(shape: Shape, options: Mapping[str, object]) -> Counts:
    """R-MeeTo, and adapted ToMe: before each even block, 5 tokens at Vim-Ti's width, 11 above."""
    # r is published by model; the width tells which one this backbone resembles.
    removed = 5 if shape.dim <= 192 else 11
    return by_count(DEPTH, range(2, DEPTH, 2), removed).counts(shape)


def tome(shape: Shape, options: Mapping[str, object]) -> Counts:
    """ToMe: in each layer of a transformer, 13 tokens of ViT-S and -B, 7 of ViT-L; else adapted."""
    if not shape.transforms:
        return merging(shape, options)
    # The number of layers tells ViT-S and -B, which have 12, from ViT-L, which has 24. Tokens leave
    # between the attention and the MLP of a layer, which are a block each.
    layers, removed = (12, 13) if len(shape.sites) <= 12 else (24, 7)
    return by_count(2 * layers, range(1, 2 * layers, 2), removed).counts(shape)


def evit(shape: Shape, options: Mapping[str, object]) -> Counts:
    """EViT: 70 % kept in layers 4, 7 and 10 of 12, rounded up, and the fused token beside them."""
    # The fused token survives beside the kept ones, and is one of what `keep` counts.
    fused = 1 if options.get("fused", True) else 0
    return by_keeping(12, (4, 7, 10), lambda n: -(-7 * n // 10) + fused).counts(shape)


def pumer(shape: Shape, options: Mapping[str, object]) -> Counts:
    """PuMer for VQA: layers 0, 2, 4, 6 of 12 (from 0) prune 20 % of their tokens, merge 20 %."""
    # After layer 0 is before block 1. Both fifths are of the tokens that enter the layer.
    return by_keeping(12, (1, 3, 5, 7), lambda n: n - 2 * _nearest(n, 5)).counts(shape)


def utr(shape: Shape, options: Mapping[str, object]) -> Counts:
    """UTR on Mamba-2.8B: 90.5 % kept, rounded up, after layers 12, 17, ... 42 of 64 (from 0)."""
    # After layer 12 is before 13; -(-a // b) rounds up, exactly. A text has no usual length, so the
    # share is taken of the tokens that are here.
    return by_keeping(64, range(13, 44, 5), lambda n: -(-905 * n // 1000), shape.patches).counts(
        shape
    )


def hsa(shape: Shape, options: Mapping[str, object]) -> Counts:
    """HSA: 80 % kept after blocks 5, 10, 15 of 24, an even number: 196, 156, 124, 100 patches."""
    # The printed counts are all even: 157 and 125 became 156 and 124.
    return Published(DEPTH, {5: 156, 10: 124, 15: 100}).counts(shape)


# STORM on VMamba-S and -B, of 2, 2, 15 and 2 layers and maps of 56, 28, 14 and 7 squared: in each
# stage the layers (from 0) that narrow the map, and the side left. "hybrid_2p1_sb" of the release,
# whose work is the printed one; by relative place its "hybrid_2p1" on VMamba-T.
STORM_LAYERS, STORM_SIDES = (2, 2, 15, 2), (56, 28, 14, 7)
STORM_LEFT: tuple[Mapping[int, int], ...] = (
    {1: 52},
    {1: 24},
    {3: 11, 7: 10, 11: 9, 14: 8},
    {},
)


def storm_in_stages(shape: Shape) -> Counts:
    """STORM on VMamba (see `STORM_LEFT`); nothing on a backbone with another number of stages."""
    if len(shape.widths) != len(STORM_LEFT):
        return {}
    counts: Counts = {}
    now = shape.rectangles[0]
    ends = (*shape.halvings, shape.depth)
    for stage, (first, end) in enumerate(zip((0, *shape.halvings), ends, strict=True)):
        whole = shape.rectangles[first]
        now = halved(now) if stage else now
        sites = [site for site in shape.sites if first <= site < end]
        for layer, side in STORM_LEFT[stage].items():
            if not sites:
                break
            site = _nearest_in_stage(sites, shape, (first, end), (layer + 1, STORM_LAYERS[stage]))
            sides = [max(1, _nearest(side * cells, STORM_SIDES[stage])) for cells in whole]
            left = min(now[0], sides[0]), min(now[1], sides[1])
            if left != now:
                gone = now[0] * now[1] - left[0] * left[1]
                counts[site] = counts.get(site, 0) + gone
                now = left
    return counts


def _nearest_in_stage(
    sites: Sequence[int], shape: Shape, blocks: tuple[int, int], place: tuple[int, int]
) -> int:
    """The one of `sites` nearest to a `place`, so many layers done of how many; of two the earlier.

    The stage has the `blocks` from the first to before the second number.
    """
    first, end = blocks
    done, layers = place

    def distance(site: int) -> tuple[int, int]:
        # within a layer, before its MLP, the mixer is done
        before = site - first + shape.in_halves
        return abs(before * layers - done * (end - first)), site

    return min(sites, key=distance)


def storm(shape: Shape, options: Mapping[str, object]) -> Counts:
    """STORM on PlainMamba: 12, 10, 8 and 6 squared left after layers 4, 10, 16, 22 (from 0)."""
    if shape.halvings:
        return storm_in_stages(shape)
    # After layer 4 is before 5. The release names the same layers of PlainMamba-L3, which has 36.
    depth = max(DEPTH, shape.depth) if shape.walks else DEPTH
    return Published(depth, {5: 144, 11: 100, 17: 64, 23: 36}).counts(shape)


def fambav(shape: Shape, options: Mapping[str, object]) -> Counts:
    """Famba-V's layers: all (7 tokens), alternate (14), the lower five or from block 20 on (9)."""
    strategies = {
        "all": (range(1, DEPTH), 7),
        "alternate": (range(2, DEPTH, 2), 14),
        "lower": (range(1, 6), 9),
        "upper": (range(20, DEPTH), 9),
    }
    blocks, removed = strategies[str(options.get("layers", "alternate"))]
    return by_count(DEPTH, blocks, removed).counts(shape)

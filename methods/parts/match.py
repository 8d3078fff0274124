"""Grouping and matching: which tokens go, and into which.

Patch tokens are named by their rank 0..n-1 in sequence order; r of the n tokens are to go. Sorts
are stable and descending: between equals the earlier token is kept, or matched, before the later
one.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from methods.parts.features import rows


@dataclass(frozen=True)
class Matching:
    """Pairs of tokens, each source merging into its target.

    ``source`` (B, r)       tokens that go, in the order in which they are matched
    ``target`` (B, r)       the token each goes into; a source that is its own target is dropped
    ``destinations`` (B, t) the set the targets were chosen from, whether or not anything went into
                     them
    """

    source: Tensor
    target: Tensor
    destinations: Tensor

    # A token as its own target means dropped: pairs keep one shape whatever becomes of them.
    def dropped(self) -> Matching:
        """The same sources, dropped instead of merged."""
        return Matching(self.source, self.source, self.destinations)

    def first(self, count: int) -> Matching:
        """The `count` pairs that are matched first."""
        return Matching(self.source[:, :count], self.target[:, :count], self.destinations)

    def among(self, ranks: Tensor) -> Matching:
        """Express the matching in the ranks (B, m) that its tokens have in a longer sequence."""
        return Matching(
            *(ranks.gather(1, part) for part in (self.source, self.target, self.destinations))
        )

    def after(self, gone: Tensor) -> Matching:
        """The same matching, the tokens `gone` (B, p) having been dropped first."""
        return Matching(
            torch.cat([gone, self.source], 1), torch.cat([gone, self.target], 1), self.destinations
        )


def _nothing(source: Tensor) -> Tensor:
    return source[:, :0]


def ranked(score: Tensor) -> Tensor:
    """Tokens by descending score (B, n)."""
    # stable, since ties are common (clipped scores, equal patches) and must not depend on a device
    return score.argsort(dim=1, descending=True, stable=True)


def lowest(score: Tensor, r: int) -> Matching:
    """Prune the r tokens of lowest score."""
    source = ranked(score)[:, score.shape[1] - r :]
    return Matching(source, source, _nothing(source))


def unprotected(patches: Tensor, special: Tensor, window: int) -> Tensor:
    """Ranks (B, m) of the patch tokens that no window protects, in sequence order.

    Protected are the 2 `window` patch tokens for each special token that stand nearest to one, the
    earlier between equals. `patches` (B, n) and `special` (B, S) are places in the sequence; n
    patch tokens or fewer are all protected.
    """
    count = min(patches.shape[1], 2 * window * special.shape[1])
    # (B, S, n) to the minimum over special tokens (B, n)
    distance = (patches[:, None, :] - special[:, :, None]).abs().amin(1)
    # By count rather than by distance: every image protects as many, so shapes stay rectangular.
    near = distance.argsort(dim=1, stable=True)[:, :count]
    closed = torch.zeros_like(patches).scatter_(1, near, 1)
    return closed.argsort(dim=1, stable=True)[:, : patches.shape[1] - count]


def cut(score: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Split off the `count` tokens of lowest score, (B, count); the others in sequence order."""
    left = score.shape[1] - count
    low = torch.zeros(score.shape, dtype=torch.uint8, device=score.device)
    low.scatter_(1, ranked(score)[:, left:], 1)
    # sorting flags, not scores: both parts come out in sequence order
    order = low.argsort(dim=1, stable=True)
    return order[:, left:], order[:, :left]


def fused(score: Tensor, r: int) -> Matching:
    """Fuse the r + 1 tokens of lowest score into the best of them (EViT's inattentive token)."""
    last = ranked(score)[:, score.shape[1] - r - 1 :]
    target = last[:, :1]
    return Matching(last[:, 1:], target.expand(-1, r), target)


def target_count(patches: int, r: int, ratio: float | None) -> int:
    """Size of MTR's Target group: round(ratio r) within 1..n - r; None takes all n - r."""
    # One target at least, or the sources would have nothing to merge into.
    return patches - r if ratio is None else max(1, min(round(ratio * r), patches - r))


def split(score: Tensor, r: int, targets: int) -> tuple[Tensor, Tensor]:
    """MTR's split: Source (B, r), the lowest, and Target (B, targets), the next above."""
    order = ranked(score)
    first = score.shape[1] - r
    return order[:, first:], order[:, first - targets : first]


def kth(similarity: Tensor, k: int) -> Tensor:
    """Index (B, m) of the k-th largest of `similarity` (B, m, t), or of the last if fewer."""
    # The usual case needs no sort.
    if k == 1:
        return similarity.argmax(dim=2)
    return similarity.argsort(dim=2, descending=True, stable=True)[
        ..., min(k, similarity.shape[2]) - 1
    ]


def to_best(source: Tensor, destinations: Tensor, similarity: Tensor, k: int = 1) -> Matching:
    """Every source goes into its most similar destination, or its k-th; `similarity` (B, r, t)."""
    return Matching(source, destinations.gather(1, kth(similarity, k)), destinations)


def alternate(patches: int, batch: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """ToMe's two sets: the tokens of even rank, and those of odd rank."""
    ranks = torch.arange(patches, device=device).expand(batch, -1)
    return ranks[:, 0::2], ranks[:, 1::2]


def halves(score: Tensor) -> tuple[Tensor, Tensor]:
    """UTR's two sets: a, the floor(n / 2) tokens of lowest score, and b, the others, in order."""
    return cut(score, score.shape[1] // 2)


def top_edges(a: Tensor, b: Tensor, similarity: Tensor, r: int, k: int = 1) -> Matching:
    """ToMe's bipartite soft matching: each of `a` names its best of `b`, the r best edges merge.

    `similarity` is (B, |a|, |b|); r is at most |a|. R-MeeTo's ablation names the k-th best instead.
    """
    if r == 0:
        # `b` may be empty here, and then has no largest value.
        return Matching(_nothing(a), _nothing(a), b)
    # The largest value is found much faster than its place, which is needed for r rows only.
    edge = (
        similarity.amax(2)
        if k == 1
        else similarity.gather(2, kth(similarity, k)[..., None])[..., 0]
    )
    chosen = ranked(edge)[:, :r]
    # (B, r, |b|)
    strongest = rows(similarity, chosen)
    return Matching(a.gather(1, chosen), b.gather(1, kth(strongest, k)), b)


def centres(count: int, total: int, device: torch.device) -> Tensor:
    """`count` places spread evenly over 0..total-1: the middles of equal intervals."""
    # Intervals are at least 1 wide, so no place comes twice and the count is exact.
    return torch.div(
        (2 * torch.arange(count, device=device) + 1) * total, 2 * count, rounding_mode="floor"
    )


def spaced(patches: int, r: int, batch: int, device: torch.device) -> Matching:
    """Keep n - r evenly spaced tokens, drop the others."""
    kept = torch.zeros(patches, dtype=torch.bool, device=device)
    kept.scatter_(0, centres(patches - r, patches, device), True)
    source = torch.argsort(kept.int(), stable=True)[:r].expand(batch, -1)
    return Matching(source, source, _nothing(source))


def runs(path: Tensor, r: int) -> Matching:
    """Cut a path into n - r runs of near-equal length; each run becomes its middle token.

    `path` (B, n) lists the tokens in the order of the walk. The j-th token of it belongs to run
    floor(j (n - r) / n).
    """
    patches = path.shape[1]
    groups = patches - r
    place = torch.arange(patches, device=path.device)
    run = torch.div(place * groups, patches, rounding_mode="floor")
    # Run g begins at the first j with floor(j k / n) = g, which is ceil(g n / k).
    edges = torch.div(
        torch.arange(groups + 1, device=path.device) * patches + groups - 1,
        groups,
        rounding_mode="floor",
    )
    middle = torch.div(edges[:-1] + edges[1:] - 1, 2, rounding_mode="floor")
    gone = torch.argsort((place == middle[run]).int(), stable=True)[:r]
    return Matching(path[:, gone], path[:, middle[run[gone]]], path[:, middle])


def curve(cell: Tensor, grid: tuple[int, int, int]) -> Tensor:
    """Sort tokens (B, n) along a Z curve over their grid cells, which keeps neighbours together.

    `cell` (B, n) is the index of each token's cell in the row-major (frames, height, width) grid; a
    clip is walked frame by frame.
    """
    _, height, width = grid
    frame, row, column = cell // (height * width), cell // width % height, cell % width
    bits = max(height, width).bit_length()
    # The bits of row and column alternate in the key (Morton, 1966), the frame above them all.
    key = frame << 2 * bits
    for bit in range(bits):
        for axis, coordinate in enumerate((column, row)):
            key |= (coordinate >> bit & 1) << (2 * bit + axis)
    return key.argsort(dim=1, stable=True)


def neighbours(similarity: Tensor, bound: Tensor, r: int) -> Matching:
    """Join the r most similar neighbours; each run so joined becomes its middle token.

    `similarity` (B, n - 1) of each token with the next, `bound` (B, n - 1) whether the two may be
    joined; at least r bonds of an image may.
    """
    # -inf ranks below every cosine, and at least r bonds are not -inf.
    chosen = ranked(similarity.masked_fill(~bound, -torch.inf))[:, :r]
    closed = torch.zeros_like(bound).scatter_(1, chosen, 1)
    # An open bond on the left begins a run, one on the right ends it; so do the sequence's ends.
    edge = torch.ones_like(bound[:, :1])
    place = torch.arange(bound.shape[1] + 1, device=bound.device)
    start, end = torch.cat([edge, ~closed], 1), torch.cat([~closed, edge], 1)
    # Running maxima carry a run's first place to its end, running minima its last to its start.
    first = place.where(start, 0).cummax(1).values
    last = place.where(end, bound.shape[1]).flip(1).cummin(1).values.flip(1)
    middle = torch.div(first + last, 2, rounding_mode="floor")
    stays = middle == place
    # r closed bonds leave n - r runs, each with one middle: exactly r tokens are none.
    source = stays.int().argsort(dim=1, stable=True)
    return Matching(source[:, :r], middle.gather(1, source[:, :r]), source[:, r:])

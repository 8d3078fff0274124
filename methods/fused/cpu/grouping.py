"""Matching of one image: `methods.parts.match` with loops in place of tensors.

Tokens are named by their rank 0..n-1 among the patch tokens of the sequence. `among` (m) lists,
in sequence order, the ranks of those that may go; `source` and `target` (r) receive the pairs in
the order in which they are matched.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from backbones.compiled.jit import device, inlined
from methods.fused.cpu.ranking import key, rank
from methods.fused.cpu.similarity import compare, compare_neighbours

GIVEN, LOWEST, FUSED, SPLIT, HALVES, ALTERNATE, NEIGHBOURS = range(7)
FAR = np.int64(1) << 60  # beyond any distance; its negative does not overflow


@device
def unprotected(frame: Any, special: Any, patch: Any, among: Any) -> int:
    """Fill `among` with the ranks that no window protects; return their number."""
    count = frame.patches
    closed = min(count, 2 * frame.cls_window * frame.specials)
    keys, places = np.empty(count, np.int64), np.empty(count, np.int64)
    if closed:
        for j in range(count):
            nearest = FAR
            for s in range(frame.specials):
                nearest = min(nearest, abs(patch[j] - special[s]))
            # negated: `rank` is descending and the nearest are protected
            keys[j] = -nearest
        rank(keys, count, places)
    left = 0
    for j in range(count):
        # `places` is filled only if a window protects something
        if closed == 0 or places[j] >= closed:
            among[left] = j
            left += 1
    return left


@device
def rank_scores(score: Any, among: Any, count: int, places: Any) -> None:
    """Rank each of `among` by descending score."""
    keys = np.empty(count, np.int64)
    for i in range(count):
        keys[i] = key(score[among[i]])
    rank(keys, count, places)


@device
def prune(score: Any, among: Any, count: int, gone: int, source: Any, target: Any) -> int:
    """Drop the `gone` lowest of `among`, in sequence order; return how many are left in `among`."""
    places = np.empty(count, np.int64)
    rank_scores(score, among, count, places)
    low = left = 0
    for i in range(count):
        if places[i] >= count - gone:
            # its own target: dropped
            source[low] = among[i]
            target[low] = among[i]
            low += 1
        else:
            # `left` never overtakes i, so the list is shortened in place.
            among[left] = among[i]
            left += 1
    return left


@device
def lowest(
    score: Any, among: Any, count: int, r: int, together: bool, source: Any, target: Any
) -> None:
    """Drop the r lowest; `together`, merge them into the next one above."""
    places = np.empty(count, np.int64)
    rank_scores(score, among, count, places)
    into = 0
    for i in range(count):
        if places[i] >= count - r:
            # in descending order of score, in which the plain path matches and sums
            source[places[i] - (count - r)] = among[i]
        elif places[i] == count - r - 1:
            into = among[i]
    for e in range(r):
        target[e] = into if together else source[e]


@device
def split(
    score: Any, among: Any, count: int, r: int, targets: int, source: Any, others: Any
) -> None:
    """MTR's split: the r lowest are sources, the next `targets` above are the Target group."""
    places = np.empty(count, np.int64)
    rank_scores(score, among, count, places)
    for i in range(count):
        if places[i] >= count - r:
            source[places[i] - (count - r)] = among[i]
        elif places[i] >= count - r - targets:
            others[places[i] - (count - r - targets)] = among[i]


@device
def pair_up(frame: Any, score: Any, among: Any, count: int, ones: Any, others: Any) -> int:
    """Fill the two sets to choose pairs from, in sequence order; return the size of the first.

    Halves: the floor(m / 2) lowest against the rest. Alternate: even places against odd ones, or
    the other way round.
    """
    places = np.empty(count, np.int64)
    if frame.matching == HALVES:
        rank_scores(score, among, count, places)
    m = t = 0
    for i in range(count):
        first = places[i] >= count - count // 2 if frame.matching == HALVES else i % 2 == frame.odd
        if first:
            ones[m] = among[i]
            m += 1
        else:
            others[t] = among[i]
            t += 1
    return m


@device
def strongest(edge: Any, count: int, r: int, chosen: Any) -> None:
    """The r largest of `count` edges, in descending order."""
    keys, places = np.empty(count, np.int64), np.empty(count, np.int64)
    for i in range(count):
        # widening is exact, so that one `key` serves scores and cosines
        keys[i] = key(np.float64(edge[i]))
    rank(keys, count, places)
    for i in range(count):
        if places[i] < r:
            chosen[places[i]] = i


@device
def to_places(ranks: Any, count: int, patch: Any) -> Any:
    """Places of these ranks in the sequence."""
    places = np.empty(count, np.int64)
    for i in range(count):
        places[i] = patch[ranks[i]]
    return places


@inlined
def match_by_cosine(
    frame: Any,
    image: int,
    patch: Any,
    score: Any,
    among: Any,
    count: int,
    r: int,
    source: Any,
    target: Any,
) -> None:
    """Match each source to its best target (split), or the r most similar pairs of two sets."""
    ones, others = np.empty(count, np.int64), np.empty(count, np.int64)
    if frame.matching == SPLIT:
        # All r sources go, each to its best target: there are no edges to choose from.
        m, t = r, frame.targets
        split(score, among, count, r, t, source, others)
        for e in range(r):
            ones[e] = source[e]
    else:
        m = pair_up(frame, score, among, count, ones, others)
        t = count - m
    best, edge = np.empty(m, np.int64), np.empty(m, np.float32)
    compare(frame, image, to_places(ones, m, patch), m, to_places(others, t, patch), t, best, edge)
    if frame.matching == SPLIT:
        for e in range(r):
            target[e] = others[best[e]]
        return
    chosen = np.empty(r, np.int64)
    strongest(edge, m, r, chosen)
    for e in range(r):
        source[e] = ones[chosen[e]]
        target[e] = others[best[chosen[e]]]


@device
def match_neighbours(
    frame: Any, image: int, patch: Any, among: Any, count: int, r: int, source: Any, target: Any
) -> None:
    """The r most similar bonds close; each run of tokens so joined goes into its middle one."""
    places = to_places(among, count, patch)
    bond, closed, chosen = (
        np.empty(count, np.float32),
        np.zeros(count, np.int64),
        np.empty(r, np.int64),
    )
    compare_neighbours(frame, image, places, count, bond)
    for i in range(count - 1):
        # A special token or a window lies between: this bond may not close.
        if places[i + 1] != places[i] + 1:
            bond[i] = -np.inf
    strongest(bond, count - 1, r, chosen)
    for e in range(r):
        closed[chosen[e]] = 1
    first = gone = 0
    for last in range(count):
        # An open bond ends a run; the last token has none, and closed[count - 1] is 0.
        if closed[last]:
            continue
        middle = (first + last) // 2
        for i in range(first, last + 1):
            if i != middle:
                source[gone] = among[i]
                target[gone] = among[middle]
                gone += 1
        first = last + 1


@inlined
def match(
    frame: Any, image: int, patch: Any, special: Any, score: Any, source: Any, target: Any
) -> None:
    """Match one image: first the pairs pruned by score, then those of the matching."""
    among = np.empty(frame.patches, np.int64)
    count, pruned = unprotected(frame, special, patch, among), frame.prune_count
    if pruned:
        count = prune(score, among, count, pruned, source, target)
    r = frame.removed - pruned
    # views: the matching writes its pairs behind the pruned ones
    source_left, target_left = source[pruned:], target[pruned:]
    if r == 0:
        return
    if frame.matching == NEIGHBOURS:
        match_neighbours(frame, image, patch, among, count, r, source_left, target_left)
    elif frame.matching == LOWEST or frame.matching == FUSED:
        lowest(score, among, count, r, frame.matching == FUSED, source_left, target_left)
    else:
        match_by_cosine(frame, image, patch, score, among, count, r, source_left, target_left)

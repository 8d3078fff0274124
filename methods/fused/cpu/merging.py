"""The new sequence of one image: combination and assembly in one pass over both streams.

Every addition happens in the order of the plain path, so the same pairs give the same bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from backbones.compiled.jit import device
from backbones.compiled.native import row, whole_row
from backbones.compiled.numerics import ONE, ZERO
from methods.fused.cpu.similarity import TINY

DROP, AVERAGE, PAIR, SUM = range(4)
HALF = np.float32(0.5)


@device
def averaged(source: Any, target: Any, count: int, weight: Any, share: Any, back: Any) -> None:
    """`methods.parts.combine.averaged` of the first `count` pairs."""
    # Sources first, then the target's own weight: the plain path's order, and so its bits.
    arrived = np.zeros(weight.shape[0], np.float32)
    for e in range(count):
        if source[e] != target[e]:
            arrived[target[e]] += max(weight[source[e]], TINY)
    for e in range(count):
        share[e] = max(weight[source[e]], TINY) / (
            max(weight[target[e]], TINY) + arrived[target[e]]
        )
        back[e] = share[e]


@device
def paired(target: Any, count: int, patches: int, share: Any, back: Any) -> None:
    """Pair averages (`combine.paired`): a target's last source keeps 1/2, the one before 1/4."""
    # Walked backwards, each target remembers what its next source keeps: no count of later sources.
    left = np.full(patches, HALF)
    for e in range(count - 1, -1, -1):
        share[e] = left[target[e]]
        back[e] = share[e]
        left[target[e]] *= HALF


@device
def summed(source: Any, target: Any, count: int, weight: Any, share: Any, back: Any) -> None:
    """`methods.parts.combine.summed`."""
    sources = np.zeros(weight.shape[0], np.float32)
    for e in range(count):
        # Dropped pairs count here, too, but towards themselves, and their values are never read.
        sources[target[e]] += ONE
    for e in range(count):
        share[e] = weight[source[e]]
        back[e] = (ONE - weight[target[e]]) / sources[target[e]]


@device
def combine(
    frame: Any, source: Any, target: Any, count: int, weight: Any, share: Any, back: Any
) -> None:
    """Coefficients of the first `count` pairs."""
    if frame.weighting == AVERAGE:
        averaged(source, target, count, weight, share, back)
    elif frame.weighting == PAIR:
        paired(target, count, frame.patches, share, back)
    elif frame.weighting == SUM:
        summed(source, target, count, weight, share, back)


@device
def arrange(frame: Any, image: int, gone: Any, index: Any, slot: Any, heir: Any) -> None:
    """Place the survivors by position: `index` (k) their tokens, `slot` (L) places, -1 if gone.

    `heir` (L) is the number of survivors whose position is not above that of each token.
    """
    position = whole_row(frame.position, image * frame.length)
    # A counting sort over original positions: linear, and without comparisons.
    seen = np.zeros(frame.original_length, np.int64)
    for i in range(frame.length):
        slot[i] = 0
        seen[position[i]] = 1
    for e in range(frame.removed):
        slot[gone[e]] = -1
        seen[position[gone[e]]] = 0
    standing = 0
    for place in range(frame.original_length):
        # `seen` is turned in place from flags to numbers of survivors up to each position.
        standing += seen[place]
        seen[place] = standing
    for i in range(frame.length):
        heir[i] = seen[position[i]]
        if slot[i] == 0:
            slot[i] = heir[i] - 1
            index[slot[i]] = i


@device
def move_stream(
    old: Any,
    new: Any,
    width: int,
    index: Any,
    slot: Any,
    gone: Any,
    into: Any,
    share: Any,
    back: Any,
    count: int,
) -> None:
    """Copy the survivors' rows; add share x source - back x target of the first `count` pairs."""
    for i in range(index.shape[0]):
        start, end = index[i] * width, i * width
        for c in range(width):
            new[end + c] = old[start + c]
    for e in range(count):
        if into[e] != gone[e]:
            # Read from `old`: by now the target's new row may contain earlier sources.
            ours, theirs, end = gone[e] * width, into[e] * width, slot[into[e]] * width
            for c in range(width):
                # the difference first, as on the plain path: two additions would round otherwise
                new[end + c] += old[ours + c] * share[e] - old[theirs + c] * back[e]


@device
def move_carry(frame: Any, image: int, direction: int, index: Any, gone: Any, heir: Any) -> None:
    """Decay carried by one image's survivors in one direction, with that of the dropped tokens."""
    inner, left = frame.inner, index.shape[0]
    new = row(frame.new_carry, (direction * frame.batch + image) * left * inner)
    old = row(frame.carry, (direction * frame.batch + image) * frame.length * inner)
    for i in range(left):
        start, end = index[i] * inner, i * inner
        # One loop for each case: a condition inside would keep it from being vectorised.
        if frame.carry == 0:
            for d in range(inner):
                new[end + d] = ZERO
        else:
            for d in range(inner):
                new[end + d] = old[start + d]
    if not frame.aligned:
        return
    for e in range(frame.removed):
        # The survivors before a dropped token are one more than the slot of the nearest of them.
        to = heir[gone[e]] if direction == 0 else heir[gone[e]] - 1
        # otherwise beyond the last survivor of this scan, whose state nobody reads
        if 0 <= to < left:
            delta = row(
                frame.delta,
                direction * frame.delta_k + image * frame.delta_b + gone[e] * frame.delta_l,
            )
            start, end = gone[e] * inner, to * inner
            if frame.carry == 0:
                for d in range(inner):
                    new[end + d] += delta[d]
            else:
                for d in range(inner):
                    new[end + d] += delta[d] + old[start + d]


@device
def move_facts(
    frame: Any, image: int, index: Any, slot: Any, gone: Any, into: Any, living: int
) -> None:
    """Move sizes, owners and places to the survivors; the first `living` pairs are merged."""
    length, left = frame.length, index.shape[0]
    position, new_position = (
        whole_row(frame.position, image * length),
        whole_row(frame.new_position, image * left),
    )
    size, new_size = row(frame.size, image * length), row(frame.new_size, image * left)
    for i in range(left):
        new_position[i] = position[index[i]]
        new_size[i] = size[index[i]]
    for e in range(living):
        if into[e] != gone[e]:
            new_size[slot[into[e]]] += size[gone[e]]
    special = whole_row(frame.special, image * frame.specials)
    new_special = whole_row(frame.new_special, image * frame.specials)
    for s in range(frame.specials):
        new_special[s] = slot[special[s]]
    if frame.owner != 0:
        # Only now may `slot` be overwritten: special tokens have been placed by it.
        for e in range(living):
            slot[gone[e]] = slot[into[e]]
        owner = whole_row(frame.owner, image * frame.original_length)
        new_owner = whole_row(frame.new_owner, image * frame.original_length)
        for place in range(frame.original_length):
            new_owner[place] = slot[owner[place]] if owner[place] >= 0 else -1

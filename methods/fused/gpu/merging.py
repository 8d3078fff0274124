"""The new sequence as Triton programs: first indices and coefficients, then every row."""

# mypy: ignore-errors
from __future__ import annotations

import triton
import triton.language as tl

# Sizes that change from site to site: specialised on them, Triton would compile at every site.
VARYING = ("length", "original", "left", "removed", "merged", "specials")


@triton.jit(do_not_specialize=VARYING)
def arrange(
    position, size, special, owner, source, target,
    new_position, new_size, new_special, new_owner, index, landing, heir, share, seen, slot, total,
    length, original, left, removed, merged, specials, source_b, source_l, target_b, target_l,
    SIZED: tl.constexpr, LENGTH: tl.constexpr, ORIGINAL: tl.constexpr, REMOVED: tl.constexpr,
    SPECIALS: tl.constexpr,
):  # fmt: skip
    """Grid (batch): all numbers of one image that are one a token.

    The pairs `source` and `target` (B, r) are places; of the first `merged` those whose target is
    another merge, all others are dropped. Written are the new facts; `index` (B, k) the old place
    of each survivor; `landing` (B, r) the slot of each pair's target, -1 where it is dropped;
    `heir` (B, r) the number of survivors before each source; and, unless it is None, `share` (B, r)
    of a mean weighed by size if `SIZED`. `seen` (B, L0), `slot` and `total` (B, L) are scratch.
    """
    b = tl.program_id(0)
    i, o = tl.arange(0, LENGTH), tl.arange(0, ORIGINAL)
    e, s = tl.arange(0, REMOVED), tl.arange(0, SPECIALS)
    here, there, pair = i < length, o < original, e < removed
    slot += b * length
    seen += b * original
    where = tl.load(position + b * length + i, here, 0)
    weight = tl.load(size + b * length + i, here, 1.0)
    gone = tl.load(source + b * source_b + e * source_l, pair, 0)
    into = tl.load(target + b * target_b + e * target_l, pair, 0)

    # Scratch lies in global memory, since a program cannot index its registers. A barrier follows
    # every store that other threads of the program read.
    tl.store(slot + i, 1, here)
    tl.store(seen + o, 0, there)
    tl.debug_barrier()
    tl.store(slot + gone, 0, pair)
    tl.debug_barrier()
    stays = tl.load(slot + i, here, 0)
    tl.store(seen + where, stays, here)
    tl.debug_barrier()
    # Counting over original positions orders survivors without a sort.
    standing = tl.cumsum(tl.load(seen + o, there, 0), axis=0)
    tl.debug_barrier()
    tl.store(seen + o, standing, there)
    tl.debug_barrier()
    place = tl.where(stays > 0, tl.load(seen + where, here, 0) - 1, -1)
    tl.store(slot + i, place, here)
    kept = here & (place >= 0)
    tl.store(index + b * left + place, i, kept)
    tl.store(new_position + b * left + place, where, kept)
    tl.store(new_size + b * left + place, weight, kept)
    tl.debug_barrier()
    theirs = tl.load(special + b * specials + s, s < specials, 0)
    tl.store(
        new_special + b * specials + s,
        tl.load(slot + theirs, s < specials, 0).to(tl.int64),
        s < specials,
    )
    joins = pair & (e < merged) & (into != gone)
    lands = tl.where(joins, tl.load(slot + into, pair, 0), -1)
    tl.store(landing + b * removed + e, lands, pair)
    passed = tl.load(position + b * length + gone, pair, 0)
    tl.store(heir + b * removed + e, tl.load(seen + passed, pair, 0), pair)
    brought = tl.load(size + b * length + gone, pair, 0.0)
    # Sizes are whole numbers, exact in any order.
    tl.atomic_add(new_size + b * left + lands, brought, joins)
    if share is not None:
        # sums of sizes or of ones are whole numbers: their order makes no difference
        total += b * length
        tl.store(total + i, weight if SIZED else tl.full((LENGTH,), 1.0, tl.float32), here)
        tl.debug_barrier()
        mine = brought if SIZED else tl.full((REMOVED,), 1.0, tl.float32)
        tl.atomic_add(total + into, mine, joins)
        tl.debug_barrier()
        whole = tl.load(total + into, joins, 1.0)
        tl.store(share + b * removed + e, tl.where(joins, mine / whole, 0.0), pair)
    if owner is not None:
        tl.debug_barrier()
        tl.store(slot + gone, lands, pair)
        tl.debug_barrier()
        whose = tl.load(owner + b * original + o, there, -1)
        lives = tl.load(slot + whose, there & (whose >= 0), -1)
        tl.store(new_owner + b * original + o, lives.to(tl.int64), there)


@triton.jit(do_not_specialize=VARYING)
def move_rows(
    branch, residual, new_branch, new_residual, index, source, landing, share, back,
    length, left, removed, width, source_b, source_l,
    MERGES: tl.constexpr, REMOVED: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """Grid (k, batch): one row of both streams, x + sum over sources of (share x_s - back x)."""
    # int64: offsets of large batches do not fit into 32 bits
    slot, b = tl.program_id(0), tl.program_id(1).to(tl.int64)
    channel, e = tl.arange(0, WIDE), tl.arange(0, REMOVED)
    lane = channel < width
    old = (b * length + tl.load(index + b * left + slot)) * width + channel
    new = (b * left + slot) * width + channel
    x = tl.load(branch + old, lane, 0.0).to(tl.float32)
    total = tl.load(residual + old, lane, 0.0).to(tl.float32)
    if MERGES:
        hits = tl.load(landing + b * removed + e, e < removed, -1) == slot
        mine, whole = x, total
        last = -1
        # One source at a time in order of matching, as the plain path adds; atomics have no order.
        for _ in range(tl.sum(hits.to(tl.int32))):
            last = tl.min(tl.where(hits & (e > last), e, REMOVED))
            gone = (b * length + tl.load(source + b * source_b + last * source_l)) * width + channel
            given, taken = tl.load(share + b * removed + last), tl.load(back + b * removed + last)
            x += tl.load(branch + gone, lane, 0.0).to(tl.float32) * given - mine * taken
            total += tl.load(residual + gone, lane, 0.0).to(tl.float32) * given - whole * taken
    tl.store(new_branch + new, x.to(new_branch.dtype.element_ty), lane)
    tl.store(new_residual + new, total.to(new_residual.dtype.element_ty), lane)


@triton.jit(do_not_specialize=VARYING)
def move_carry(
    carry, delta, new_carry, index, source, heir,
    batch, length, left, removed, width, source_b, source_l, delta_k, delta_b, delta_l,
    REMOVED: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """Grid (k, batch, 2): decay carried by one survivor, with `delta` also the dropped tokens'."""
    slot, b, k = tl.program_id(0), tl.program_id(1).to(tl.int64), tl.program_id(2)
    channel, e = tl.arange(0, WIDE), tl.arange(0, REMOVED)
    lane = channel < width
    rows = k * batch + b
    decay = tl.zeros((WIDE,), tl.float32)
    if carry is not None:
        decay = tl.load(
            carry + (rows * length + tl.load(index + b * left + slot)) * width + channel, lane, 0.0
        )
    if delta is not None:
        # a scan from the first token hands on to the survivor after, one from the last token to the
        # one before
        hits = (tl.load(heir + b * removed + e, e < removed, -2) - k == slot) & (e < removed)
        last = -1
        for _ in range(tl.sum(hits.to(tl.int32))):
            last = tl.min(tl.where(hits & (e > last), e, REMOVED))
            gone = tl.load(source + b * source_b + last * source_l)
            amount = tl.load(
                delta + k * delta_k + b * delta_b + gone * delta_l + channel, lane, 0.0
            )
            if carry is not None:
                amount += tl.load(carry + (rows * length + gone) * width + channel, lane, 0.0)
            decay += amount
    tl.store(new_carry + (rows * left + slot) * width + channel, decay, lane)

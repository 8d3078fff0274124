"""The compiled reduction: one task takes one image from its scores to its new streams, in cache."""

from __future__ import annotations

from typing import Any

import numpy as np

from backbones.compiled.jit import device, inlined
from backbones.compiled.native import each_task, frame_type, kernel_of, row, whole_row
from backbones.compiled.numerics import ONE
from methods.fused.cpu import grouping, merging
from methods.fused.cpu.grouping import match, to_places
from methods.fused.cpu.merging import arrange, combine, move_carry, move_facts, move_stream
from methods.fused.cpu.scoring import attention, gates, score

OLD = ("branch", "residual", "position", "size", "special", "owner", "carry")
READ = ("y", "delta", "feature", "feature2", "B", "C", "step")  # by rows, where they lie
GIVEN = ("A", "score", "weight", "source", "target")
# One record of integers for all compositions: one kernel is compiled, whatever the options.
FRAME = frame_type(
    (*OLD, *(f"new_{name}" for name in OLD), *READ, *GIVEN),
    (
        *(f"{name}_{axis}" for name in READ for axis in "kbl"),
        *(
            "batch",
            "length",
            "original_length",
            "patches",
            "specials",
            "width",
            "inner",
            "y_width",
            "feature_width",
        ),
        *(
            "directions",
            "states",
            "scoring",
            "scans",
            "signed",
            "matching",
            "odd",
            "neighbour_rank",
            "targets",
            "cls_window",
        ),
        *(
            "weighting",
            "sized",
            "aligned",
            "removed",
            "prune_count",
            "branch_pairs",
            "residual_pairs",
            "wrong",
        ),
    ),
)


@device
def weigh(frame: Any, image: int, patch: Any, scores: Any, weight: Any) -> None:
    """Weigh each patch token for a merge."""
    size, given = row(frame.size, image * frame.length), row(frame.weight, image * frame.patches)
    # an address of 0 is a tensor that was not given
    if frame.weight != 0:
        for j in range(frame.patches):
            weight[j] = given[j]
    elif frame.weighting == merging.SUM:
        attention(scores, frame.patches, frame.signed != 0, weight)
    elif frame.step != 0:
        gates(frame, image, patch, weight)
    else:
        for j in range(frame.patches):
            weight[j] = size[patch[j]] if frame.sized else ONE


@device
def is_whole(frame: Any, image: int) -> bool:
    """Whether all indices lie within the sequence, which compiled loops do not check."""
    # One pass over small arrays is cheap; a bad index would read or write memory of others.
    position = whole_row(frame.position, image * frame.length)
    for i in range(frame.length):
        if not 0 <= position[i] < frame.original_length:
            return False
    special = whole_row(frame.special, image * frame.specials)
    for s in range(frame.specials):
        if not 0 <= special[s] < frame.length:
            return False
    if frame.owner != 0:
        owner = whole_row(frame.owner, image * frame.original_length)
        for place in range(frame.original_length):
            if not -1 <= owner[place] < frame.length:
                return False
    return True


@inlined
def reduce_image(frame: Any, image: int) -> None:
    """Reduce one image: score, match, weigh, arrange, move."""
    if not is_whole(frame, image):
        # Several threads may do this at once: all write the same, and the launcher raises.
        frame.wrong = 1
        return
    length, count, removed = frame.length, frame.patches, frame.removed
    special = whole_row(frame.special, image * frame.specials)
    standing, patch = np.ones(length, np.uint8), np.zeros(count, np.int64)
    for s in range(frame.specials):
        standing[special[s]] = 0
    filled = 0
    for i in range(length):
        # The bound matters if a special token is listed twice: more tokens are left than patches.
        if standing[i] and filled < count:
            patch[filled] = i
            filled += 1
    # Random scores are fp64: rounded to fp32 some would tie, and ties choose other tokens.
    scores = np.empty(count, np.float64)
    score(frame, image, special, patch, scores)
    source, target = np.empty(removed, np.int64), np.empty(removed, np.int64)
    if frame.matching == grouping.GIVEN:
        given, into = (
            whole_row(frame.source, image * removed),
            whole_row(frame.target, image * removed),
        )
        for e in range(removed):
            source[e] = given[e]
            target[e] = into[e]
    else:
        match(frame, image, patch, special, scores, source, target)
        if frame.weighting == merging.DROP:
            # the matching has decided who goes, and only that; a loop, since for arrays assigned to
            # arrays numba compiles the message of a wrong shape, too: seconds
            for e in range(removed):
                target[e] = source[e]
    weight = np.empty(count, np.float32)
    share, back = np.empty(removed, np.float32), np.empty(removed, np.float32)
    if frame.weighting != merging.DROP:
        weigh(frame, image, patch, scores, weight)
    gone, goal = to_places(source, removed, patch), to_places(target, removed, patch)
    # `index` begins at zero: repeated positions would leave slots unset, and so read anywhere.
    index, slot, heir = (
        np.zeros(length - removed, np.int64),
        np.empty(length, np.int64),
        np.empty(length, np.int64),
    )
    arrange(frame, image, gone, index, slot, heir)
    width, left = frame.width, length - removed
    branch, new_branch = (
        row(frame.branch, image * length * width),
        row(frame.new_branch, image * left * width),
    )
    residual, new_residual = (
        row(frame.residual, image * length * width),
        row(frame.new_residual, image * left * width),
    )
    combine(frame, source, target, frame.branch_pairs, weight, share, back)
    move_stream(branch, new_branch, width, index, slot, gone, goal, share, back, frame.branch_pairs)
    # Sums over a group depend on how many pairs it has; else the coefficients serve both streams.
    if frame.residual_pairs != frame.branch_pairs:
        combine(frame, source, target, frame.residual_pairs, weight, share, back)
    move_stream(
        residual, new_residual, width, index, slot, gone, goal, share, back, frame.residual_pairs
    )
    if frame.new_carry != 0:
        for direction in range(2):
            move_carry(frame, image, direction, index, gone, heir)
    # last, since it writes over `slot`
    move_facts(frame, image, index, slot, gone, goal, max(frame.branch_pairs, frame.residual_pairs))


def _entry(pointer: Any) -> None:
    each_task(pointer, reduce_image)


reduction_kernel = kernel_of(_entry, FRAME)

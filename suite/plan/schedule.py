"""Schedules: how a budget is spread over the sites where tokens may leave.

A schedule gives one weight for each site, to be multiplied by a scale that the budget solver finds:
the fraction removed of the patch tokens that arrive there (`of="current"`), of those that the dense
model has there (`of="original"`), or of those of its first block (`of="first"`). The last two
differ where the map of tokens is halved between stages. Site i is before block i.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from backbones.common.errors import UserError
from backbones.common.registry import nearest
from backbones.shape import Shape

Weights = Callable[[Sequence[int], int], list[float]]


@dataclass(frozen=True)
class Schedule:
    """Weights of the sites.

    Attributes:
        name: its name on the command line.
        weights: from (sites, depth) to one weight >= 0 for each site, not all zero.
        of: what a weight is a fraction of, the patch tokens that arrive at the site, those of the
            dense model there, or those of its first block.

    """

    name: str
    weights: Weights
    of: Literal["current", "original", "first"] = "current"


def default_sites(sites: Sequence[int]) -> tuple[int, ...]:
    """Choose every k-th of a backbone's sites, so that they cut it into about twelve parts.

    2, 4, ..., 22 of 1..23 (24 blocks, a site before each but the first), and all twelve, 1, 3, ...,
    23, of a transformer of twelve layers.
    """
    # n sites cut the backbone into n + 1 parts.
    step = max(1, round((len(sites) + 1) / 12))
    return tuple(sites[step - 1 :: step])


def even(sites: Sequence[int], depth: int) -> list[float]:
    """Weigh all sites alike."""
    return [1.0] * len(sites)


def first_only(sites: Sequence[int], depth: int) -> list[float]:
    """Weigh the first site only."""
    return [1.0] + [0.0] * (len(sites) - 1)


def three_stages(sites: Sequence[int], depth: int) -> list[float]:
    """Weigh the sites nearest to a quarter, half and three quarters of the depth."""
    # Of few sites the same one may be nearest to two of the three.
    chosen = set()
    for quarter in (1, 2, 3):
        # The earlier of two equally near sites.
        chosen.add(min(sites, key=lambda site: (abs(4 * site - quarter * depth), site)))
    return [float(site in chosen) for site in sites]


def rising(sites: Sequence[int], depth: int) -> list[float]:
    """Weigh the sites 1, 2, 3, ...: little early, much late."""
    return [float(rank) for rank in range(1, len(sites) + 1)]


def falling(sites: Sequence[int], depth: int) -> list[float]:
    """Weigh the sites ..., 3, 2, 1: much early, little late."""
    return rising(sites, depth)[::-1]


def every(step: int) -> Schedule:
    """Weigh every `step`-th site alike, the first one included; UserError for a step below 1."""
    if step < 1:
        raise UserError(f"schedule every-{step} has no sites: choose a step of at least 1")

    def weights(sites: Sequence[int], depth: int) -> list[float]:
        return [float(rank % step == 0) for rank in range(len(sites))]

    return Schedule(f"every-{step}", weights)


def in_proportion(counts: Sequence[int]) -> Schedule:
    """Weigh the sites as `counts`, such as those of a paper; UserError if all are zero."""
    name = "-".join(["counts", *map(str, counts)])
    if not any(counts):
        raise UserError(f"schedule {name} removes nothing: name a count above zero")

    def weights(sites: Sequence[int], depth: int) -> list[float]:
        if len(sites) != len(counts):
            raise UserError(
                f"schedule {name} has {len(counts)} counts for {len(sites)} sites: name one for "
                "each of --sites"
            )
        return [float(count) for count in counts]

    # numbers of tokens stay in proportion over all stages
    return Schedule(name, weights, of="first")


CONSTANT_RATIO = Schedule("constant-ratio", even)
CONSTANT_COUNT = Schedule("constant-count", even, of="original")
ONE_SHOT = Schedule("one-shot", first_only)
STAGED = Schedule("staged", three_stages)
RISING = Schedule("rising", rising)
FALLING = Schedule("falling", falling)

# Images decide how many tokens leave (`suite.plan.adaptive`): at all sites by one rule.
ADAPTIVE = Schedule("adaptive", even)

ALL = (CONSTANT_RATIO, CONSTANT_COUNT, ONE_SHOT, STAGED, RISING, FALLING)
SCHEDULES = {schedule.name: schedule for schedule in ALL}


def find_schedule(name: str) -> Schedule:
    """Return the schedule `name`, such as `every-2` or `counts-27-25`; UserError names others."""
    if name in SCHEDULES:
        return SCHEDULES[name]
    if name == ADAPTIVE.name:
        return ADAPTIVE
    if re.fullmatch("counts(-[0-9]{1,6})+", name):
        return in_proportion([int(count) for count in name.split("-")[1:]])
    prefix, _, step = name.rpartition("-")
    if prefix == "every":
        # At most nine digits: Python refuses to read numbers of thousands.
        if re.fullmatch("[0-9]{1,9}", step):
            return every(int(step))
        raise UserError(f"schedule '{name}' needs a number: every-2 takes every second site")
    known = [*SCHEDULES, ADAPTIVE.name, "every-K", "counts-N-N"]
    raise UserError(f"unknown schedule '{name}': {nearest(name, known)}")


def check_sites(sites: Sequence[int], shape: Shape) -> tuple[int, ...]:
    """Sort `sites`; UserError if there is none, one is named twice or is not the backbone's."""
    ordered = tuple(sorted(sites))
    if not ordered or len(set(ordered)) < len(ordered) or not set(ordered) <= set(shape.sites):
        raise UserError(
            f"sites {list(sites)} do not fit {shape.name}: name different ones of "
            f"{spell(shape.sites)}"
        )
    return ordered


def spell(sites: Sequence[int]) -> str:
    """Write evenly spaced sites as 1, 3, ..., 23."""
    if len(sites) <= 3:
        return ", ".join(map(str, sites)) or "none"
    return f"{sites[0]}, {sites[1]}, ..., {sites[-1]}"

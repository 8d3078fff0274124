"""Where reductions happen, and how a budget is spread over those places.

A schedule is one number per site, to be multiplied by a scale that the budget solver finds: the
fraction of the patch tokens standing there that goes (`of="current"`), or of those the sequence
began with (`of="original"`). Site i stands before block i.
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
    """How removals are shaped over sites.

    Attributes:
        name: as written on the command line.
        weights: (sites, depth) to one non-negative weight per site, not all zero.
        of: what a weight is a fraction of, the patch tokens now or at the start.

    """

    name: str
    weights: Weights
    of: Literal["current", "original"] = "current"


def default_sites(sites: Sequence[int]) -> tuple[int, ...]:
    """Of the sites a backbone lists, which cut it in n parts, every max(1, round(n / 12))-th.

    2, 4, ..., 22 where they are 1..23 (24 blocks, a site before each but the first), and all twelve
    of a transformer of twelve layers, 1, 3, ..., 23.
    """
    step = max(1, round((len(sites) + 1) / 12))
    return tuple(sites[step - 1 :: step])


def even(sites: Sequence[int], depth: int) -> list[float]:
    """The same weight everywhere."""
    return [1.0] * len(sites)


def first_only(sites: Sequence[int], depth: int) -> list[float]:
    """Everything at the first site."""
    return [1.0] + [0.0] * (len(sites) - 1)


def three_stages(sites: Sequence[int], depth: int) -> list[float]:
    """The sites nearest to a quarter, a half and three quarters of the depth, the earlier one in a tie."""
    chosen = {
        min(sites, key=lambda site: (abs(4 * site - quarter * depth), site))
        for quarter in (1, 2, 3)
    }
    return [float(site in chosen) for site in sites]


def rising(sites: Sequence[int], depth: int) -> list[float]:
    """1, 2, 3, ... over the sites: little early, much late."""
    return [float(rank) for rank in range(1, len(sites) + 1)]


def falling(sites: Sequence[int], depth: int) -> list[float]:
    """..., 3, 2, 1 over the sites: much early, little late."""
    return rising(sites, depth)[::-1]


def every(step: int) -> Schedule:
    """Every `step`-th of the sites, from the first on, at the same ratio; UserError for a step below 1."""
    if step < 1:
        raise UserError(f"schedule every-{step} has no sites: choose a step of at least 1")
    return Schedule(
        f"every-{step}",
        lambda sites, depth: [float(rank % step == 0) for rank in range(len(sites))],
    )


CONSTANT_RATIO = Schedule("constant-ratio", even)
CONSTANT_COUNT = Schedule("constant-count", even, of="original")
ONE_SHOT = Schedule("one-shot", first_only)
STAGED = Schedule("staged", three_stages)
RISING = Schedule("rising", rising)
FALLING = Schedule("falling", falling)

SCHEDULES = {s.name: s for s in (CONSTANT_RATIO, CONSTANT_COUNT, ONE_SHOT, STAGED, RISING, FALLING)}


def named(name: str) -> Schedule:
    """The schedule called `name`, `every-K` for any K; UserError with the nearest names if there is none."""
    if name in SCHEDULES:
        return SCHEDULES[name]
    prefix, _, step = name.rpartition("-")
    if prefix == "every" and re.fullmatch("[0-9]{1,9}", step):
        return every(int(step))
    if prefix == "every":
        raise UserError(f"schedule '{name}' needs a number: every-2 takes every second site")
    raise UserError(f"unknown schedule '{name}': {nearest(name, [*SCHEDULES, 'every-K'])}")


def check_sites(sites: Sequence[int], shape: Shape) -> tuple[int, ...]:
    """`sites` in order; UserError if one is not listed by the backbone or named twice, or there is none."""
    ordered = tuple(sorted(sites))
    if not ordered or len(set(ordered)) < len(ordered) or not set(ordered) <= set(shape.sites):
        raise UserError(
            f"sites {list(sites)} do not fit {shape.name}: name different ones of {spelled(shape.sites)}"
        )
    return ordered


def spelled(sites: Sequence[int]) -> str:
    """Evenly spaced sites in words: 1, 3, ..., 23."""
    if len(sites) <= 3:
        return ", ".join(map(str, sites)) or "none"
    return f"{sites[0]}, {sites[1]}, ..., {sites[-1]}"

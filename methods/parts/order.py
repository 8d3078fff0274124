"""Order: where the survivors stand.

A policy permutes the surviving patch tokens, given in order of position; special tokens are never
permuted but stand at the number of surviving patches of smaller position.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from methods.parts.counter_random import uniform

ORDERS = ("restored", "appended", "score", "odd-even", "reversed", "shuffled")


@dataclass(frozen=True)
class Survivors:
    """What a policy may look at, all (B, k) in order of position.

    ``position`` of the token, ``place`` where it stands now, ``destination`` whether it is of the
                 set others were
    merged into, ``score`` or None.
    """

    position: Tensor
    place: Tensor
    destination: Tensor
    score: Tensor | None


@dataclass(frozen=True)
class Chance:
    """What random numbers hang on: the seed, the images (B,) and the site."""

    seed: int
    image: Tensor
    site: int


def shuffled(position: Tensor, share: float, chance: Chance) -> Tensor:
    """Permute floor(share k) of the survivors (B, k) at random among themselves."""
    batch, count = position.shape
    moving = int(share * count)
    draws = [uniform(chance.seed, chance.image, chance.site, position, draw) for draw in (1, 2)]
    chosen = draws[0].argsort(dim=1, stable=True)[:, :moving]
    places = chosen.sort(dim=1).values
    arrivals = places.gather(1, draws[1].gather(1, places).argsort(dim=1, stable=True))
    stay = torch.arange(count, device=position.device).expand(batch, -1)
    return stay.scatter(1, places, arrivals)


def permutation(policy: str, survivors: Survivors, share: float, chance: Chance) -> Tensor:
    """The survivors (B, k) in the order of `policy`, as places in their order of position.

    restored: by position. appended: those outside the destination set, then the destinations, both
    as they stand (ToMe's [unmerged, dst]). score: by descending score. odd-even: places 0, 2, 4,
    ... then 1, 3, 5, ... reversed: by descending position. shuffled: see `shuffled`.
    """
    place = torch.arange(survivors.position.shape[1], device=survivors.position.device)
    place = place.expand_as(survivors.position)
    if policy == "shuffled":
        return shuffled(survivors.position, share, chance)
    if policy == "score":
        assert survivors.score is not None
        return survivors.score.argsort(dim=1, descending=True, stable=True)
    keys = {
        "restored": place,
        "appended": survivors.place
        + survivors.destination * (1 + survivors.place.amax(1, keepdim=True)),
        "odd-even": place % 2,
        "reversed": -place,
    }
    return keys[policy].argsort(dim=1, stable=True)

"""Order: the places of the survivors in the new sequence.

A policy permutes the surviving patch tokens, given in order of position. Special tokens are never
permuted: as many patches precede one as have a smaller position.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from methods.parts.counter_random import uniform

ORDERS = ("restored", "appended", "score", "odd-even", "reversed", "shuffled")


@dataclass(frozen=True)
class Survivors:
    """Facts about the survivors that a policy may use, all (B, k) in order of position.

    ``position``     in the unreduced sequence
    ``place``        in the sequence before this reduction
    ``destination``  whether the token is of the set that targets were chosen from
    ``score``        or None
    """

    position: Tensor
    place: Tensor
    destination: Tensor
    score: Tensor | None


@dataclass(frozen=True)
class Chance:
    """The key of random numbers: the seed, the images (B,) and the site."""

    seed: int
    image: Tensor
    site: int


def shuffled(position: Tensor, share: float, chance: Chance) -> Tensor:
    """Permute floor(share k) of the survivors (B, k) at random among themselves."""
    batch, count = position.shape
    moving = int(share * count)
    # Draw 0 is the random score's; the order must not be related to who survived.
    draws = [uniform(chance.seed, chance.image, chance.site, position, draw) for draw in (1, 2)]
    chosen = draws[0].argsort(dim=1, stable=True)[:, :moving]
    # Ascending, so that the second draw alone decides who arrives where.
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
    # Stable sorts of a key: where keys are equal, the order of position decides.
    keys = {
        "restored": place,
        # what is added to a destination's place is more than any place
        "appended": survivors.place
        + survivors.destination * (1 + survivors.place.amax(1, keepdim=True)),
        "odd-even": place % 2,
        "reversed": -place,
    }
    return keys[policy].argsort(dim=1, stable=True)

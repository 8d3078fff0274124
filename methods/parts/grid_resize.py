"""A map of tokens resampled to fewer rows and columns: no token is chosen, all are mixed.

A new cell keeps the position of the old cell at its centre, and counts as its own every old cell
whose centre lies in it.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from methods.parts.features import precise
from methods.parts.grid_pairs import Plan, Rectangle
from methods.parts.match import Matching, centres

RESIZINGS = ("area", "bilinear")


def resampled(values: Tensor, before: Rectangle, after: Rectangle, kind: str) -> Tensor:
    """Resample `values` (B, h w, C), row by row, to (B, h' w', C), computed in fp32 at least.

    area: a new cell is the mean of the old ones that it touches; bilinear: of the four round its
    centre, by distance.
    """
    maps = precise(values).transpose(1, 2).unflatten(2, before)
    if kind == "area":
        small = functional.adaptive_avg_pool2d(maps, after)
    else:
        # Cells are areas: aligned corners would stretch the map to its outermost centres.
        small = functional.interpolate(maps, size=after, mode="bilinear", align_corners=False)
    return small.flatten(2).transpose(1, 2).to(values.dtype)


def plan(batch: int, before: Rectangle, after: Rectangle, device: torch.device) -> Plan:
    """Old cells by the new cell that they count for; the same of every image."""
    stay, new = [], []
    # A rectangle's rows and columns are shared out independently.
    for cells, left in zip(before, after, strict=True):
        stay.append(centres(left, cells, device))
        new.append(_owners(cells, left, device))
    width = before[1]
    kept = (stay[0][:, None] * width + stay[1]).flatten()
    owner = (new[0][:, None] * after[1] + new[1]).flatten()
    flags = torch.zeros_like(owner, dtype=torch.uint8).scatter_(0, kept, 1)
    # A stable sort keeps the order; nonzero would make a GPU wait for the host.
    source = flags.argsort(stable=True)[: len(owner) - len(kept)]
    # A matching names old tokens, and a new cell goes by the one at its centre.
    target = kept[owner[source]]
    parts = (part.expand(batch, -1) for part in (source, target, kept))
    return Plan(Matching(*parts), kept.expand(batch, -1))


def _owners(cells: int, left: int, device: torch.device) -> Tensor:
    """The new of `left` cells in which the centre of each of `cells` old ones lies."""
    place = torch.arange(cells, device=device)
    # floor((i + 1/2) left / cells) in whole numbers: no rounding decides an edge.
    return torch.div((2 * place + 1) * left, 2 * cells, rounding_mode="floor")

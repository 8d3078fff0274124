"""What a dense readout needs of earlier blocks, and of tokens that are gone.

A sequence carries it from block to block, always of the reduced tokens: no map of the whole grid is
kept. B images, L tokens now, L0 before any reduction, C channels, S special tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from backbones.common.errors import UserError
from backbones.unreduce import Fill


class Streams(NamedTuple):
    """A sequence's streams, and where its tokens come from (see `TokenSequence`)."""

    branch: Tensor
    residual: Tensor
    owner: Tensor
    position: Tensor


@dataclass(frozen=True, eq=False)
class Reading:
    """The tokens as they left a block.

    Where the map was halved before, a cell of the halved map counts as an original token: its first
    one stands for it.

    ``features`` (B, L, C)   sum of both streams, or the branch alone
    ``owner``    (B, L0)     index of the token that each original one is part of, -1 if dropped
    ``position`` (B, L), ``special`` (B, S), ``grid``  as those of a TokenSequence
    ``row``      (B, L0)     where the memory's `rows` have the last features of a dropped token
    ``whole``                whether all tokens are there, in all images
    """

    features: Tensor
    owner: Tensor
    position: Tensor
    special: Tensor
    grid: tuple[int, int, int]
    row: Tensor
    whole: bool


@dataclass(frozen=True, eq=False)
class Memory:
    """What is kept of the tokens at `levels`, and of those that have left.

    ``levels``    numbers of blocks after which tokens are read
    ``row``       (B, L0)  index among the ``rows`` of each original token that was dropped since
                  the map was halved, if ever; else -1
    ``rows``      by width C, (B, R, C) each: features of tokens before they left, a tensor a site
    ``readings``  by level, those that have been passed
    ``before``    the tokens when they were last looked at: whoever is missing has left since
    ``branch``    whether the branch alone is read, without the residual
    ``undo``      what dropped tokens become at the end: a fill of `backbones.unreduce`
    """

    levels: frozenset[int]
    row: Tensor
    before: Streams
    branch: bool = False
    undo: Fill = "frozen"
    rows: Mapping[int, tuple[Tensor, ...]] = field(default_factory=dict)
    readings: Mapping[int, Reading] = field(default_factory=dict)

    def looking_at(self, now: Streams) -> Memory:
        """The memory after the tokens that left since the last look are kept in it.

        UserError where tokens were moved or removed without a new `owner`.
        """
        before = self.before
        if now.owner is before.owner:
            if now.position is not before.position:
                raise UserError(
                    "a reducer moves or removes tokens and hands `owner` on as it was, so that "
                    "none finds its pixels: track where tokens go (TokenSequence.owner)"
                )
            return replace(self, before=now)
        count = before.position.shape[1] - now.position.shape[1]
        if count == 0:
            return replace(self, before=now)
        # Dropped tokens first. As many are kept as are gone, merged ones behind them: asking how
        # many were dropped would make a GPU wait.
        width = before.branch.shape[2]
        dropped = now.owner.gather(1, before.position) < 0
        order = dropped.to(torch.uint8).argsort(dim=1, descending=True, stable=True)
        gone = order[:, :count, None].expand(-1, -1, width)
        kept = before.branch.gather(1, gone)
        if not self.branch:
            kept = before.residual.gather(1, gone) + kept
        rank = torch.empty_like(order)
        rank.scatter_(1, order, torch.arange(order.shape[1], device=order.device).expand_as(order))
        newly = (before.owner >= 0) & (now.owner < 0)
        held = self.rows.get(width, ())
        number = rank.gather(1, before.owner.clamp_min(0)) + sum(rows.shape[1] for rows in held)
        row = number.where(newly, self.row)
        return replace(self, row=row, rows={**self.rows, width: (*held, kept)}, before=now)

    def after_block(self, now: Streams) -> Memory:
        """The memory behind a block, which mixes tokens, and removes none unless it halves a map.

        Features of a token that was dropped before a halving are of another width than those to
        come: they are given up.
        """
        halved = now.position.shape[1] != self.before.position.shape[1]
        row = torch.full_like(self.row, -1) if halved else self.row
        return replace(self, row=row, before=now)

    def read(
        self, level: int, special: Tensor, grid: tuple[int, int, int], step: int = 1
    ) -> Memory:
        """The memory with the tokens behind the last block as the reading of `level`.

        `step` original rows, and columns, have become one by halving.
        """
        now, row = self.before, self.row
        owner = now.owner
        if step > 1:
            frames, height, width = grid
            cells = torch.arange(height * width, device=row.device).view(height, width)
            first = cells[::step, ::step]
            owner, row = owner[:, first.flatten()], row[:, first.flatten()]
            grid = (frames, *first.shape)
        whole = now.position.shape[1] == owner.shape[1]
        features = now.branch if self.branch else now.residual + now.branch
        reading = Reading(features, owner, now.position, special, grid, row, whole)
        return replace(self, readings={**self.readings, level: reading})

    def pick_images(self, rows: Tensor, before: Streams) -> Memory:
        """The images at these rows of the batch (K,), whose streams are `before`."""
        readings = {}
        for level, reading in self.readings.items():
            readings[level] = replace(
                reading,
                features=reading.features[rows],
                owner=reading.owner[rows],
                position=reading.position[rows],
                special=reading.special[rows],
                row=reading.row[rows],
            )
        kept = {}
        for width, parts in self.rows.items():
            kept[width] = tuple(values[rows] for values in parts)
        return replace(self, row=self.row[rows], rows=kept, readings=readings, before=before)

    def kept(self, width: int) -> Tensor:
        """The rows of this width, (B, R, width)."""
        nothing = self.before.residual.new_zeros(len(self.row), 0, width)
        return torch.cat([nothing, *self.rows.get(width, ())], 1)


def join_memories(parts: Sequence[Memory], before: Streams) -> Memory:
    """The memories of several batches as one, whose streams together are `before`.

    Rows and readings of different lengths are filled up; no index points at what fills them.
    """
    rows = {}
    # Of some parts no token may have left yet.
    for width in {width for part in parts for width in part.rows}:
        rows[width] = (joined([part.kept(width) for part in parts]),)
    readings = {}
    for level, first in parts[0].readings.items():
        several = [part.readings[level] for part in parts]
        readings[level] = replace(
            first,
            features=joined([reading.features for reading in several]),
            owner=torch.cat([reading.owner for reading in several]),
            position=joined([reading.position for reading in several]),
            special=torch.cat([reading.special for reading in several]),
            row=torch.cat([reading.row for reading in several]),
            whole=all(reading.whole for reading in several),
        )
    return replace(
        parts[0],
        row=torch.cat([part.row for part in parts]),
        rows=rows,
        readings=readings,
        before=before,
    )


def joined(parts: Sequence[Tensor]) -> Tensor:
    """Tensors (B, L, ...) one after the other, those with fewer tokens filled up with zeros."""
    longest = max(part.shape[1] for part in parts)
    filled = []
    for part in parts:
        behind = [0, 0] * (part.ndim - 2) + [0, longest - part.shape[1]]
        filled.append(functional.pad(part, behind))
    return torch.cat(filled)

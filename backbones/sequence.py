"""The token sequence and the trace: the whole interface between backbones and methods.

A Vim-style block is add -> norm -> mixer, so two streams flow from block to block: ``branch`` (the
last mixer's output, not yet added) and ``residual`` (the running sum). A reduction acts on both at
the same indices.

Shapes: B images, L tokens now, L0 tokens before any reduction, C model width, E inner width of the
mixer, N states, S special tokens, K scans: 2 of a block with two directions, 1 of Mamba-2. G
timescales: one for each of E channels (Mamba-1), or one for each of H heads (Mamba-2). Everything
is in image order, with the backward direction flipped back.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from backbones.dense.memory import Memory, Streams, join_memories
from backbones.unreduce import Fill


@dataclass(frozen=True)
class Trace:
    """What a block's mixer knows about its tokens; only fields that a reducer `needs` are set.

    ``delta_mean`` (K, B, L)     timescale after bias and softplus, mean over the G timescales
    ``delta``      (K, B, L, G)  timescale after bias and softplus
    ``B``, ``C``   (K, B, L, N)  input and output projections of the scan
    ``A``          (K, G, N)     state matrix, negative; (1, H, 1) where a head has one decay
    ``y``          (B, L, E)     gated scan output, directions combined as the block combines them
    ``y_forward``, ``y_backward`` (B, L, E)  gated output of one direction
    ``ungated``    (B, L, E)     scan output before the gate, directions combined as ``y``'s
    ``ungated_forward``, ``ungated_backward`` (B, L, E)  that of one direction
    ``keys``       (B, L, H)     attention keys, mean over heads (attention backbones)
    ``cls_attention`` (B, L)     the class token's attention, mean over heads (attention backbones)
    ``flipped``    no field to ask for: whether the one scan of a block read all tokens but the last
                   backwards
    """

    delta_mean: Tensor | None = None
    delta: Tensor | None = None
    B: Tensor | None = None
    C: Tensor | None = None
    A: Tensor | None = None
    y: Tensor | None = None
    y_forward: Tensor | None = None
    y_backward: Tensor | None = None
    ungated: Tensor | None = None
    ungated_forward: Tensor | None = None
    ungated_backward: Tensor | None = None
    keys: Tensor | None = None
    cls_attention: Tensor | None = None
    flipped: bool = False

    def pick_images(self, rows: Tensor) -> Trace:
        """The images at these rows of the batch (K,)."""
        picked: dict[str, Any] = {}
        for name in TRACE_FIELDS:
            values = getattr(self, name)
            # The state matrix is the same for all images.
            if values is not None and name != "A":
                picked[name] = values[:, rows] if name in OF_SCANS else values[rows]
        return replace(self, **picked)


# These have an axis of scans before that of images.
OF_SCANS = ("delta_mean", "delta", "B", "C")
TRACE_FIELDS = frozenset(Trace.__dataclass_fields__) - {"flipped"}


def turned(values: Tensor, axis: int) -> Tensor:
    """Reverse all tokens but the last along `axis`; done twice it changes nothing."""
    length = values.shape[axis]
    before, last = values.split([length - 1, 1], dim=axis)
    return torch.cat([before.flip(axis), last], dim=axis)


@dataclass(frozen=True)
class TokenSequence:
    """The tokens that enter a block, with where each comes from.

    ``branch``   (B, L, C)  output of the last mixer, not yet added
    ``residual`` (B, L, C)  running sum, at least fp32 (fp64 when the model is)
    ``position`` (B, L)     index of the token in the unreduced sequence, special tokens included
    ``size``     (B, L)     number of original tokens merged into this one (fp32, whole numbers)
    ``special``  (B, S)     current index of each special token, exact, per image
    ``image``    (B,)       index of the image in its dataset
    ``grid``     (T, H, W)  of the unreduced patch tokens
    ``lattice``  (rows, columns) of the rectangle that the patch tokens fill now, row by row in
                            sequence order; None where they fill none: those of a clip, and after a
                            reduction or an order that keeps no rectangle. See `rectangle`
    ``owner``    (B, L0)    current index of the token that each original one is part of, -1 if it
                            was dropped; None: not tracked
    ``carry``    (K, B, L, G)  decay handed over by dropped tokens, added to Delta; None: nothing
    ``weighted``            proportional attention in attention backbones
    ``memory``              what a dense readout needs of earlier blocks; None: it is no segmenter's
    ``trace``               of the block that produced ``branch``; None after a reduction
    """

    branch: Tensor
    residual: Tensor
    position: Tensor
    size: Tensor
    special: Tensor
    image: Tensor
    grid: tuple[int, int, int]
    lattice: tuple[int, int] | None = None
    owner: Tensor | None = None
    carry: Tensor | None = None
    weighted: bool = False
    memory: Memory | None = None
    trace: Trace | None = None

    @property
    def batch(self) -> int:
        """Number of images."""
        return self.branch.shape[0]

    @property
    def length(self) -> int:
        """Current number of tokens, special ones included."""
        return self.branch.shape[1]

    @property
    def original_length(self) -> int:
        """Number of tokens of the unreduced sequence, special ones included."""
        frames, height, width = self.grid
        return frames * height * width + self.special.shape[1]

    @property
    def rectangle(self) -> tuple[int, int] | None:
        """`lattice`, or None where its cells are not as many as the patch tokens."""
        if self.lattice is None:
            return None
        # Somebody's reducer may know nothing of the field, and hand it on as it was.
        rows, columns = self.lattice
        return self.lattice if rows * columns == self.length - self.special.shape[1] else None

    def patches(self) -> Tensor:
        """Indices of the patch tokens in sequence order, (B, L - S)."""
        count = self.length - self.special.shape[1]
        index = torch.arange(count, device=self.position.device).expand(self.batch, -1)
        # Each special token shifts the patches behind it by one. Unlike nonzero, this does not make
        # a GPU wait for the host. The loop needs them in ascending order.
        special = self.special if self.special.shape[1] < 2 else self.special.sort(dim=1).values
        for place in special.unbind(1):
            index = index + (index >= place[:, None])
        return index

    def tracked(self) -> TokenSequence:
        """The same sequence with ``owner`` tracking on; only before the first reduction."""
        if self.length != self.original_length:
            raise ValueError("owner tracking must begin before the first reduction")
        # every token is part of itself
        slots = torch.arange(self.length, device=self.position.device)
        return replace(self, owner=slots.expand(self.batch, -1))

    def pick_images(self, rows: Tensor) -> TokenSequence:
        """The images at these rows of the batch (K,), which may repeat: variants of one image."""
        # `grid`, `lattice` and `weighted` are the same for all images; the trace is dropped.
        picked = replace(
            self,
            branch=self.branch[rows],
            residual=self.residual[rows],
            position=self.position[rows],
            size=self.size[rows],
            special=self.special[rows],
            image=self.image[rows],
            owner=None if self.owner is None else self.owner[rows],
            carry=None if self.carry is None else self.carry[:, rows],
            trace=None,
        )
        memory = self.remembering().memory
        if memory is None:
            return picked
        return replace(picked, memory=memory.pick_images(rows, picked.streams))

    @property
    def streams(self) -> Streams:
        """Both streams, and where the tokens come from; only of a tracked sequence."""
        assert self.owner is not None
        return Streams(self.branch, self.residual, self.owner, self.position)

    def undoing(self, undo: Fill) -> TokenSequence:
        """The same sequence, whose dropped tokens a segmenter fills in so; others ignore it."""
        if self.memory is None:
            return self
        return replace(self, memory=replace(self.memory, undo=undo))

    def remembering(self) -> TokenSequence:
        """The same sequence, its memory looking at it: what left since the last look is kept."""
        if self.memory is None:
            return self
        return replace(self, memory=self.memory.looking_at(self.streams))


def join_images(parts: Sequence[TokenSequence]) -> TokenSequence:
    """The images of several sequences of equally many tokens as one batch; the trace is dropped."""
    if len(parts) == 1:
        return parts[0]
    first = parts[0]
    joined: dict[str, Any] = {}
    for name in ("branch", "residual", "position", "size", "special", "image"):
        joined[name] = torch.cat([getattr(part, name) for part in parts])
    owners = [part.owner for part in parts if part.owner is not None]
    carries = [part.carry for part in parts if part.carry is not None]
    same = all(part.lattice == first.lattice for part in parts)
    whole = replace(
        first,
        **joined,
        lattice=first.lattice if same else None,
        owner=torch.cat(owners) if owners else None,
        carry=torch.cat(carries, dim=1) if carries else None,
        trace=None,
    )
    memories = [memory for part in parts if (memory := part.remembering().memory) is not None]
    if not memories:
        return whole
    return replace(whole, memory=join_memories(memories, whole.streams))


def new_sequence(
    tokens: Tensor, special: Iterable[int], grid: tuple[int, int, int], image: Tensor | None = None
) -> TokenSequence:
    """The sequence that a backbone's `embed` returns, before any block or reduction.

    `tokens` (B, L, C) becomes the branch, over a residual of zeros (adding it is exact). `special`
    are the indices of the special tokens, the same for every image; `image` (B,) defaults to
    0..B-1.
    """
    batch, length, _ = tokens.shape
    device = tokens.device
    # the running sum of many blocks would lose small terms in a lower precision
    residual_dtype = torch.promote_types(tokens.dtype, torch.float32)
    indices = list(special)
    places = torch.empty(len(indices), dtype=torch.long, device=device)
    # Filled on the device: a copy from the host cannot be part of a CUDA graph, and assigning a
    # number makes a tensor on the host in some versions of PyTorch.
    for slot, index in enumerate(indices):
        places[slot].fill_(index)
    return TokenSequence(
        branch=tokens,
        residual=torch.zeros(tokens.shape, dtype=residual_dtype, device=device),
        position=torch.arange(length, device=device).expand(batch, -1),
        size=torch.ones(batch, length, device=device),
        special=places.expand(batch, -1),
        image=torch.arange(batch, device=device) if image is None else image.to(device),
        grid=grid,
        # patches of an image stand row by row; those of a clip are several maps
        lattice=grid[1:] if grid[0] == 1 else None,
    )

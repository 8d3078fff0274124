"""Closed-form work of a backbone, by kind, from the number of tokens that enter each block.

Per block with length L, width C, inner width E, states N, timescale rank R, conv taps K and d scan
directions:

    gemm         L C 2E + L E C                   in_proj, out_proj (shared by the directions)
                 + d (L E (R + 2N) + L R E)       x_proj, dt_proj
    conv         d L E K                          depthwise, causal
    padding      d (K - 1) E K                    outputs that Vim's published layer cuts off
    scan         d (9 L E N + 2 L E)              operations, state-spaces/mamba#110; skip, gate
    elementwise  counted as in `scan_block`; shown, never part of a total

The two blocks of a transformer's layer, with E the width of all heads together and M the hidden
width:

    gemm         L C 3E + 2 L^2 E + L E C         attention: projections, q k^T, product with v
                 2 L C M                          MLP
    elementwise  counted as in `attention_block` and `mlp_block`

A block of zig-zag scans (PlainMamba), with S patches in the whole grid and a convolution of K taps
on it, which covers the whole grid however few tokens are left, unless they fill a rectangle (S
patches then, too):

    gemm         L C 2E + L E (R + 2N) + L R E + L E C
    conv         S E K                            S C 9 more behind a block with a local convolution
    scan         d (9 L E N + L E)                the gate is applied once, behind the scans
    elementwise  counted as in `walk_block`

A block of Mamba-2 and an MLP (Adventurer), with H heads, one scan and M the hidden width; the mixer
reads a mean token before the others, so that L' = L + 1:

    gemm         L' C (2E + 2N + H) + L E C       in_proj, out_proj
                 3 L C M                          MLP
    conv         L' (E + 2N) K
    padding      (K - 1) (E + 2N) K + E C         and the mean token's output, which is cut off, too
    scan         L' (5 E N + 3 E + 2 H)           operations of a state update per token: what is
                                                  written and read 5 a state, step and skip 3 a
                                                  channel, decay 2 a head
    elementwise  counted as in `headed_block`

A layer of scans on a map in stages (VMamba) is two blocks, with the sizes of its stage, L tokens
that fill a rectangle, and M the hidden width; the first mixer of a stage begins by halving a map of
width C' to L tokens:

    gemm         L C E + d (L E (R + 2N) + L R E) + L E C       mixer
                 2 L C M                                        MLP
    conv         L E K                                          L C' C 9 more where a map is halved
    scan         d (9 L E N + L E)                              there is no gate
    elementwise  counted as in `staged_mixer` and `staged_mlp`

A backbone with another mixer brings the work of its blocks itself (`backbones.shape.Work`).

gemm and conv are multiply-accumulates (MACs); scan and elementwise are single arithmetic
operations. The scans' terms are formulas, Mamba-1's from the literature, not measurements: no
counter sees inside the kernel. A kernel may do other work than its recurrence: Mamba-2's chunks are
matrix products.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from operator import attrgetter
from types import MappingProxyType
from typing import Protocol

from backbones.common.errors import UserError
from backbones.shape import STEM_WIDTH, Shape


class Cost(Protocol):
    """The work of a reduction itself: MACs of matrix products, and other operations."""

    @property
    def matmul_macs(self) -> int:
        """Multiply-accumulates of matrix products."""
        ...

    @property
    def arithmetic(self) -> int:
        """Additions, multiplications and comparisons outside matrix products."""
        ...


@dataclass(frozen=True)
class Flops:
    """Work for one image, by kind.

    Attributes:
        gemm: MACs of matrix products, head included.
        conv: MACs of convolutions: depthwise ones along the sequence, and the patch embedding.
        scan: arithmetic operations of the selective scans, all directions.
        elementwise: arithmetic operations of norms, activations, additions; in no total.
        reduction_macs: MACs of the reductions' own matrix products.
        reduction_arithmetic: the reductions' other arithmetic operations.
        padding: MACs of convolution outputs that the published layers compute and cut off; the
            suite's layers compute none.
        other_directions: the part of gemm + conv + padding + scan in directions after the first.

    """

    gemm: int = 0
    conv: int = 0
    scan: int = 0
    elementwise: int = 0
    reduction_macs: int = 0
    reduction_arithmetic: int = 0
    padding: int = 0
    other_directions: int = 0

    def __add__(self, other: Flops) -> Flops:
        """Add kind by kind."""
        return summed([self, other])

    @property
    def reduction(self) -> int:
        """The reductions' own work in arithmetic operations; a MAC is two."""
        return 2 * self.reduction_macs + self.reduction_arithmetic

    def by_kind(self) -> dict[str, int]:
        """The five kinds as a plain record."""
        return {
            "gemm": self.gemm,
            "conv": self.conv,
            "scan": self.scan,
            "elementwise": self.elementwise,
            "reduction": self.reduction,
        }


_KINDS = attrgetter(*(field.name for field in fields(Flops)))


def summed(parts: Sequence[Flops]) -> Flops:
    """Add `parts` kind by kind."""
    # all parts at once: budgets are solved by thousands of these sums
    return Flops(*map(sum, zip(*map(_KINDS, parts), strict=True)))


def _true_flops(work: Flops) -> int:
    """Arithmetic operations that are computed: a MAC is two, all directions count."""
    # without the padding, which the suite's layers do not compute
    return 2 * (work.gemm + work.conv) + work.scan + work.reduction


def _macs(work: Flops) -> int:
    """MACs of the published layers in all directions, plus the operations without a MAC form."""
    return (
        work.gemm
        + work.conv
        + work.padding
        + work.scan
        + work.reduction_macs
        + work.reduction_arithmetic
    )


def _paper(work: Flops) -> int:
    """MACs and operations of the published layers in one direction only.

    The count that R-MeeTo (arXiv 2412.12496) and DyVM (arXiv 2504.04787) print.
    """
    # A reduction's MAC counts twice: R-MeeTo's term for merging, 2 C (L/2)^2, is in operations,
    # although everything around it is in MACs.
    return work.gemm + work.conv + work.padding + work.scan - work.other_directions + work.reduction


CONVENTIONS: Mapping[str, Callable[[Flops], int]] = MappingProxyType(
    {"flops": _true_flops, "macs": _macs, "paper": _paper}
)


def total(work: Flops, convention: str = "flops") -> int:
    """`work` as one number under a named convention; UserError for an unknown name."""
    if convention not in CONVENTIONS:
        raise UserError(
            f"unknown FLOPs convention {convention!r}: choose one of {', '.join(CONVENTIONS)}"
        )
    return CONVENTIONS[convention](work)


def totals(work: Flops) -> dict[str, int]:
    """`work` under every convention."""
    return {name: convention(work) for name, convention in CONVENTIONS.items()}


def block_flops(shape: Shape, block: int, length: int, on_grid: bool = False) -> Flops:
    """Work of one block on `length` tokens, special tokens included.

    `on_grid`: the patch tokens fill a rectangle, which is all that convolutions on the grid cover.
    """
    if shape.work:
        return Flops(**shape.work(shape, block, length)._asdict())
    if shape.walks:
        cells = length - shape.specials if on_grid else shape.patches
        return walk_block(shape, block, length, cells)
    if shape.scan_heads:
        return headed_block(shape, length)
    if shape.widths:
        return staged_mlp(shape, block, length) if block % 2 else staged_mixer(shape, block, length)
    if not shape.heads:
        return scan_block(shape, length)
    # a layer of a transformer is two blocks, so that tokens can be removed between them
    return mlp_block(shape, length) if block % 2 else attention_block(shape, length)


@lru_cache(maxsize=8192)
def attention_block(shape: Shape, length: int) -> Flops:
    """Work of the attention half of a layer.

    Elementwise: residual addition 1 and LayerNorm 7 a channel of C; bias of q, k and v 3 and scale
    of q 1 a channel of E; softmax 5 a pair of tokens and head; bias of the output 1 a channel of C.
    """
    C, E = shape.dim, shape.inner
    return Flops(
        gemm=length * C * 3 * E + 2 * length**2 * E + length * E * C,
        elementwise=9 * length * C + 4 * length * E + 5 * shape.heads * length**2,
    )


@lru_cache(maxsize=8192)
def mlp_block(shape: Shape, length: int) -> Flops:
    """Work of the MLP half of a layer.

    Elementwise: residual addition 1 and LayerNorm 7 a channel of C; bias 1 and GELU 5 a hidden
    channel; bias of the output 1 a channel of C.
    """
    C, M = shape.dim, shape.hidden
    return Flops(gemm=2 * length * C * M, elementwise=9 * length * C + 6 * length * M)


@lru_cache(maxsize=8192)
def walk_block(shape: Shape, block: int, length: int, cells: int) -> Flops:
    """Work of one block of zig-zag scans; the last includes the norm and the mean of all tokens.

    `cells` are those of the grid that the convolutions cover.

    Elementwise: residual addition 1 and LayerNorm 7 a channel of C; biases 2 a channel of E; of the
    grid, bias 1 and SiLU 4; in each walk timescale bias 1 and softplus 2 a channel of E, and the
    arrival added to B; joining the walks 1 for each after the first, SiLU of the gate 4 and the
    gate 1; bias of the output 1 a channel of C. A local convolution adds the streams, 1 a channel
    of C, and takes 2 for its norm and 5 for GELU. At the end a token takes 1 for the last addition,
    7 for LayerNorm, 2 to be weighed and added up.
    """
    C, E, N, K, L = shape.dim, shape.inner, shape.states, shape.directions, length
    projections = L * E * (shape.dt_rank + 2 * N) + L * shape.dt_rank * E
    conv = cells * E * shape.conv_kernel
    elementwise = 9 * L * C + L * E * (2 + 3 * K + (K - 1) + 5) + K * L * N
    elementwise += 5 * cells * E
    if block < shape.local:
        conv += 9 * cells * C
        elementwise += L * C + 7 * cells * C
    if block == shape.depth - 1 and shape.readout is None:
        elementwise += 10 * L * C
    return Flops(
        gemm=L * C * 2 * E + projections + L * E * C,
        conv=conv,
        scan=K * (9 * L * E * N + L * E),
        elementwise=elementwise,
    )


@lru_cache(maxsize=8192)
def scan_block(shape: Shape, length: int) -> Flops:
    """Work of one block of scans.

    Elementwise, one operation for each elementary function: residual addition 1 and RMSNorm 4 a
    channel of C; a direction's conv bias 1, SiLU 4, timescale bias 1 and softplus 2 a channel of E;
    SiLU of the gate 4; joining the directions 1 for each one after the first and 1 for the mean.
    """
    E, directions = shape.inner, shape.directions
    shared = length * shape.dim * 2 * E + length * E * shape.dim
    projections = length * E * (shape.dt_rank + 2 * shape.states) + length * shape.dt_rank * E
    conv = length * E * shape.conv_kernel
    padding = (shape.conv_kernel - 1) * E * shape.conv_kernel
    scan = 9 * length * E * shape.states + 2 * length * E
    return Flops(
        gemm=shared + directions * projections,
        conv=directions * conv,
        scan=directions * scan,
        elementwise=5 * length * shape.dim + (8 * directions + 4 + directions) * length * E,
        padding=directions * padding,
        other_directions=(directions - 1) * (projections + conv + padding + scan),
    )


@lru_cache(maxsize=8192)
def headed_block(shape: Shape, length: int) -> Flops:
    """Work of one block of Mamba-2 and an MLP.

    Elementwise: residual additions 2 and RMSNorms 8 a channel of C; the mean token 2; of each token
    that the mixer reads, bias 1 and SiLU 4 a convolved channel, timescale bias 1 and softplus 2 a
    head; SiLU of the gate 4, the gate 1 and RMSNorm 4 a channel of E; biases 2, SiLU 4 and product
    1 a hidden channel; bias of the output 1 a channel of C.
    """
    C, E, N, H, M = shape.dim, shape.inner, shape.states, shape.scan_heads, shape.hidden
    read, convolved, taps = length + 1, E + 2 * N, shape.conv_kernel
    return Flops(
        gemm=read * C * (E + convolved + H) + length * E * C + 3 * length * C * M,
        conv=read * convolved * taps,
        scan=read * (5 * E * N + 3 * E + 2 * H),
        elementwise=length * (13 * C + 9 * E + 7 * M) + read * (5 * convolved + 3 * H),
        padding=(taps - 1) * convolved * taps + E * C,
    )


@lru_cache(maxsize=8192)
def staged_mixer(shape: Shape, block: int, length: int) -> Flops:
    """Work of the mixer half of a layer of VMamba on `length` tokens, those after a halving.

    Papers count all four directions, each of which has projections of its own: none of them is
    among `other_directions`.

    Elementwise: residual addition 1 and LayerNorm 7 a channel of C; SiLU 4 a channel of E; in each
    direction timescale bias 1 and softplus 2; joining the directions 1 for each after the first;
    LayerNorm 7 a channel of E. A halving adds the streams before it, 1 a channel of four tokens;
    bias 1 and LayerNorm 7 a channel of C.
    """
    here = shape.at(block)
    L, C, E, N, K = length, here.dim, here.inner, here.states, here.directions
    projections = L * E * (here.dt_rank + 2 * N) + L * here.dt_rank * E
    conv = L * E * here.conv_kernel
    elementwise = 8 * L * C + L * E * (4 + 3 * K + (K - 1) + 7)
    if block in shape.halvings:
        before = shape.width(block - 1)
        conv += 9 * L * before * C
        elementwise += 4 * L * before + 8 * L * C
    return Flops(
        gemm=2 * L * C * E + K * projections,
        conv=conv,
        scan=K * (9 * L * E * N + L * E),
        elementwise=elementwise,
    )


@lru_cache(maxsize=8192)
def staged_mlp(shape: Shape, block: int, length: int) -> Flops:
    """Work of the MLP half of a layer of VMamba; the last includes the norm and mean of all tokens.

    Elementwise: as in `mlp_block`; at the end a token takes 1 for the last addition, 7 for
    LayerNorm, 1 for the mean.
    """
    here = shape.at(block)
    work = mlp_block(here, length)
    if block == shape.depth - 1 and shape.readout is None:
        work = work + Flops(elementwise=9 * length * here.dim)
    return work


def staged_stem(shape: Shape) -> Flops:
    """Work of VMamba's stem and head, without the norm and mean, which are the last block's.

    The stem is two 3 x 3 convolutions of stride 2, the first to half the channels. Elementwise:
    bias 1 and LayerNorm 7 for each value of both, GELU 5 between; bias of the classifier 1.
    """
    P, C, half = shape.patches, shape.dim, shape.dim // 2
    # four places at half the resolution become one patch
    stem = Flops(
        conv=4 * P * half * 9 * shape.channels + P * C * 9 * half,
        elementwise=4 * P * half * 13 + P * C * 8,
    )
    if shape.readout is not None:
        return stem + Flops(**shape.readout._asdict())
    return stem + Flops(gemm=shape.widths[-1] * shape.classes, elementwise=shape.classes)


def stem_flops(shape: Shape) -> Flops:
    """Work outside the blocks: patch embedding, positions, final norm, neck and head.

    The patch embedding is a convolution, as tools see it; the layers of a stem before it work at
    half resolution, 7 x 7 the first and 3 x 3 the others, each with norm 2 and ReLU 1. Elementwise:
    bias of the patches 1 a channel, positions 1 for each token and, in a clip, 1 more for each
    patch token; then those of `classifier_flops`. A segmenter's head says itself what it costs.
    """
    if shape.widths:
        return staged_stem(shape)
    frames, rows, columns = shape.patch
    embedded = shape.patches * shape.dim
    pixels = frames * rows * columns * shape.channels
    half = 0  # values of one layer of the stem
    if shape.stem:
        # the stem halves the resolution, so that a patch has a quarter of the pixels
        pixels = rows * columns // 4 * STEM_WIDTH
        half = shape.patches * rows * columns // 4 * STEM_WIDTH
    positions = shape.length * shape.dim
    if shape.frames > 1:
        positions += embedded
    patches = Flops(
        conv=embedded * pixels + half * (shape.channels * 49 + (shape.stem - 1) * STEM_WIDTH * 9),
        elementwise=embedded + positions + 3 * half * shape.stem,
    )
    if shape.readout is not None:
        return patches + Flops(**shape.readout._asdict())
    return patches + classifier_flops(shape)


def classifier_flops(shape: Shape) -> Flops:
    """Work of final norm, neck and linear classifier, of a backbone of one stage.

    Elementwise: the last addition 1 and the norm (RMSNorm 4, LayerNorm 7) for each token that is
    read, and RMSNorm 4 once more for what the neck gives; bias of the head 1.
    """
    width = shape.read * (shape.neck or shape.dim)
    norms = (8 if shape.transforms else 5) * shape.read * shape.dim
    if shape.neck:
        norms += 4 * width
    if shape.walks:
        norms = 0  # of all tokens that are left, counted with the last block
    return Flops(
        gemm=shape.read * shape.dim * shape.neck + width * shape.classes,
        elementwise=norms + shape.classes,
    )


def count(
    shape: Shape,
    lengths: Sequence[int],
    reductions: Sequence[Cost] = (),
    on_grid: bool = False,
) -> Flops:
    """Work for one image with `lengths[i]` tokens in block i, and for the `reductions` between.

    `on_grid`: the reductions keep a rectangle (see `block_flops`).
    ValueError unless there is a length for each block.
    """
    if len(lengths) != shape.depth:
        raise ValueError(
            f"{shape.name} has {shape.depth} blocks, but {len(lengths)} lengths were given"
        )
    parts = [stem_flops(shape)]
    for block, length in enumerate(lengths):
        parts.append(block_flops(shape, block, length, on_grid))
    own = Flops(
        reduction_macs=sum(cost.matmul_macs for cost in reductions),
        reduction_arithmetic=sum(cost.arithmetic for cost in reductions),
    )
    return summed([*parts, own])


def reachable(shape: Shape, convention: str = "flops") -> float:
    """Share of the dense model's work that is in blocks behind a site, where tokens can be gone.

    The rest, patches, first block and head, no reduction makes less.
    """
    behind = Flops()
    for block in range(min(shape.sites, default=shape.depth), shape.depth):
        behind = behind + block_flops(shape, block, shape.lengths[block])
    return total(behind, convention) / total(dense(shape), convention)


def dense(shape: Shape) -> Flops:
    """Work for one image with nothing removed."""
    return count(shape, shape.lengths)

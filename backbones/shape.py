"""The sizes of a backbone, without weights: the input of the closed-form FLOPs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from math import isqrt
from typing import NamedTuple

STEM_WIDTH = 64
# the sizes that a kind of mixer has, beside those of all
KINDS = {
    "attention": ("heads", "hidden"),
    "a scan": ("states", "dt_rank", "conv_kernel", "directions"),
    "a scan with heads": ("states", "conv_kernel", "directions", "scan_heads", "hidden"),
    "scans in stages": ("states", "dt_rank", "conv_kernel", "directions", "hidden"),
}


class Work(NamedTuple):
    """Work for one image: of a block of another kind of mixer than the suite's, or of a head.

    Attributes:
        gemm: multiply-accumulates of matrix products.
        conv: multiply-accumulates of convolutions.
        scan: operations of selective scans, 9 E N + 2 E a token and direction.
        elementwise: operations of norms, activations and additions; in no total.

    """

    gemm: int
    conv: int = 0
    scan: int = 0
    elementwise: int = 0


@dataclass(frozen=True)
class Shape:
    """Sizes of a backbone on one input, in tokens or channels.

    Fields of a mixer that a backbone does not have are 0: a backbone of scans has no attention
    heads, one of attention no states. A backbone with another mixer has those sizes that it likes,
    and its own `work`.

    Attributes:
        name: the backbone's registered name.
        depth: number of blocks; the two halves of a transformer's layer are a block each.
        dim: width C of both token streams.
        inner: width E of the mixer, usually 2C; of all heads together in attention.
        states: state size N of the scan.
        dt_rank: rank R of the timescale projection.
        conv_kernel: taps of the depthwise convolution along the sequence, or on the grid.
        directions: scans per block (2 for a bidirectional mixer).
        patch: size of one patch as (frames, height, width).
        channels: channels of the input image.
        patches: patch tokens of the unreduced sequence, those of the first stage.
        rows: rows of patches of an image that is no square; 0: as many as columns.
        specials: class tokens or registers, which are never reduced.
        classes: outputs of the head.
        heads: attention heads.
        hidden: inner width of the MLP behind attention, or behind a scan with heads.
        frames: frames of a clip, 1 for images.
        read: tokens that the head reads side by side.
        neck: channels to which each of them is narrowed first, 0 without a neck.
        walks: whether the scans walk over the grid and share all parameters (PlainMamba): then the
            convolution is one on the grid, and the head reads the mean token.
        stem: convolutions of `STEM_WIDTH` channels at half resolution before the patches are made.
        scan_heads: heads of a scan of Mamba-2, each with one timescale; such a block reads a mean
            token first and ends in a gated MLP (Adventurer).
        local: number of first blocks that end in a 3 x 3 depthwise convolution on the grid.
        widths: channels of each stage of a backbone whose map of tokens is halved between stages;
            () where there is one stage. `dim`, `inner`, `dt_rank` and `hidden` are those of the
            first stage, and grow with the width.
        halvings: the blocks that begin by halving rows and columns of the map of patch tokens,
            rounded up: the first block of each stage after the first.
        readout: work of a segmenter's head, which takes the place of final norm and classifier.
        work: of a backbone with another mixer, (shape, block, tokens) -> `Work` of that block.

    """

    name: str
    depth: int
    dim: int
    inner: int
    states: int
    dt_rank: int
    conv_kernel: int
    directions: int
    patch: tuple[int, int, int]
    channels: int
    patches: int
    specials: int
    classes: int
    heads: int = 0
    hidden: int = 0
    frames: int = 1
    rows: int = 0
    read: int = 1
    neck: int = 0
    walks: bool = False
    stem: int = 0
    local: int = 0
    scan_heads: int = 0
    widths: tuple[int, ...] = ()
    halvings: tuple[int, ...] = ()
    readout: Work | None = None
    work: Callable[[Shape, int, int], Work] | None = None

    def __post_init__(self) -> None:
        """Refuse impossible sizes: a mistake in a backbone's `describe`, not a user's error."""
        present = () if self.work else KINDS[self._kind]
        # Zero would pass silently through every formula of FLOPs.
        positive = ("depth", "dim", "inner", "channels", "patches", "classes", "frames", *present)
        for field in positive:
            size = getattr(self, field)
            if size < 1:
                raise ValueError(f"{self.name}: {field} must be at least 1, not {size}")
        for fields in () if self.work else KINDS.values():
            for field in fields:
                if field not in present and getattr(self, field):
                    raise ValueError(f"{self.name}: {field} must be 0 where there is {self._kind}")
        if self.specials < 0 or min(self.patch) < 1:
            raise ValueError(f"{self.name}: specials and patch must be positive, not {self}")
        if self.patches % self.frames or self.neck < 0:
            raise ValueError(
                f"{self.name}: {self.patches} patches do not fill {self.frames} frames, "
                "or a neck below 0"
            )
        if self.rows and (self.frames > 1 or self.patches % self.rows):
            raise ValueError(f"{self.name}: {self.patches} patches do not fill {self.rows} rows")
        self._check_stages()

    @property
    def _kind(self) -> str:
        """Which of `KINDS` its mixer is."""
        if self.heads:
            return "attention"
        if self.scan_heads:
            return "a scan with heads"
        return "scans in stages" if self.widths else "a scan"

    def _check_stages(self) -> None:
        """Refuse stages that do not fit the blocks or the map of tokens."""
        if not self.widths and not self.halvings:
            return
        if len(self.widths) != len(self.halvings) + 1:
            raise ValueError(
                f"{self.name}: {len(self.widths)} widths for {len(self.halvings)} halvings, of "
                "which there must be one less"
            )
        if self.widths[0] != self.dim or min(self.widths) < 1:
            raise ValueError(
                f"{self.name}: widths {self.widths} must be positive and begin with dim, {self.dim}"
            )
        ascending = tuple(sorted(set(self.halvings)))
        inside = all(0 < block < self.depth for block in self.halvings)
        if ascending != self.halvings or not inside:
            raise ValueError(
                f"{self.name}: halvings {self.halvings} must ascend within blocks 1 to "
                f"{self.depth - 1}"
            )
        if self.in_halves and any(block % 2 for block in self.halvings):
            raise ValueError(
                f"{self.name}: halvings {self.halvings} must be before mixers, which are the even "
                "blocks"
            )
        if self.rectangle is None or self.specials:
            raise ValueError(
                f"{self.name}: stages need a square of patches of one image, and no special tokens"
            )

    @property
    def sites(self) -> tuple[int, ...]:
        """The blocks before which tokens may be reduced.

        All but the first and those that begin by halving the map; where blocks are halves of layers
        the MLP of each, as ToMe and EViT reduce between attention and MLP.
        """
        # Block 0 has no block before it whose trace could say what to remove.
        blocks = range(1, self.depth, 2 if self.in_halves else 1)
        return tuple(block for block in blocks if block not in self.halvings)

    @property
    def transforms(self) -> bool:
        """Whether its blocks are the two halves of a transformer's layers."""
        return bool(self.heads) and not self.work

    @property
    def in_halves(self) -> bool:
        """Whether its blocks are halves of layers: a mixer, then an MLP."""
        return self.transforms or (bool(self.widths) and not self.work)

    @property
    def timescales(self) -> int:
        """Timescales of one scan: one a head or one a channel; 0 without a scan."""
        return self.scan_heads or (self.inner if self.directions else 0)

    @property
    def head_width(self) -> int:
        """Width of one attention head, 0 without attention."""
        return self.inner // self.heads if self.heads else 0

    @property
    def side(self) -> int | None:
        """Patches along one side of a frame; None if they form no square."""
        if self.rows:
            return None
        side = isqrt(self.patches // self.frames)
        return side if self.frames * side**2 == self.patches else None

    @property
    def rectangle(self) -> tuple[int, int] | None:
        """Rows and columns of the unreduced patch tokens; None of a clip, or if they fill none."""
        if self.rows:
            return self.rows, self.patches // self.rows
        return (self.side, self.side) if self.frames == 1 and self.side else None

    @property
    def length(self) -> int:
        """Tokens of the unreduced sequence, specials included."""
        return self.patches + self.specials

    def stage(self, block: int) -> int:
        """Number of the stage of `block`, from 0."""
        return sum(halving <= block for halving in self.halvings)

    def width(self, block: int) -> int:
        """Channels of the tokens in `block`, after its halving."""
        return self.widths[self.stage(block)] if self.widths else self.dim

    def at(self, block: int) -> Shape:
        """The sizes in `block`, as those of a backbone of one stage; of one stage, this shape."""
        return self._stages[self.stage(block)] if self.halvings else self

    @cached_property
    def _stages(self) -> tuple[Shape, ...]:
        """The sizes in each stage (see `at`)."""
        stages = []
        for first, width in zip((0, *self.halvings), self.widths, strict=True):
            rows, columns = self.rectangles[first]
            # whole numbers, rounded up: a rank of nothing projects nothing
            grown = {}
            for name in ("inner", "dt_rank", "hidden"):
                grown[name] = -(-getattr(self, name) * width // self.dim)
            stages.append(
                replace(
                    self,
                    dim=width,
                    patches=rows * columns,
                    rows=rows if self.rows else 0,
                    widths=(width,),
                    halvings=(),
                    **grown,
                )
            )
        return tuple(stages)

    @cached_property
    def rectangles(self) -> tuple[tuple[int, int], ...]:
        """Rows and columns of the unreduced patch tokens in each block; () where they fill none."""
        if self.rectangle is None:
            return ()
        now, rectangles = self.rectangle, []
        for block in range(self.depth):
            now = halved(now) if block in self.halvings else now
            rectangles.append(now)
        return tuple(rectangles)

    @cached_property
    def lengths(self) -> tuple[int, ...]:
        """Tokens of the unreduced sequence in each block, after its halving, specials included."""
        if not self.halvings:
            return (self.length,) * self.depth
        # stages are of images without special tokens
        return tuple(rows * columns for rows, columns in self.rectangles)


def halved(rectangle: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of a map between two stages: half as many, rounded up."""
    rows, columns = rectangle
    return (rows + 1) // 2, (columns + 1) // 2

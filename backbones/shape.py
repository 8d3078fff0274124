"""The sizes of a backbone: all that a cost model has to know about it, and no weights."""

from dataclasses import dataclass
from math import isqrt

STEM_WIDTH = 64


@dataclass(frozen=True)
class Shape:
    """Sizes of a backbone on one input; everything counted in tokens or channels.

    A backbone of scans has no attention heads, one of attention no states: what it has not got is
    0.

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
        patches: patch tokens of the unreduced sequence.
        specials: class tokens or registers, which no reduction touches.
        classes: outputs of the head.
        heads: attention heads.
        hidden: inner width of the MLP behind attention.
        frames: frames of a clip, 1 for images.
        read: tokens that the head reads side by side.
        neck: channels to which each of them is narrowed first, 0 if it is not.
        walks: whether the scans walk over the grid and share all but the scan, the convolution being one of the grid,
            and the head reads the mean token.
        stem: convolutions of `STEM_WIDTH` channels at half resolution before the one that makes patches.
        local: blocks behind which a 3 x 3 depthwise convolution of the grid stands, the first ones.

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
    read: int = 1
    neck: int = 0
    walks: bool = False
    stem: int = 0
    local: int = 0

    def __post_init__(self) -> None:
        """Refuse sizes no backbone can have (a slip in a backbone's `describe`, not a user's error)."""
        scans, attention = ("states", "dt_rank", "conv_kernel", "directions"), ("heads", "hidden")
        present, absent = (attention, scans) if self.heads else (scans, attention)
        for field in (
            "depth",
            "dim",
            "inner",
            "channels",
            "patches",
            "classes",
            "frames",
            "read",
            *present,
        ):
            if getattr(self, field) < 1:
                raise ValueError(
                    f"{self.name}: {field} must be at least 1, not {getattr(self, field)}"
                )
        for field in absent:
            if getattr(self, field):
                raise ValueError(
                    f"{self.name}: {field} must be 0 where there {'is' if self.heads else 'is no'} attention"
                )
        if self.specials < 0 or min(self.patch) < 1:
            raise ValueError(f"{self.name}: specials and patch must be positive, not {self}")
        if self.patches % self.frames or self.neck < 0:
            raise ValueError(
                f"{self.name}: {self.patches} patches do not fill {self.frames} frames, or a neck below 0"
            )

    @property
    def sites(self) -> tuple[int, ...]:
        """Blocks before which tokens may be reduced: all but the first; in a transformer, each layer's MLP."""
        return tuple(range(1, self.depth, 2 if self.heads else 1))

    @property
    def head_width(self) -> int:
        """Width of one attention head, 0 without attention."""
        return self.inner // self.heads if self.heads else 0

    @property
    def side(self) -> int | None:
        """Patches along one side of a frame; None where they form no square."""
        side = isqrt(self.patches // self.frames)
        return side if self.frames * side**2 == self.patches else None

    @property
    def length(self) -> int:
        """Tokens of the unreduced sequence, specials included."""
        return self.patches + self.specials

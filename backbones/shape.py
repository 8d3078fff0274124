"""The sizes of a backbone: all that a cost model has to know about it, and no weights."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """Sizes of a backbone on one input; everything counted in tokens or channels.

    Attributes:
        name: the backbone's registered name.
        depth: number of blocks.
        dim: width C of both token streams.
        inner: width E of the mixer, usually 2C.
        states: state size N of the scan.
        dt_rank: rank R of the timescale projection.
        conv_kernel: taps of the depthwise convolution along the sequence.
        directions: scans per block (2 for a bidirectional mixer).
        patch: size of one patch as (frames, height, width).
        channels: channels of the input image.
        patches: patch tokens of the unreduced sequence.
        specials: class tokens or registers, which no reduction touches.
        classes: outputs of the head.

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

    def __post_init__(self) -> None:
        """Refuse sizes no backbone can have (a slip in a backbone's `describe`, not a user's error)."""
        counts = ("depth", "dim", "inner", "dt_rank", "conv_kernel", "directions", "channels", "patches", "classes")
        for field in counts:
            if getattr(self, field) < 1:
                raise ValueError(f"{self.name}: {field} must be at least 1, not {getattr(self, field)}")
        if self.states < 1 or self.specials < 0 or min(self.patch) < 1:
            raise ValueError(f"{self.name}: states, specials and patch must be positive, not {self}")

    @property
    def length(self) -> int:
        """Tokens of the unreduced sequence, specials included."""
        return self.patches + self.specials

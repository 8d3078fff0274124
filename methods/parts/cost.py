"""What a reduction costs for one image, in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


# A protocol, so that the cost of a part can be had for any sizes, without a backbone.
class Widths(Protocol):
    """Sizes of a backbone that a reduction's cost depends on; `backbones.shape.Shape` fits."""

    @property
    def dim(self) -> int:
        """Width C of both token streams."""

    @property
    def inner(self) -> int:
        """Width E of the mixer."""

    @property
    def states(self) -> int:
        """State size N of the scan."""

    @property
    def specials(self) -> int:
        """Class tokens or registers."""

    @property
    def directions(self) -> int:
        """Scans of a block, 0 where there is none."""

    @property
    def timescales(self) -> int:
        """Timescales of one scan: E, one a channel, or H, one a head; 0 without a scan."""

    @property
    def heads(self) -> int:
        """Attention heads, 0 without attention."""

    @property
    def head_width(self) -> int:
        """Width of one of them."""


@dataclass(frozen=True)
class Cost:
    """Work of one reduction of one image.

    ``matmul_macs``  multiply-accumulates inside matrix products: what fvcore and FlopCounterMode
                     see
    ``arithmetic``   elementwise additions, multiplications, divisions, roots and exponentials of
                     score, norm and merge; comparisons, sorts, gathers and index arithmetic are
                     counted as nothing
    """

    # Kept apart: counters of FLOPs see matrix products only, and totals follow that convention.
    matmul_macs: int
    arithmetic: int

    def __add__(self, other: Cost) -> Cost:
        """Both together."""
        return Cost(self.matmul_macs + other.matmul_macs, self.arithmetic + other.arithmetic)


NO_COST = Cost(0, 0)

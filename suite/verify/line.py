"""One thing that was looked at, and whether it holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["holds", "fails", "absent", "doubted"]


@dataclass(frozen=True)
class Line:
    """What came of one thing.

    ``part``    kernels, backbones, methods, checkpoints or FLOPs
    ``state``   holds or fails; absent: not there to be looked at; doubted: a printed figure that cannot be right
    ``detail``  what was found, or what is wrong
    """

    part: str
    name: str
    state: State
    detail: str

    @property
    def text(self) -> str:
        """For a terminal."""
        return f"{self.part:<11} {self.state:<7} {self.name}: {' '.join(self.detail.split())}"


def judged(part: str, name: str, problem: str, otherwise: str) -> Line:
    """`problem` makes a failure of it; empty, it holds, with `otherwise` to say."""
    return Line(part, name, "fails" if problem else "holds", problem or otherwise)

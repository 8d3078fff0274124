"""The result of one check, as a line."""

from __future__ import annotations

from typing import Literal, NamedTuple

State = Literal["holds", "fails", "absent", "doubted"]


class Line(NamedTuple):
    """The result of one check.

    ``part``    kernels, backbones, methods or FLOPs
    ``state``   holds or fails; absent: not installed here; doubted: a printed figure that must be
                wrong
    ``detail``  what agrees, or what is wrong
    """

    part: str
    name: str
    state: State
    detail: str

    @property
    def text(self) -> str:
        """The line for a terminal."""
        return f"{self.part:<11} {self.state:<7} {self.name}: {' '.join(self.detail.split())}"


def judged(part: str, name: str, problem: str, otherwise: str) -> Line:
    """A line that fails because of `problem`; if that is empty it holds, for `otherwise`."""
    return Line(part, name, "fails" if problem else "holds", problem or otherwise)

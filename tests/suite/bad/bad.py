"""The form of the catalogue's rows, and the commands that most of them go through."""

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = "ROOT"  # in a line: the folder in which `make` has put things
MINI = "--backbones vim_mini --checkpoint random --data blots --images all --gallery 0 --threads 1"
RUN = (
    "--backbones vim_mini --checkpoint random --images all --threads 1 --methods mtr "
    "--batch-size 64"
)


def nothing(root: Path) -> None:
    """Lines that are wrong by themselves."""


@dataclass(frozen=True)
class Bad:
    """One bad input: what is wrong, the command line that meets it, and what the error must say.

    ``says`` is a regular expression for the line on stderr, the fix included; ``make`` puts the
    input below a folder, and may return the rest of the line.
    """

    what: str
    line: str
    says: str
    make: Callable[[Path], object] = nothing

    def put(self, root: Path) -> list[str]:
        """Make the input below `root`; the command line that meets it."""
        made = self.make(root)
        line = f"{self.line} {made}" if isinstance(made, str) else self.line
        return [part.replace(ROOT, str(root)) for part in shlex.split(line)]


def written(name: str, content: bytes | str) -> Callable[[Path], object]:
    """Puts one file below the folder."""

    def make(root: Path) -> None:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    return make

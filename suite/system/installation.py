"""Make sure that `backbones`, `methods` and `reports` are our packages, not the user's.

Their names are common, and ``python -m suite`` puts the working folder first on the path: a user's
own ``methods.py`` there would be imported in place of ours. This module imports the standard
library only.
"""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path

SIBLINGS = ("backbones", "methods", "reports")
ROOT = Path(__file__).resolve().parents[2]


def prefer_own_packages(root: Path = ROOT) -> str | None:
    """Let the siblings be imported from `root`, as `suite` was; the problem if they cannot be.

    Entries of ``sys.path`` that shadow a sibling are moved just behind `root` and stay importable,
    here and in child processes, which inherit the path. All other entries keep their order.
    """
    sys.path[:] = reordered(sys.path, root)
    for name in SIBLINGS:
        origin = _origin(name)
        if origin is None:
            return f"'{name}' is missing from {root}: install mamba-token-suite again"
        # Moving the path does not help if somebody imported theirs before.
        if not origin.is_relative_to(root / name):
            return (
                f"'{name}' was imported from {origin}, not from {root}: "
                "import suite before it, or rename it"
            )
    return None


def reordered(path: list[str], root: Path) -> list[str]:
    """`path` with shadowing entries behind `root`, which is appended if it is missing."""
    entries = list(path)
    own = [index for index, entry in enumerate(entries) if _same(entry, root)]
    if not own:
        entries.append(str(root))
    first = own[0] if own else len(entries) - 1
    before: list[str] = []
    shadowing: list[str] = []
    for entry in entries[:first]:
        (shadowing if _shadows(entry) else before).append(entry)
    return [*before, entries[first], *shadowing, *entries[first + 1 :]]


def _same(entry: str, root: Path) -> bool:
    # An empty entry is the working folder.
    return Path(entry or ".").resolve() == root


def _shadows(entry: str) -> bool:
    """Whether `entry` has a module or package of a sibling's name."""
    for name in SIBLINGS:
        spec = PathFinder.find_spec(name, [entry])
        # A folder without an __init__.py has no origin, and never shadows a package.
        if spec is not None and spec.origin is not None:
            return True
    return False


def _origin(name: str) -> Path | None:
    """The file that ``import name`` gives or has given."""
    spec = find_spec(name)
    return Path(spec.origin).resolve() if spec is not None and spec.origin is not None else None

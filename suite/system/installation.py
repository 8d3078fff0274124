"""Makes sure that `backbones`, `methods` and `reports` are ours, whatever lies in the working folder.

Their names are common, and ``python -m suite`` puts the working folder first on the path: a user's own
``methods.py`` there would be imported in place of ours. Only the standard library is used here.
"""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path

SIBLINGS = ("backbones", "methods", "reports")
ROOT = Path(__file__).resolve().parents[2]


def secure(root: Path = ROOT) -> str | None:
    """Let the siblings come from `root`, the folder that `suite` itself came from; what is wrong if they cannot.

    Entries of ``sys.path`` that shadow a sibling are moved just behind `root` and stay importable,
    here and in child processes, which inherit the path. Nothing else changes place.
    """
    sys.path[:] = reordered(sys.path, root)
    for name in SIBLINGS:
        found = _origin(name)
        if found is None:
            return f"'{name}' is missing from {root}: install mamba-token-suite again"
        if not found.is_relative_to(root / name):
            return f"'{name}' was imported from {found}, not from {root}: import suite before it, or rename it"
    return None


def reordered(path: list[str], root: Path) -> list[str]:
    """`path` with every entry that shadows a sibling behind `root`, which is added at the end if it is not there."""
    entries = list(path)
    places = [index for index, entry in enumerate(entries) if _same(entry, root)]
    if not places:
        entries.append(str(root))
    first = places[0] if places else len(entries) - 1
    shadowing = [entry for entry in entries[:first] if _shadows(entry)]
    before = [entry for entry in entries[:first] if entry not in shadowing]
    return [*before, entries[first], *shadowing, *entries[first + 1 :]]


def _same(entry: str, root: Path) -> bool:
    return Path(entry or ".").resolve() == root


def _shadows(entry: str) -> bool:
    """Whether a sibling's name is a module or package in `entry`; a plain folder of that name does not count."""
    specs = (PathFinder.find_spec(name, [entry]) for name in SIBLINGS)
    return any(spec is not None and spec.origin is not None for spec in specs)


def _origin(name: str) -> Path | None:
    """The file that ``import name`` gives or has given."""
    spec = find_spec(name)
    return Path(spec.origin).resolve() if spec is not None and spec.origin is not None else None

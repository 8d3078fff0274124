"""Python files of users: ``path/to/file.py:NAME`` names a method, a backbone or a data set.

A file is run once a process, as a module that is called by its path. So objects of its classes can
be sent to other processes, each of which runs the file in its turn.
"""

from __future__ import annotations

import difflib
import hashlib
import inspect
import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

from backbones.common.errors import UserError, announce_foreign_code, describe_error
from backbones.common.paths import local_path

PREFIX = "file:"  # of the names of modules made of users' files
DIGITS = 16  # hexadecimal ones of a hash of code
# A worker on another machine has a copy of a file, while names go on saying where it was.
_ORIGINAL: dict[Path, Path] = {}
_LENT: dict[Path, Path] = {}
_RUN: dict[Path, str] = {}  # hashes of the files that this process ran


class InFile(NamedTuple):
    """A variable of a user's file, ``file`` as it was written."""

    file: str
    variable: str

    @property
    def path(self) -> Path:
        """Where the file is, or was on the machine that the name is from."""
        path = local_path(self.file).resolve()
        return _ORIGINAL.get(path, path)


def in_file(name: str) -> InFile | None:
    """File and variable of ``path/to/file.py:NAME``; None for a name that is no such.

    UserError for a file without a variable.
    """
    file, _, variable = name.rpartition(":")
    if name.endswith(".py") or (file.endswith(".py") and not variable):
        file = name.removesuffix(":")
        raise UserError(f"'{file}' is a file: write {file}:NAME, NAME being a variable in it")
    return InFile(file, variable) if file.endswith(".py") else None


def load(named: InFile) -> Any:
    """Run the file unless it was, and return what the variable holds.

    UserError if there is no such file or variable, if the file fails, or was changed after it ran.
    """
    module = _module(named.path)
    if not hasattr(module, named.variable):
        close = difflib.get_close_matches(named.variable, vars(module), n=1)
        mend = f"did you mean {close[0]}?" if close else "name a variable that it has"
        raise UserError(f"{named.path} has no '{named.variable}': {mend}")
    return getattr(module, named.variable)


def _module(path: Path) -> ModuleType:
    name, copy = module_name(path), _LENT.get(path, path)
    if name in sys.modules:
        # Results are stored under a hash of the code: they must not be of an older one.
        if copy.is_file() and path in _RUN and hashed(copy) != _RUN[path]:
            raise UserError(
                f"{path} was changed after it was run: start again (a notebook: restart its kernel)"
            )
        return sys.modules[name]
    if not copy.is_file():
        raise UserError(f"there is no file {path}: give the path of a Python file")
    announce_foreign_code(str(path))
    digest = hashed(copy)
    try:
        module = import_module(name)
    # A script may end itself by sys.exit, which must not end the suite.
    except (Exception, SystemExit) as error:
        raise UserError(
            f"{path} cannot be run ({describe_error(error)}): correct the file"
        ) from error
    _RUN[path] = digest
    return module


def module_name(path: Path) -> str:
    """What the file is called among Python's modules: its path, in letters that a name may have."""
    # A dot would make Python look for a package first.
    return PREFIX + quote(str(path)).replace(".", "%2E")


class Finder(MetaPathFinder):
    """Finds modules made of users' files, in whatever process an object of theirs arrives."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The file that a name stands for."""
        if not fullname.startswith(PREFIX):
            return None
        file = Path(unquote(fullname.removeprefix(PREFIX)))
        return spec_from_file_location(fullname, _LENT.get(file, file))


sys.meta_path.append(Finder())


def lend(named: InFile, original: Path, copy: Path) -> None:
    """Run the file `copy` wherever `named` is asked for, which was at `original` elsewhere."""
    _ORIGINAL[local_path(named.file).resolve()] = original
    _LENT[original] = copy


def digest(named: InFile) -> str:
    """Hash of the file as it was run, or as it is now."""
    path = named.path
    return _RUN.get(path) or hashed(_LENT.get(path, path))


def source_digest(thing: Any) -> str | None:
    """Hash of the file in which a function or a class is defined; None if it is in none."""
    try:
        file = inspect.getsourcefile(thing)
    except TypeError:  # an object of a kind that no file defines
        return None
    return hashed(Path(file)) if file else None


def hashed(path: Path) -> str:
    """Hash of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:DIGITS]


def told_apart(name: str, rivals: Iterable[str]) -> str:
    """The shortest words for the file in `name` that fit none of its `rivals`; empty without one.

    The file's stem, then with its variable, then with more and more folders.
    """
    own = _words(name)
    taken = {words for rival in rivals for words in _words(rival)}
    # One file under two spellings has the same words: what they name is one.
    return next((words for words in own if words not in taken), own[0] if own else "")


def _words(name: str) -> list[str]:
    named = in_file(name)
    if named is None:
        return []
    parts = named.path.with_suffix("").parts
    tails = ["/".join(parts[-count:]) for count in range(1, len(parts))]
    return [tails[0], *(f"{tail}:{named.variable}" for tail in tails)]

"""Named collections whose entries are imported on first use, so that listing them is fast."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from backbones.common.errors import UserError, announce_foreign_code, describe_error

T = TypeVar("T")
# origins: the suite's own, and what was registered in this process
BUILT_IN, ADDED = "built-in", "added"


def nearest(name: str, names: Iterable[str]) -> str:
    """The hint for an unknown `name`: the nearest of `names`, or all of them if none is near."""
    names = sorted(names)
    close = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.5)
    return f"did you mean {close[0]}?" if close else f"known: {', '.join(names)}"


@cache
def _plugins(group: str) -> Mapping[str, EntryPoint]:
    """The entry points of `group` by name; read once a process, from the files of every package."""
    return {point.name: point for point in entry_points(group=group)}


def _imported(target: str) -> Any:
    module, attribute = target.split(":")
    return getattr(import_module(module), attribute)


class Registry(Generic[T]):
    """Names to objects of one kind, built-in ones, plugins and those added in this process.

    Other packages register plugins through the entry-point group; they cannot replace a built-in
    name.
    """

    def __init__(
        self, kind: str, builtin: Mapping[str, str | T], group: str, base: str = ""
    ) -> None:
        """`kind` is the word used in messages, `group` the entry-point group of plugins.

        A `builtin` entry is the object or ``module:attribute``, imported on first use; so is
        `base`, the class that plugins must be instances of.
        """
        self.kind = kind
        self.group = group
        self._base = base
        self._builtin = builtin
        self._added: dict[str, T] = {}
        self._announced: set[str] = set()

    def __iter__(self) -> Iterator[str]:
        """Built-in names, then plugins, then names added in this process."""
        # Keys of a dictionary: unique, in order of insertion.
        return iter(dict.fromkeys([*self._builtin, *_plugins(self.group), *self._added]))

    def __contains__(self, name: object) -> bool:
        """Whether `name` is registered."""
        return name in set(self)

    def __getitem__(self, name: str) -> T:
        """The object called `name`; UserError with the nearest names if it is not registered."""
        if name in self._builtin:
            entry = self._builtin[name]
            return _imported(entry) if isinstance(entry, str) else entry
        if name in self._added:
            return self._added[name]
        plugin = _plugins(self.group).get(name)
        if plugin is None:
            raise UserError(f"unknown {self.kind} '{name}': {nearest(name, self)}")
        return self._load(name, plugin)

    def _load(self, name: str, plugin: EntryPoint) -> T:
        # Once a process: the line is for the user to know whose code runs.
        if name not in self._announced:
            owner = "an unknown distribution"
            if plugin.dist:
                owner = f"{plugin.dist.name} {plugin.dist.version}"
            announce_foreign_code(f"{self.kind} '{name}' of {owner}: {plugin.value}")
            self._announced.add(name)
        try:
            loaded = plugin.load()
        # A plugin's import may fail in any way, even by leaving the interpreter.
        except (Exception, SystemExit) as error:
            raise UserError(
                f"{self.kind} '{name}' of plugin '{plugin.value}' cannot be imported "
                f"({describe_error(error)}): fix or uninstall it"
            ) from error
        if self._base and not isinstance(loaded, _imported(self._base)):
            raise UserError(
                f"{self.kind} '{name}' of plugin '{plugin.value}' is a {type(loaded).__name__}, "
                f"not a {self._base.replace(':', '.')}: fix or uninstall it"
            )
        return loaded

    def usable(self) -> Iterator[tuple[str, T]]:
        """Every name with its object; a plugin without one is left out, in a line on stderr."""
        for name in self:
            try:
                yield name, self[name]
            except UserError as error:
                print(f"left out: {error}", file=sys.stderr)

    def add(self, name: str, item: T) -> None:
        """Register `item` for this process; UserError if the name is taken."""
        # Results are stored under names: one must not mean two things.
        if name in self:
            raise UserError(f"{self.kind} '{name}' exists already: choose another name")
        self._added[name] = item

    def origin(self, name: str) -> str:
        """Where `name` comes from: ``built-in``, the plugin's target, or ``added``."""
        if name in self._builtin:
            return BUILT_IN
        plugin = _plugins(self.group).get(name)
        return plugin.value if plugin else ADDED

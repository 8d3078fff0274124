"""A named collection whose entries are imported on first use, so that listing them is fast."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from backbones.common.errors import UserError, announce

T = TypeVar("T")


def nearest(name: str, known: Iterable[str]) -> str:
    """What to say after an unknown `name`: the nearest known names, else all of them."""
    known = sorted(known)
    close = difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(known)}"


class Registry(Generic[T]):
    """Names to objects of one kind, given as ``module:attribute`` and resolved when asked for.

    Third parties add theirs through the entry-point group; a name of ours cannot be taken over.
    """

    def __init__(self, kind: str, builtin: dict[str, str], group: str) -> None:
        """`kind` is the word used in messages, `group` the entry-point group of plugins."""
        self.kind = kind
        self.group = group
        self._builtin = builtin
        self._added: dict[str, T] = {}
        self._loaded: set[str] = set()

    def _plugins(self) -> dict[str, EntryPoint]:
        return {point.name: point for point in entry_points(group=self.group)}

    def __iter__(self) -> Iterator[str]:
        """Names in the order of registration: ours, plugins, then those added in this process."""
        ours = list(self._builtin)
        plugins = [name for name in self._plugins() if name not in self._builtin]
        return iter(dict.fromkeys([*ours, *plugins, *self._added]))

    def __contains__(self, name: str) -> bool:
        """Whether `name` can be asked for."""
        return name in set(self)

    def __getitem__(self, name: str) -> T:
        """The object called `name`; UserError with the nearest names if there is none."""
        if name in self._builtin:
            module, attribute = self._builtin[name].split(":")
            found: Any = getattr(import_module(module), attribute)
            return found
        if name in self._added:
            return self._added[name]
        plugin = self._plugins().get(name)
        if plugin is None:
            raise UserError(f"unknown {self.kind} '{name}': {nearest(name, self)}")
        if name not in self._loaded:
            owner = (
                f"{plugin.dist.name} {plugin.dist.version}"
                if plugin.dist
                else "an unknown distribution"
            )
            announce(f"{self.kind} '{name}' of {owner}: {plugin.value}")
            self._loaded.add(name)
        try:
            return plugin.load()
        except (Exception, SystemExit) as error:
            raise UserError(
                f"{self.kind} '{name}' of plugin '{plugin.value}' cannot be imported "
                f"({type(error).__name__}: {' '.join(str(error).split())[:200]}): mend or uninstall it"
            ) from error

    def add(self, name: str, item: T) -> None:
        """Register `item` for this process; a name that is taken is an error."""
        if name in self:
            raise UserError(f"{self.kind} '{name}' exists already: choose another name")
        self._added[name] = item

    def origin(self, name: str) -> str:
        """Where `name` comes from: ``built-in``, the plugin's target, or ``added``."""
        if name in self._builtin:
            return "built-in"
        plugin = self._plugins().get(name)
        return plugin.value if plugin else "added"

"""Method texts: ``mtr``, ``tome[order=appended,weights=mean]``, ``path/to/file.py:MINE``.

``Gate=file.py:GATE`` calls a method by another name in tables and figures. ``mtr@falling`` gives
it a schedule of its own in place of the run's; the planner checks the names of schedules.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from backbones.common.errors import UserError
from backbones.common.naming import ALIAS, settings, split
from backbones.common.user_files import in_file, load, told_apart
from methods import METHODS
from methods.base import NO_TRACE, WINDOW, Method, Value, shown

if TYPE_CHECKING:
    from methods.composition import Composition

# Longer texts are refused before they meet the pattern, which backtracks over runs of spaces.
LONGEST = 1000  # characters of a method's text
TEXT = re.compile(
    ALIAS + r"(?P<name>[^\[\],]+?)\s*(\[(?P<options>[^\[\]]*)\])?"
    r"\s*(@\s*(?P<schedule>[a-z][a-z0-9-]*))?"
)


@dataclass(frozen=True)
class MethodSpec:
    """A method, its options that differ from the defaults, and its schedule; empty: the run's.

    A class-token window that the user spelled out is among the options at its default too.

    ``alias``     what the user calls it instead
    ``file``      what its label adds of its file, since another has the same name; or empty
    """

    name: str
    options: Mapping[str, Value]
    schedule: str = ""
    alias: str = ""
    file: str = field(default="", compare=False)

    @property
    def method(self) -> Method:
        """The method itself."""
        return find(self.name)

    @property
    def text(self) -> str:
        """The canonical text: defaults left out, but for a spelled-out window, options sorted."""
        text = self._settings_after(self.name)
        return f"{self.alias}={text}" if self.alias else text

    @property
    def untuned(self) -> str:
        """The text without alias, schedule and class-token window: the name in a table of tries."""
        options = {name: value for name, value in self.options.items() if name != WINDOW}
        return MethodSpec(self.name, options).text

    @property
    def label(self) -> str:
        """The name in tables and figures: of a method in a file its own, without the path."""
        if self.alias:
            return self.alias
        name = self.shown_name
        return self._settings_after(f"{name} ({self.file})" if self.file else name)

    @property
    def shown_name(self) -> str:
        """The name without alias, options and schedule: of a method in a file its own."""
        return self.method.name if in_file(self.name) else self.name

    def _settings_after(self, name: str) -> str:
        values = ",".join(
            f"{option}={shown(self.options[option])}" for option in sorted(self.options)
        )
        text = f"{name}[{values}]" if values else name
        return f"{text}@{self.schedule}" if self.schedule else text

    def composition(self, provides: frozenset[str] = NO_TRACE) -> Composition | None:
        """Compose it for a backbone with these trace fields; None if no sequence is reduced."""
        return self.method.compose(provides, **self.options)

    def __hash__(self) -> int:
        """By the canonical text."""
        # the options are a dictionary, which has no hash
        return hash(self.text)

    def __str__(self) -> str:
        """The canonical text."""
        return self.text


def find(name: str) -> Method:
    """The method registered as `name`, or the one that ``path/to/file.py:NAME`` points at."""
    named = in_file(name)
    if named is None:
        return METHODS[name]
    method = load(named)
    if not isinstance(method, Method):
        raise UserError(
            f"'{named.variable}' of {named.file} is not a methods.Method: "
            "name a variable that holds one"
        )
    return method


def parse(text: str) -> MethodSpec:
    """Read one method's text; UserError names what is wrong and the nearest right word."""
    match = TEXT.fullmatch(text.strip()) if len(text) <= LONGEST else None
    if match is None:
        raise UserError(
            f"'{text[:80]}' is not a method: write name or name[option=value,option=value] "
            "or name@schedule"
        )
    name = match["name"].strip()
    before, at, schedule = name.partition("@")
    if at and match["options"] is not None and in_file(name) is None:
        mended = f"{before}[{match['options']}]@{schedule}"
        raise UserError(f"'{text}': a schedule stands behind the options, as in {mended}")
    method = find(name)
    options = method.settings(settings(match["options"] or "", text))
    spec = MethodSpec(name, options, match["schedule"] or "", (match["alias"] or "").strip())
    # Built once here, so that contradictory options are refused before a run starts.
    spec.composition()
    return spec


def parse_list(text: str) -> list[MethodSpec]:
    """Read methods separated by commas; a repeated one is kept once, at its first place."""
    specs = parse_all(split(text))
    if not specs:
        raise UserError("no method is named: give a list such as mtr,tome[weights=mean]")
    return specs


def parse_all(texts: Iterable[str]) -> list[MethodSpec]:
    """Read several methods' texts; each is kept once, and two of one name name their files.

    UserError where two different methods are given one name by the user.
    """
    specs = list(dict.fromkeys(map(parse, texts)))
    # The dense model and the baselines are in a run unasked, the first as "dense".
    registered = {*METHODS, "dense"}
    distinct = []
    for spec in specs:
        others = [other for other in specs if other is not spec]
        if spec.alias:
            if spec.alias in {*registered, *(other.label for other in others)}:
                raise UserError(
                    f"two methods are called '{spec.alias}': give each a name of its own"
                )
            distinct.append(spec)
            continue
        # With whatever options: an ablation varies those, and none may pass for the other's.
        rivals = [
            other
            for other in others
            if other.name != spec.name and other.shown_name == spec.shown_name
        ]
        foreign = in_file(spec.name) and spec.shown_name in registered
        file = ""
        if rivals or foreign:
            file = told_apart(spec.name, [rival.name for rival in rivals])
        distinct.append(replace(spec, file=file))
    return distinct

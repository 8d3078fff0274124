"""Names with settings on the command line: ``name[setting=value,setting=value]``.

``Mine=name[setting=value]`` calls it otherwise in tables and figures.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from backbones.common.errors import UserError

LONGEST = 1000  # characters of a name with its settings
ALIAS = r"((?P<alias>\w[\w .+-]*?)\s*=\s*)?"
BRACKETED = re.compile(ALIAS + r"(?P<name>[^\[\],]+?)\s*(\[(?P<settings>[^\[\]]*)\])?")
Value = bool | int | float | str


class Named(NamedTuple):
    """The parts of a name: the user's own for it or nothing, its own, and its settings."""

    alias: str
    name: str
    settings: dict[str, Value]


def split(text: str) -> list[str]:
    """The parts of a list: split at the commas outside brackets."""
    parts = re.split(r",(?![^\[]*\])", text)
    return [part.strip() for part in parts if part.strip()]


def settings(text: str, whole: str) -> dict[str, str]:
    """Parse ``key=value,key=value``; UserError, quoting `whole`, for anything else."""
    parsed: dict[str, str] = {}
    for part in split(text):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not (key and equals and value):
            raise UserError(f"'{part}' in '{whole}' is not an option: write name=value")
        # The last of two would win silently.
        if key in parsed:
            raise UserError(f"option '{key}' is given twice in '{whole}': keep one")
        parsed[key] = value
    return parsed


def typed(text: str) -> Value:
    """Convert a value to bool, int or float if it reads as one; otherwise it stays text."""
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def parts(text: str) -> Named:
    """Split `text` into the user's name, a name, and settings; UserError for another form."""
    # The length is bounded before matching, whose time grows faster than the text's length.
    match = BRACKETED.fullmatch(text.strip()) if len(text) <= LONGEST else None
    if match is None:
        raise UserError(
            f"'{text[:80]}' is not a name: write name or name[setting=value,setting=value]"
        )
    values = settings(match["settings"] or "", text)
    typed_values = {key: typed(value) for key, value in values.items()}
    return Named((match["alias"] or "").strip(), match["name"].strip(), typed_values)


def bracketed(text: str) -> tuple[str, dict[str, Value]]:
    """The name in `text` and the settings in its brackets; UserError for another form."""
    _, name, values = parts(text)
    return name, values


def with_settings(text: str, **more: Value) -> str:
    """Add settings to the name `text`, which may have some already; the inverse of `parts`."""
    alias, name, values = parts(text)
    inside = ",".join(f"{key}={_written(value)}" for key, value in (values | more).items())
    return f"{alias}{'=' if alias else ''}{name}{f'[{inside}]' if inside else ''}"


def without(text: str, setting: str) -> tuple[str, Value | None]:
    """The name `text` without one of its settings, and that setting's value, None if it has none.

    A text without the setting comes back as it was written.
    """
    alias, name, values = parts(text)
    if setting not in values:
        return text, None
    value = values.pop(setting)
    bare = f"{alias}{'=' if alias else ''}{name}"
    return with_settings(bare, **values), value


def _written(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)

"""How things are named on the command line: ``name`` or ``name[setting=value,setting=value]``, lists at commas."""

from __future__ import annotations

import re

from backbones.common.errors import UserError

LONGEST = 1000  # characters of a name with its settings
BRACKETED = re.compile(r"(?P<name>[^\[\],]+?)\s*(\[(?P<settings>[^\[\]]*)\])?")
Value = bool | int | float | str


def split(text: str) -> list[str]:
    """A list's parts: split at the commas outside brackets."""
    parts = re.split(r",(?![^\[]*\])", text)
    return [part.strip() for part in parts if part.strip()]


def settings(text: str, whole: str) -> dict[str, str]:
    """``key=value,key=value`` as a dictionary; UserError, quoting `whole`, for anything else."""
    found: dict[str, str] = {}
    for part in split(text):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not (key and equals and value):
            raise UserError(f"'{part}' in '{whole}' is not an option: write name=value")
        if key in found:
            raise UserError(f"option '{key}' is given twice in '{whole}': keep one")
        found[key] = value
    return found


def typed(text: str) -> Value:
    """A value as it reads: a whole number, a number, true or false, else the text."""
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def bracketed(text: str) -> tuple[str, dict[str, Value]]:
    """The name in `text` and the settings in its brackets; UserError if it is neither."""
    match = BRACKETED.fullmatch(text.strip()) if len(text) <= LONGEST else None
    if match is None:
        raise UserError(
            f"'{text[:80]}' is not a name: write name or name[setting=value,setting=value]"
        )
    given = settings(match["settings"] or "", text)
    return match["name"].strip(), {key: typed(value) for key, value in given.items()}


def with_settings(text: str, **more: Value) -> str:
    """The name `text`, which may hold settings, with `more` of them: what `bracketed` reads."""
    name, given = bracketed(text)
    inside = ",".join(f"{key}={_written(value)}" for key, value in (given | more).items())
    return f"{name}[{inside}]" if inside else name


def _written(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)

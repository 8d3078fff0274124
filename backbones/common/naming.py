"""Names with settings on the command line: ``name[setting=value,setting=value]``."""

from __future__ import annotations

import re

from backbones.common.errors import UserError

LONGEST = 1000  # characters of a name with its settings
BRACKETED = re.compile(r"(?P<name>[^\[\],]+?)\s*(\[(?P<settings>[^\[\]]*)\])?")
Value = bool | int | float | str


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


def bracketed(text: str) -> tuple[str, dict[str, Value]]:
    """Split `text` into a name and the settings in its brackets; UserError for another form."""
    # The length is bounded before matching, whose time grows faster than the text's length.
    match = BRACKETED.fullmatch(text.strip()) if len(text) <= LONGEST else None
    if match is None:
        raise UserError(
            f"'{text[:80]}' is not a name: write name or name[setting=value,setting=value]"
        )
    values = settings(match["settings"] or "", text)
    return match["name"].strip(), {key: typed(value) for key, value in values.items()}


def with_settings(text: str, **more: Value) -> str:
    """Add settings to the name `text`, which may have some already; the inverse of `bracketed`."""
    name, values = bracketed(text)
    inside = ",".join(f"{key}={_written(value)}" for key, value in (values | more).items())
    return f"{name}[{inside}]" if inside else name


def _written(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)

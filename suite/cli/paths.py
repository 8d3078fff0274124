"""The type of all options and arguments that are paths."""

from __future__ import annotations

from pathlib import Path

import typer

from backbones.common.errors import UserError
from backbones.common.paths import local_path


def absolute(text: str | Path) -> Path:
    """The parser of a path: what was typed, made absolute once (see `local_path`)."""
    if isinstance(text, Path):  # the default of an option
        return text
    try:
        return local_path(text)
    except UserError as error:
        raise typer.BadParameter(str(error)) from None

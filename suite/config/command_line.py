"""A command of the suite as it is typed, made from settings, to be copied by a user."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

# Options that have another name than the setting; some list what it calls by its plural.
FLAGS = {"batches": "--batch-size", "precisions": "--precision", "learning_rate": "--lr"}


def flag_of(name: str) -> str:
    """The option of the setting `name`."""
    return FLAGS.get(name, f"--{name.replace('_', '-')}")


def command_line(command: str, settings: Mapping[str, object]) -> str:
    """`python -m suite COMMAND` with these settings, quoted for a shell."""
    words = ["python", "-m", "suite", command]
    for name, value in settings.items():
        text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        words += [flag_of(name), text]
    return shlex.join(words)

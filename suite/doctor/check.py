"""One thing that was looked at, and how it is."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

Status = Literal["ok", "missing", "broken"]
COMMAND_SECONDS = 120
MEND_UNKNOWN = "mend what comes before it in this list, else install the package it names again"


@dataclass(frozen=True)
class Check:
    """A finding: ``missing`` is not there, ``broken`` is there and fails.

    `mend` is the command that mends it, or words where no command can; empty when `status` is
    ``ok``. `required` says that the suite's defaults need it.
    """

    name: str
    status: Status
    detail: str
    mend: str = ""
    required: bool = False

    @property
    def bad(self) -> bool:
        """Whether the suite's defaults cannot work as it is."""
        return self.required and self.status != "ok"


def guarded(name: str, look: Callable[[], Check], *, required: bool) -> Check:
    """What `look` finds; a look that raises is itself a finding."""
    try:
        return replace(look(), required=required)
    except (
        Exception
    ) as error:  # whatever a half-installed package raises, the other checks must go on
        return Check(
            name, "broken", last_line(f"{type(error).__name__}: {error}"), MEND_UNKNOWN, required
        )


def output_of(command: Sequence[str]) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of `command`; 127 if it cannot be started or does not end."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False
        )  # noqa: S603 (no shell)
    except (OSError, subprocess.TimeoutExpired) as error:
        return 127, "", str(error)
    return done.returncode, done.stdout.strip(), done.stderr.strip()


def last_line(text: str) -> str:
    """The last line that says something, where an error's reason stands."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""

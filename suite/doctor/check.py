"""The result of one check of the installation."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

Status = Literal["ok", "missing", "broken"]
COMMAND_SECONDS = 120
UNKNOWN_FIX = "fix what comes before it in this list, else install the package it names again"


@dataclass(frozen=True)
class Check:
    """The result of one check: ``missing`` is absent, ``broken`` is there and fails.

    `fix` is the command that fixes it, or words where no command can; empty when `status` is
    ``ok``. `required` says that the suite's defaults need it.
    """

    # given where the inspections are listed
    name: str = field(default="", kw_only=True)
    status: Status
    detail: str
    fix: str = ""
    required: bool = False

    @property
    def bad(self) -> bool:
        """Whether the suite's defaults fail because of it."""
        return self.required and self.status != "ok"


def guarded(name: str, inspect: Callable[[], Check], *, required: bool) -> Check:
    """The result of `inspect`; an exception in it is a result too."""
    try:
        return replace(inspect(), name=name, required=required)
    # a half-installed package may raise anything, and the other checks must still run
    except Exception as error:
        reason = last_line(f"{type(error).__name__}: {error}")
        return Check("broken", reason, UNKNOWN_FIX, required, name=name)


def output_of(command: Sequence[str]) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of `command`; 127 if it fails to run or end."""
    try:
        done = subprocess.run(  # noqa: S603 (no shell)
            command,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=COMMAND_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return 127, "", str(error)
    return done.returncode, done.stdout.strip(), done.stderr.strip()


def last_line(text: str) -> str:
    """The last line that is not blank, where programs write the reason of an error."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""

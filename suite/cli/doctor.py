"""`doctor`: what is there, what is not, and the command that mends it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> int:
    """Check this installation; exit code 1 if something that is needed is broken."""
    from suite.doctor import diagnose, table
    from suite.terminal.tables import print_table

    checks = diagnose()
    if as_json:
        print(json.dumps([asdict(check) for check in checks], indent=1))
    else:
        print_table(table(checks))
    return 1 if any(check.bad for check in checks) else 0

"""`doctor`: the state of the installation, with the command that fixes what is wrong."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> int:
    """Check this installation; exit code 1 if something that is required is broken."""
    from suite.doctor import diagnose, table
    from suite.terminal.tables import print_table

    checks = diagnose()
    if as_json:
        print(json.dumps([asdict(check) for check in checks], indent=1))
    else:
        print_table(table(checks))
    return 1 if any(check.bad for check in checks) else 0

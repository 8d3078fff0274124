"""`verify`: whether a method keeps the contract."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from backbones.errors import UserError


def verify(
    method: Annotated[str, typer.Option(help="Methods, comma-separated, or path/to/file.py:NAME; empty: all.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """Run the conformance checks on methods, ours or yours; exit code 1 if one fails."""
    from methods import METHODS
    from methods.spec import parse, parse_list
    from suite.conformance import examine

    chosen = parse_list(method) if method else [parse(name) for name in METHODS]
    rows = [
        {"method": spec.text, "check": finding.check, "problem": finding.problem}
        for spec in chosen
        if spec.method.kind == "sequence" and (composition := spec.composition()) is not None
        for finding in examine(composition)
    ]
    if not rows:
        raise UserError(f"nothing to verify: {method} reduces no token sequence, name a method that does")
    failed = sum(bool(row["problem"]) for row in rows)
    if as_json:
        print(json.dumps(rows, indent=1))
    else:
        for row in rows:
            print(f"{row['method']}: {'FAILS' if row['problem'] else 'holds'}: {row['check']}")
            if row["problem"]:
                print(f"    {row['problem']}")
        print(f"{len(rows) - failed} checks hold, {failed} fail")
    return 1 if failed else 0

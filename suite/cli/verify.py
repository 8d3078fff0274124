"""`verify`: checks of kernels, backbones, methods and FLOPs on this machine."""

from __future__ import annotations

import json
from collections import Counter
from itertools import chain
from typing import Annotated

import typer

from backbones.common.errors import UserError

VERBS = {
    "holds": "hold",
    "fails": "fail",
    "absent": "are not here",
    "doubted": "are printed wrongly",
}


def verify(
    method: Annotated[
        str,
        typer.Option(
            "--method",
            "--methods",
            help="Only these methods, every check: comma-separated, or path/to/file.py:NAME.",
        ),
    ] = "",
    backbone: Annotated[
        str,
        typer.Option(
            "--backbone",
            "--backbones",
            help="Only these backbones, every check: comma-separated, or path/to/file.py:NAME.",
        ),
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """Check kernels, backbones, methods and FLOPs, a line each; exit code 1 if anything fails.

    Kernels are checked against the reference, backbones and methods against their contracts, FLOPs
    against every printed figure. With --method or --backbone only these are checked, of the suite
    or your own.
    """
    from backbones.common.naming import split
    from methods.spec import parse_list
    from suite.terminal.lines import print_result
    from suite.verify import backbone_contract
    from suite.verify.backbone_contract import backbone_lines
    from suite.verify.flops import flops_lines
    from suite.verify.kernels import kernel_lines
    from suite.verify.methods import check_lines, method_lines

    parts = [kernel_lines(), backbone_lines(), method_lines(), flops_lines()]
    if method or backbone:
        parts = [backbone_contract.check_lines(split(backbone))]
        parts += [check_lines(parse_list(method))] if method else []
    lines = []
    # printed one by one, since all of them take a minute
    for line in chain.from_iterable(parts):
        lines.append(line)
        if not as_json:
            print_result(line.text)
    if not lines:
        raise UserError(
            f"nothing to verify: {method} reduces no token sequence, name a method that does"
        )
    states = Counter(str(line.state) for line in lines)
    if as_json:
        print(json.dumps([line._asdict() for line in lines], indent=1))
    else:
        # that nothing fails is said too
        shown = [state for state in VERBS if states[state] or state == "fails"]
        print_result(", ".join(f"{states[state]} {VERBS[state]}" for state in shown))
    return 1 if states["fails"] else 0

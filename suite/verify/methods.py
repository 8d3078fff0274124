"""The contract of methods: a line for each method, or one for each check."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from backbones.common.errors import UserError
from methods import METHODS
from methods.spec import MethodSpec, parse
from suite.verify.checks import Finding, finding_lines
from suite.verify.line import Line, judged
from suite.verify.method_contract import examine


def examined(spec: MethodSpec) -> list[Finding]:
    """The findings on one method; empty for one that does not reduce the token sequence."""
    # downsample and the oracle make no composition that could be checked
    composition = spec.composition() if spec.method.kind == "sequence" else None
    return [] if composition is None else examine(composition)


def method_lines() -> Iterator[Line]:
    """A line for each registered method that reduces tokens, with the first check that fails."""
    for name in METHODS:
        try:
            findings = examined(parse(name))
        except UserError as error:  # of a plugin that is no method
            yield judged("methods", name, str(error), "")
            continue
        first = ""
        for finding in reversed(findings):
            if finding.problem:
                first = f"{finding.problem} ({finding.check})"
        if findings:
            yield judged("methods", name, first, f"{len(findings)} checks hold")


def check_lines(specs: Sequence[MethodSpec]) -> Iterator[Line]:
    """A line for each check on these methods; those that fail for the same reason are one."""
    for spec in specs:
        yield from finding_lines("methods", spec.label, examined(spec))

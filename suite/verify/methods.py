"""Whether methods keep the contract: a line each, or one for every check on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from methods import METHODS
from methods.spec import MethodSpec, parse
from suite.verify.line import Line, judged
from suite.verify.method_contract import Finding, examine


def examined(spec: MethodSpec) -> list[Finding]:
    """The findings on one method; none on one that does not reduce the token sequence."""
    composition = spec.composition() if spec.method.kind == "sequence" else None
    return [] if composition is None else examine(composition)


def method_lines() -> Iterator[Line]:
    """A line for each registered method that reduces tokens: the first check that fails, or how many hold."""
    for name in METHODS:
        findings = examined(parse(name))
        wrong = next(
            (f"{finding.problem} ({finding.check})" for finding in findings if finding.problem), ""
        )
        if findings:
            yield judged("methods", name, wrong, f"{len(findings)} checks hold")


def check_lines(specs: Sequence[MethodSpec]) -> Iterator[Line]:
    """A line for each check on these methods."""
    for spec in specs:
        for finding in examined(spec):
            yield judged(
                "methods",
                spec.text,
                finding.problem and f"{finding.check}: {finding.problem}",
                finding.check,
            )

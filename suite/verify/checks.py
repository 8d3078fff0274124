"""Common parts of the contracts of methods and backbones: running a check, making a model."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch

from backbones import create_model, own_weights
from backbones.base import Backbone
from backbones.common.errors import describe_error
from suite.verify.line import Line, judged


def title(check: Callable[..., str]) -> str:
    """The first line of the check's docstring, its name in messages."""
    return (inspect.getdoc(check) or "").split("\n")[0].rstrip(".")


def problem_of(check: Callable[[Any], str], subject: Any) -> str:
    """The problem that `check` finds; empty if there is none."""
    try:
        with torch.inference_mode():
            return check(subject)
    except Exception as error:  # code of a third party may raise anything
        return describe_error(error)


class Finding(NamedTuple):
    """The title of one check and what it found; `problem` is empty where the subject passes."""

    check: str
    problem: str


def finding_lines(part: str, name: str, findings: Sequence[Finding]) -> Iterator[Line]:
    """A line for each check; those that fail for the same reason are one."""
    reasons = Counter(finding.problem for finding in findings)
    told = set()
    for check, problem in findings:
        if problem in told:
            continue
        said = f"{check}: {problem}" if problem else ""
        if problem:
            told.add(problem)
        if problem and reasons[problem] > 1:
            others = reasons[problem] - 1
            said += f"; {others} other check{'s' if others > 1 else ''} for the same reason"
        yield judged(part, name, said, check)


def distinct_model(name: str, seed: int, **settings: Any) -> Backbone:
    """The backbone with random weights that tell tokens apart."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = create_model(own_weights(name)[0], **settings)
        with torch.no_grad():
            # initial weights are nearly the same for all tokens, which would hide mistakes
            for parameter in model.parameters():
                parameter.add_(torch.randn(parameter.shape), alpha=0.1)
    return model

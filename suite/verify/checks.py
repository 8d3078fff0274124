"""Common parts of the contracts of methods and backbones: running a check, making a model."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch

from backbones import create_model
from backbones.base import Backbone
from backbones.common.errors import describe_error


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


def distinct_model(name: str, seed: int, **settings: Any) -> Backbone:
    """The backbone with random weights that tell tokens apart."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = create_model(name, **settings)
        with torch.no_grad():
            # initial weights are nearly the same for all tokens, which would hide mistakes
            for parameter in model.parameters():
                parameter.add_(torch.randn(parameter.shape), alpha=0.1)
    return model

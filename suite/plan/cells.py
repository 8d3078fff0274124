"""Cells: the unit of result, what makes two of them the same, and how a run's cells follow from its settings."""

from __future__ import annotations

import hashlib
import inspect
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib import resources
from pathlib import Path
from typing import Any, Protocol

from backbones.base import Reducer
from methods.base import Method
from methods.composition import Composition
from methods.reducer import Reducer as TokenReducer
from methods.spec import MethodSpec
from suite.data.base import digest
from suite.plan.budget import Plan

DENSE = MethodSpec("none", {})
SAME = " = "
BASELINES = ("random", "stride", "pool", "downsample")


class Named(Protocol):
    """What a table needs to know of a cell: its place in the run, and its name on disk."""

    @property
    def key(self) -> str:
        """Its name on disk."""

    @property
    def backbone(self) -> str:
        """The backbone it is of."""

    @property
    def label(self) -> str:
        """What it is called."""

    @property
    def budget(self) -> float | None:
        """The share of FLOPs to remove, None if dense."""

    @property
    def seed(self) -> int:
        """Its seed."""


@dataclass(frozen=True)
class Cell:
    """One backbone under one method at one budget and seed, on the run's data.

    A cell without a plan is skipped, for its `reason`; where that is the budget, `closest` is the
    share of work nearest to it that can be removed. `aliases` are other texts for the same
    composition.
    """

    backbone: str
    method: MethodSpec
    budget: float | None
    seed: int
    composition: Composition | None
    plan: Plan | None
    image_size: int
    context: str
    reason: str | None = None
    closest: float | None = None
    aliases: tuple[str, ...] = field(default=(), compare=False)

    @property
    def label(self) -> str:
        """What the cell is called: its method's text, and the other texts that mean the same."""
        return SAME.join([self.method.text, *self.aliases])

    @property
    def kind(self) -> str:
        """The kind of its method (see `methods.base.Method`)."""
        return self.method.method.kind

    @property
    def unlike_dense(self) -> str | None:
        """What sets a cell without composition apart from the dense model besides its image size."""
        return "oracle" if self.kind == "oracle" else None

    @property
    def identity(self) -> dict[str, Any]:
        """All that the result depends on; the order of the run is no part of it."""
        stochastic = self.composition is not None and self.composition.stochastic
        return {
            "context": self.context,
            "backbone": self.backbone,
            "image_size": self.image_size,
            "composition": self.composition.canonical() if self.composition else self.unlike_dense,
            "counts": {str(site): count for site, count in self.plan.counts.items()}
            if self.plan
            else None,
            "seed": self.seed if stochastic else None,
            "unreachable": None
            if self.plan
            else [None if self.composition else self.method.text, self.budget],
            "code": [code_digest(), source_digest(self.method.method)],
        }

    @cached_property
    def key(self) -> str:
        """Hash of the identity: the cell's name on disk."""
        return digest(self.identity)[:16]

    def reducers(self) -> dict[int, Reducer]:
        """The reducer at each site."""
        return dict(self._reducers)

    @cached_property
    def _reducers(self) -> dict[int, Reducer]:
        if self.composition is None or self.plan is None:
            return {}
        return reducers(self.composition, self.plan, self.seed)


def reducers(composition: Composition, plan: Plan, seed: int) -> dict[int, Reducer]:
    """The reducer at each site of `plan`."""
    drawn = seed if composition.stochastic else 0
    return {site: reducer(composition, count, site, drawn) for site, count in plan.counts.items()}


@cache
def reducer(composition: Composition, remove: int, site: int, seed: int) -> Reducer:
    """The one reducer of its kind, so that cells which share it can be seen to share it."""
    return TokenReducer(composition, remove, site, seed)


@cache
def code_digest(packages: tuple[str, ...] = ("backbones", "methods")) -> str:
    """Hash of the code of backbones and methods, so that a changed one never meets its old results."""
    roots = [Path(str(resources.files(package))) for package in packages]
    files = [
        (path.relative_to(root.parent).as_posix(), path)
        for root in roots
        for path in root.rglob("*.py")
    ]
    return digest([[name, path.read_text("utf-8")] for name, path in sorted(files)])[:16]


def source_digest(method: Method) -> str | None:
    """Hash of the file that builds a third party's method; None for ours, whose code `code_digest` covers."""
    name = inspect.getsourcefile(method.build) if method.build else None
    if name is None or Path(name).is_relative_to(str(resources.files("methods"))):
        return None
    return hashlib.sha256(Path(name).read_bytes()).hexdigest()[:16]

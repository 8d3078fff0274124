"""Cells, the unit of result: what identifies one, and what is recorded of it before it runs."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib import resources
from pathlib import Path
from typing import Any

from backbones import own_weights
from backbones.base import Backbone, Reducer
from backbones.common import user_files
from backbones.common.labels import data_label
from backbones.common.registry import BUILT_IN
from backbones.common.user_files import in_file
from backbones.provenance import Provenance
from methods import METHODS
from methods.adaptive import AdaptiveStep
from methods.composition import Composition
from methods.parts.view import View
from methods.reducer import Reducer as TokenReducer
from methods.spec import MethodSpec
from suite.config.run_spec import RunSpec
from suite.data.base import Dataset, digest
from suite.plan.budget import Plan
from suite.stats.verdict import BLIND, GRID_BLIND
from suite.store.schema import SAME, SHOWN, CellRecord, Removal, Retrained, Role
from suite.tries.settings import Setting

DENSE = MethodSpec("none", {})
REMOVING = ("sequence", "oracle")  # kinds of methods that remove tokens
# the blind ones run under every setting that occurs
BASELINES = (*BLIND, *GRID_BLIND, "downsample")
# Under protocol `paper` these have budgets to meet: those of the published schedules.
MATCHED = ("mtr", *BASELINES)


def needs_rectangle(model: Backbone) -> bool:
    """Whether its patch tokens have to fill a rectangle: to be scanned, or to be halved."""
    return model.needs_rectangle or bool(model.describe().halvings)


def blind_on(model: Backbone) -> tuple[str, ...]:
    """Names of the blind baselines of a backbone."""
    return GRID_BLIND if needs_rectangle(model) else BLIND


@dataclass(frozen=True)
class Cell:
    """One backbone under one method at one budget and seed, on the run's data.

    A cell without a plan is skipped, for its `reason`; if that is the budget, `closest` is the
    nearest share of work that can be removed. `setting` is the method's, which may be `tuned`, and
    `sites` are its own where it does not follow the run's;
    `role` says why the cell runs, `beside` of a smaller model what it is compared with, and
    `retrained` how its weights were (see `CellRecord`). Its `protocol` is `matched` beside the
    published cells of protocol `paper`. `view` is what of the image a method of kind image looks
    at. `aliases` are labels of the same composition.
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
    setting: Setting | None = None
    tuned: bool = False
    sites: tuple[int, ...] | None = None
    role: Role = "asked"
    protocol: str = "matched"
    beside: Mapping[str, float] = field(default_factory=dict, compare=False)
    retrained: Retrained | None = field(default=None, compare=False)
    view: View | None = None
    aliases: tuple[str, ...] = field(default=(), compare=False)

    @property
    def label(self) -> str:
        """Name of the method, and those of others that come to the same cell."""
        return SAME.join([self.method.label, *self.aliases])

    @property
    def kind(self) -> str:
        """Kind of its method (see `methods.base.Method`)."""
        return self.method.method.kind

    @property
    def shown(self) -> bool:
        """Whether it is in the main tables and figures."""
        return self.role in SHOWN

    @property
    def stochastic(self) -> bool:
        """Whether the result depends on the seed."""
        return self.parts is not None and self.parts.stochastic

    @property
    def parts(self) -> Composition | View | None:
        """What decides on the tokens left; None of the dense model, a smaller image, the oracle."""
        return self.composition or self.view

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that the result depends on; the order of the run is no part of it."""
        # Without a composition: a smaller image is told by its size, the oracle by its kind.
        composition: Any = "oracle" if self.kind == "oracle" else None
        if self.parts:
            composition = self.parts.canonical()
        # Two cells without a plan differ in what could not be reached.
        removals: Any = None
        unreachable = None
        if self.plan and self.plan.adaptive:
            # The counts follow from these, image by image.
            removals = {"alpha": self.plan.adaptive.alpha, "sites": list(self.plan.removals)}
        elif self.plan:
            removals = {str(site): r.model_dump() for site, r in self.plan.removals.items()}
        else:
            schedule = self.setting.schedule if self.setting else None
            text = None if self.composition else self.method.text
            unreachable = [text, self.budget, schedule, self.sites]
        return {
            "context": self.context,
            "backbone": self.backbone,
            "image_size": self.image_size,
            "composition": composition,
            "removals": removals,
            "seed": self.seed if self.stochastic else None,
            "unreachable": unreachable,
            "code": [code_digest(), file_digest(self.method)],
        }

    @cached_property
    def key(self) -> str:
        """Hash of the identity: the cell's name on disk."""
        return digest(self.identity)[:16]

    @property
    def adaptive(self) -> bool:
        """Whether each image decides how many tokens leave; it has `steps`, and no `reducers`."""
        return self.plan is not None and self.plan.adaptive is not None

    def steps(self) -> dict[int, AdaptiveStep]:
        """The rule at each site, in order, of a cell of adaptive counts."""
        assert self.composition is not None
        assert self.plan is not None
        assert self.plan.adaptive is not None
        alpha, sites = self.plan.adaptive.alpha, list(self.plan.removals)
        return adaptive_steps(self.composition, alpha, sites, self.seed)

    def reducers(self) -> dict[int, Reducer]:
        """The reducer at each site."""
        assert not self.adaptive
        return dict(self._reducers)

    @cached_property
    def _reducers(self) -> dict[int, Reducer]:
        if self.composition is None or self.plan is None:
            return {}
        return reducers(self.composition, self.plan, self.seed)


def planned_record(
    cell: Cell, spec: RunSpec, dataset: Dataset, images: int, weights: Provenance | None
) -> CellRecord:
    """Record of a cell before it runs on so many images; `weights` is where they came from."""
    # A skipped cell has no cost.
    plan = plan_fields(cell.plan) if cell.plan else {}
    return CellRecord(
        key=cell.key,
        status="skipped" if cell.reason else "planned",
        reason=cell.reason,
        task=dataset.task,
        backbone=cell.backbone,
        checkpoint=checkpoint_of(cell, spec),
        weights=weights.sha256 if weights else None,
        made_up=list(weights.made_up) if weights else [],
        dataset=data_label(spec.data),
        split=spec.split,
        kind=dataset.kind,
        images=images,
        method=cell.method.name,
        source=file_digest(cell.method),
        label=cell.label,
        spec=cell.method.text,
        title=cell.method.alias or cell.method.method.title,
        family=cell.method.method.family,
        stochastic=cell.stochastic,
        options=dict(cell.method.options),
        composition=cell.parts.canonical() if cell.parts else None,
        blind=cell.parts is not None and cell.parts.blind,
        chooses=cell.parts is not None and cell.parts.chooses,
        role=cell.role,
        schedule=cell.setting.schedule if cell.setting else None,
        cls_window=cell.setting.cls_window if cell.setting else None,
        tuned=cell.tuned,
        beside=dict(cell.beside),
        retrained=cell.retrained,
        protocol=cell.protocol,
        flops_convention=spec.flops_convention,
        precision=spec.precision,
        image_size=cell.image_size,
        budget=cell.budget,
        seed=cell.seed,
        **plan,
    )


def plan_fields(plan: Plan) -> dict[str, Any]:
    """The fields of a record that come from the plan of its cell."""
    return {
        "removals": dict(plan.removals),
        "lengths": list(plan.lengths),
        "flops": plan.flops.by_kind(),
        "total": dict(plan.total),
        "removed": dict(plan.removed),
        "token_ratio": plan.token_ratio,
        "adaptive": plan.adaptive,
    }


def adaptive_steps(
    composition: Composition, alpha: float, sites: Sequence[int], seed: int
) -> dict[int, AdaptiveStep]:
    """The rule of adaptive counts at each site, in order."""
    return {site: AdaptiveStep(composition, alpha, site, seed) for site in sorted(sites)}


def checkpoint_of(cell: Cell, spec: RunSpec) -> str:
    """The weights of a cell as they were asked for, or the file of those that were retrained."""
    if cell.retrained:
        return f"{cell.retrained.name}.safetensors"
    return own_weights(spec.named.get(cell.backbone, cell.backbone))[1] or spec.checkpoint


def reducers(composition: Composition, plan: Plan, seed: int) -> dict[int, Reducer]:
    """Build the reducer at each site of `plan`."""
    # All seeds of a deterministic method share their reducers, and so the work of a prefix.
    drawn = seed if composition.stochastic else 0
    return {
        site: reducer(composition, removal, site, drawn) for site, removal in plan.removals.items()
    }


@cache
def reducer(composition: Composition, removal: Removal, site: int, seed: int) -> Reducer:
    """Build a reducer once, so that cells that share it can be seen to share it."""
    lines = removal.rows, removal.columns
    return TokenReducer(composition, removal.tokens, site, seed, lines)


@cache
def code_digest(packages: tuple[str, ...] = ("backbones", "methods")) -> str:
    """Hash the code of `packages`, so that changed code never meets results of the old.

    The code is parsed and its docstrings dropped: comments, layout and documentation are no part.
    """
    trees = []
    for package in packages:
        root = Path(str(resources.files(package)))
        # In one order on every file system.
        for path in sorted(root.rglob("*.py")):
            name = path.relative_to(root.parent).as_posix()
            trees.append([name, ast.dump(without_docstrings(ast.parse(path.read_bytes())))])
    return digest(trees)[:16]


def without_docstrings(tree: ast.Module) -> ast.Module:
    """Drop the docstrings of a module, its classes and functions, in place."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            del node.body[0]
    return tree


def file_digest(spec: MethodSpec) -> str | None:
    """Hash the file that a method is named by, or that of another package's method.

    None for ours, which `code_digest` covers.
    """
    if named := in_file(spec.name):
        return user_files.digest(named)
    if METHODS.origin(spec.name) == BUILT_IN or spec.method.build is None:
        return None
    return user_files.source_digest(spec.method.build)

"""The form of a published table: which comparison it is, and what its source states of each cell.

Values are in the units of papers, percent and points; a value comes with its place in a source.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from backbones.common.errors import UserError
from methods.spec import MethodSpec, parse_all
from suite.config.run_spec import Budget, RunSpec
from suite.config.spec_file import build_spec
from suite.plan.settings import one_spelling
from suite.reproduce.spec import ReproduceSpec

DENSE = "none"  # the method that leaves a backbone as it is
Percent = Annotated[float, Field(strict=True, ge=0, le=100)]
Text = Annotated[str, Field(min_length=1, max_length=500)]


class Written(BaseModel):
    """A part of the file: immutable, without settings that nobody knows."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Value(Written):
    """What a source states of one method at one budget; without a number nobody has read it.

    ``budget``          share of the FLOPs to remove; none of the dense model and of protocol paper
    ``top1``            in percent; ``drop`` points below the dense model's
    ``giga``            G operations of one image, as printed
    ``place``           where in the source it stands, or why nothing stands here
    ``retrained``       whether the source trained the reduced model, or how: "30 epochs"
    ``not_comparable``  further reasons why it is not what is measured here
    """

    method: Text
    budget: Budget | None = None
    top1: Percent | None = None
    drop: Annotated[float, Field(strict=True, ge=-100, le=100)] | None = None
    giga: Annotated[float, Field(strict=True, gt=0)] | None = None
    place: Text | None = None
    retrained: Annotated[bool, Field(strict=True)] | Text = False
    not_comparable: tuple[Text, ...] = ()

    @property
    def is_read(self) -> bool:
        """Whether an accuracy, or the loss of it, was read in the source."""
        return self.top1 is not None or self.drop is not None

    @property
    def is_dense(self) -> bool:
        """Whether it is of the dense model."""
        return self.method == DENSE


class PublishedTable(Written):
    """A published table; `name` is that of its file.

    ``source``          paper or page it is from; ``title`` what it shows
    ``checkpoint``      weights, as for ``--checkpoint``
    ``data``            name of the data set; the command gives its path
    ``protocol``        matched: all at the `budgets`; paper: each method by its published counts
    ``not_comparable``  reasons that hold for all values but the dense model's
    ``doubt``           why these may be wrong
    ``notes``           what else a reader should know
    """

    name: str
    title: Text
    source: Text
    backbone: Text
    checkpoint: Text = "official"
    data: Text = "imagenet"
    split: Text = "val"
    protocol: Literal["matched", "paper"] = "matched"
    methods: Annotated[tuple[Text, ...], Field(min_length=1)]
    budgets: tuple[Budget, ...] = ()
    schedule: Text = "constant-ratio"
    sites: tuple[int, ...] | None = None
    flops_convention: Literal["flops", "macs", "paper"] = "paper"
    published: Annotated[tuple[Value, ...], Field(min_length=1)]
    not_comparable: tuple[Text, ...] = ()
    doubt: Text | None = None
    notes: tuple[Text, ...] = ()

    @property
    def dense(self) -> Value | None:
        """What the source states of the dense model."""
        return next((value for value in self.published if value.is_dense), None)

    def value(self, method: str, budget: float | None) -> Value:
        """What the source states of a method, as this table spells it, at a budget."""
        for value in self.published:
            if (value.method, value.budget) == (method, budget):
                return value
        return Value(method=method, budget=budget)

    @property
    def cells(self) -> list[Value]:
        """The values of all cells, the dense model's first, read or not."""
        values = [self.value(DENSE, None)]
        for method in self.methods:
            budgets = self.budgets if self.protocol == "matched" else (None,)
            values += [self.value(method, budget) for budget in budgets]
        return values

    def run_spec(self, spec: ReproduceSpec) -> RunSpec:
        """The comparison that reproduces it, under the settings of the command."""
        shared = spec.model_dump(include=set(RunSpec.model_fields) - {"version"})
        return build_spec(
            **shared
            | {
                "methods": self.methods,
                "backbones": (self.backbone,),
                "checkpoint": spec.checkpoint or self.checkpoint,
                "data": spec.data or self.data,
                "split": self.split,
                "protocol": self.protocol,
                "schedule": self.schedule,
                "sites": self.sites,
                "flops_convention": self.flops_convention,
                "across_schedules": False,
                "baselines": False,
                "smaller": ("none",),
            }
            | ({"budgets": self.budgets} if self.budgets else {})
        )


def check(table: PublishedTable) -> None:
    """Refuse a table that contradicts itself, by a UserError."""
    _check_budgets(table)
    spelled = one_spelling(table.run_spec(ReproduceSpec())).methods
    if len(spelled) < len(table.methods):
        raise UserError("methods: two of them are the same method: keep one")
    known = {(value.method, value.budget) for value in table.cells}
    seen = set()
    for value in table.published:
        at = f"published {value.method}"
        if value.budget is not None:
            at += f" at {value.budget:g}"
        if (value.method, value.budget) not in known:
            raise UserError(
                f"{at} is no cell of the table: write method and budget as under methods and "
                f"budgets, the dense model as {DENSE} without a budget"
            )
        if (value.method, value.budget) in seen:
            raise UserError(f"{at} is there twice: keep one")
        seen.add((value.method, value.budget))
        if value.is_read and not value.place:
            raise UserError(f"{at} has a value without a place: say where in the source it stands")
        if value.is_dense and value.drop is not None:
            raise UserError(f"{at} has a drop, and differences are taken to it: leave it out")


def _check_budgets(table: PublishedTable) -> None:
    if table.protocol == "matched" and not table.budgets:
        raise UserError("budgets: protocol matched needs at least one, such as [0.4]")
    if table.protocol == "paper" and table.budgets:
        raise UserError("budgets: under protocol paper each method has its own: leave them out")
    if len(set(table.budgets)) < len(table.budgets):
        raise UserError("budgets: one of them is there twice: keep one")


def spelled_methods(table: PublishedTable, spec: RunSpec) -> dict[str, MethodSpec]:
    """The methods by their text in the table, as a run of `spec` spells them."""
    methods = parse_all(one_spelling(spec).methods)
    return dict(zip(table.methods, methods, strict=True))

"""Smaller models: dense backbones of other sizes, beside the methods as a smaller image is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from backbones.base import Backbone
from backbones.checkpoints.published import files_of
from backbones.common.errors import UserError
from backbones.shape import Shape
from suite.config.run_spec import RunSpec
from suite.plan.budget import dense_plan
from suite.plan.cells import DENSE, Cell

AUTO, NOTHING = "auto", "none"
# Bundled models that differ from a bundled backbone in nothing but their size.
BUNDLED = {"vim_nano": "vim_pico"}


def smaller_models(spec: RunSpec, data: str) -> dict[str, list[str]]:
    """The smaller models of a run on the data set `data`, and the backbones to try each beside."""
    models: dict[str, list[str]] = {}
    for name, text in spec.smaller_named.items():
        if text == AUTO:
            for backbone in spec.named if is_usual(spec) else ():
                model = BUNDLED.get(backbone)
                if model and trained_on(backbone, data) and trained_on(model, data):
                    models.setdefault(model, []).append(backbone)
        elif text != NOTHING:
            others = [backbone for backbone in spec.named if backbone != name]
            models.setdefault(name, []).extend(others)
    return models


def is_usual(spec: RunSpec) -> bool:
    """Whether a run has the bundled weights, and baselines around whole methods."""
    return spec.baselines and not spec.axes and spec.checkpoint == "bundled"


def trained_on(backbone: str, data: str) -> bool:
    """Whether the bundled weights of `backbone` were trained on the data set `data`."""
    return any(file.source == "bundled" and file.data == data for file in files_of(backbone))


def with_smaller(
    cells: Sequence[Cell],
    smaller: Mapping[str, Sequence[str]],
    models: Mapping[str, Backbone],
    contexts: Mapping[str, str],
    spec: RunSpec,
) -> list[Cell]:
    """Add the dense cells of the `smaller` models to those of a run.

    One that is a backbone of the run, too, has its cell already. `contexts` are those of all
    `models`. UserError for a model that costs less than none of those it is to stand beside.
    """
    dense = {cell.backbone: cell for cell in cells if cell.method == DENSE}
    added = {}
    for name, backbones in smaller.items():
        work = totals(models[name].describe())[spec.flops_convention]
        shares = {}
        for backbone in backbones:
            share = 1 - work / totals(models[backbone].describe())[spec.flops_convention]
            if share > 0:
                shares[backbone] = share
        if not shares:
            raise UserError(
                f"{name} is no smaller model beside {', '.join(backbones) or 'itself'}: name one "
                "of fewer FLOPs (python -m suite list backbones), or --smaller none"
            )
        cell = dense.get(name) or dense_cell(name, models[name], contexts[name], spec.protocol)
        added[cell.key] = replace(cell, beside=shares)
    return [*(added.pop(cell.key, cell) for cell in cells), *added.values()]


def totals(shape: Shape) -> Mapping[str, int]:
    """Work of one image under the dense model, by convention."""
    return dense_plan(shape).total


def dense_cell(name: str, model: Backbone, context: str, protocol: str) -> Cell:
    """The one cell of a model that is no backbone of the run."""
    plan = dense_plan(model.describe())
    size = model.image_size
    return Cell(name, DENSE, None, 0, None, plan, size, context, role="smaller", protocol=protocol)

"""Add to a comparison what the retrained weights are evaluated under."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from backbones import own_weights
from backbones.common.naming import with_settings
from suite.plan.cells import Cell
from suite.plan.loading import context_of, load_model
from suite.plan.prepare import Prepared
from suite.retrain.files import Files, Finished
from suite.retrain.prepare import Retraining, Training
from suite.system.hardware import DTYPES


def with_retrained(
    retraining: Retraining, finished: Mapping[str, Finished], folder: Path
) -> Prepared:
    """The comparison with a model more for each of the `finished` trainings in the run's `folder`.

    Each runs whole, and under the method that it was trained under, at all seeds and at the budgets
    of the training and the further ones of the run.
    """
    plan = retraining.prepared
    spec, dataset = plan.spec, plan.dataset
    models, cells = dict(plan.models), list(plan.cells)
    for training in retraining.trainings:
        bare, _ = own_weights(spec.named[training.backbone])
        path = str(Files(folder, training).weights)
        model = load_model(bare, path, spec.kernel, dataset, plan.device, DTYPES[spec.precision])
        # As a comparison calls weights from a file.
        name = with_settings(training.backbone, weights=f"{training.name}.safetensors")
        models[name] = model
        context = context_of(model, dataset, plan.indices, spec, plan.device)
        for cell in evaluated(plan, training, retraining.spec.test_budgets):
            cells.append(
                replace(
                    cell,
                    backbone=name,
                    context=context,
                    role="retrained",
                    retrained=finished[training.name].retrained,
                )
            )
    return replace(plan, models=models, cells=cells)


def evaluated(plan: Prepared, training: Training, further: Collection[float]) -> list[Cell]:
    """The cells of a comparison that the weights of `training` are evaluated under, too.

    Those of its method at its own budgets and at the `further` ones.
    """
    # Whole, too: training helps a model even without a reduction.
    cells = [plan.dense[training.backbone]]
    trained = {cell.budget for cell in training.cells}
    labels = {cell.label for cell in training.cells}
    for cell in plan.cells:
        own = cell.backbone == training.backbone and cell.label in labels
        if own and (cell.budget in trained or cell.budget in further):
            cells.append(cell)
    return cells

"""A cell of segmentation, from images to its record, beside the same worked out image by image."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from suite.analysis.records import cell_records
from suite.config.run_spec import RunSpec
from suite.data.base import IGNORED
from suite.evaluation.runner import evaluate_shard, shrink
from suite.execution.local import execute
from suite.plan.prepare import prepare
from suite.store.results import Results, differing
from suite.store.run_folder import Store
from suite.store.schema import SEGMENTATION, SegmentationMetrics

Specs = Callable[..., RunSpec]
SETTINGS = {
    "task": "segmentation",
    "backbones": ("vim_mini_linear",),
    "seeds": 1,
    "budgets": (0.3,),
}


def silent(count: int) -> None:
    """Count nothing."""


def test_a_segmenter_is_evaluated_as_any_backbone(small: Specs) -> None:
    prepared = prepare(small(methods=("mtr", "evit"), across_schedules=False, **SETTINGS))
    cells, model = prepared.runnable["vim_mini_linear"], prepared.models["vim_mini_linear"]
    chosen = prepared.chosen[:8]  # more than a batch holds
    result = evaluate_shard(prepared, "vim_mini_linear", chosen, cells, 7, silent)
    assert not result.failures
    for cell in cells:
        frame = result.outcomes[cell.key]
        assert list(frame.image) == chosen.tolist()
        for row, image in enumerate(chosen[:3].tolist()):
            pixels = torch.from_numpy(prepared.dataset.sample(image, 40))[None]
            truth = prepared.dataset.truth(image, 40)
            with torch.inference_mode():
                if cell.image_size == 40:
                    tokens = model.embed(pixels, torch.tensor([image]))
                    logits = model.readout(model.run(tokens, plan=cell.reducers()))
                else:
                    logits = model.resized(cell.image_size)(shrink(pixels, cell.image_size))
                named = F.interpolate(logits, (40, 40), mode="bilinear").argmax(1)[0].numpy()
            codes, counts = np.unique(
                (3 * truth.astype(int) + named)[truth != IGNORED], return_counts=True
            )
            assert frame.confusion[row].tolist() == codes.tolist()
            assert frame.pixels[row].tolist() == counts.tolist()


def test_batches_change_nothing(small: Specs) -> None:
    prepared = prepare(small(methods=("tome",), **SETTINGS))
    cells = prepared.runnable["vim_mini_linear"]
    images = np.arange(9)
    whole, single = (
        evaluate_shard(prepared, "vim_mini_linear", images, cells, size, silent).outcomes
        for size in (7, 1)
    )
    for key in whole:
        assert not differing(whole[key], single[key], tuple(SEGMENTATION.outcomes)).any()


def test_stored_outcomes_become_metrics(small: Specs, tmp_path: Path) -> None:
    spec = small(methods=("mtr",), **SETTINGS)
    prepared = prepare(spec)
    store = Store.open(tmp_path, spec)
    assert execute(prepared, store, silent) == {}
    results = Results(store, prepared.shards, SEGMENTATION)
    dense, *others = cell_records(prepared, results, {})
    assert dense.task == "segmentation"
    frame = results.outcomes(dense.key)
    assert list(frame.columns) == list(SEGMENTATION.outcomes)
    metrics = dense.metrics
    assert isinstance(metrics, SegmentationMetrics)
    assert (metrics.agreement, metrics.kl) == (1, 0)
    right = total = 0
    for codes, pixels in zip(frame.confusion, frame.pixels, strict=True):
        total += pixels.sum()
        right += pixels[codes // 3 == codes % 3].sum()
    assert total == 30 * 39 * 40
    assert metrics.pixel_accuracy == pytest.approx(right / total)
    for record in others:
        if record.metrics:
            assert isinstance(record.metrics, SegmentationMetrics)
            assert record.metrics.dense_miou == metrics.miou == metrics.accuracy
    store.write_cells([dense, *others])
    read = {record.key: record for record in store.cells()}
    assert read[dense.key] == dense


def test_a_failed_dense_model_fails_its_cells(
    small: Specs, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = prepare(small(methods=("tome",), **SETTINGS))
    cells, model = prepared.runnable["vim_mini_linear"], prepared.models["vim_mini_linear"]
    whole = model.readout

    def dense_is_broken(tokens: object) -> torch.Tensor:
        logits = whole(tokens)  # type: ignore[arg-type]
        return logits * np.nan if tokens.length == 101 else logits  # type: ignore[attr-defined]

    monkeypatch.setattr(model, "readout", dense_is_broken)
    result = evaluate_shard(prepared, "vim_mini_linear", np.arange(3), cells, 7, silent)
    assert result.outcomes == {}
    assert all("not finite" in reason for reason in result.failures.values())


def test_rows_differ_by_their_lists_and_numbers() -> None:
    one = pd.DataFrame({"list": [np.array([1, 2]), np.array([1])], "x": [np.nan, 1.0]})
    other = pd.DataFrame({"list": [np.array([1, 2]), np.array([1, 2])], "x": [3.0, 1.0]})
    assert differing(one, other, ("list", "x")).tolist() == [False, True]
    assert differing(one, one.assign(x=[0.0, 2.0]), ("x",)).tolist() == [False, True]

"""Segmentation of a made-up ADE20K from its files to the records of a run."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backbones.common.errors import UserError
from suite.analysis.records import cell_records
from suite.config.run_spec import RunSpec
from suite.execution.begin import begun
from suite.execution.local import execute
from suite.plan.prepare import prepare
from suite.store.results import Results
from suite.store.schema import SEGMENTATION, SegmentationMetrics

Specs = Callable[..., RunSpec]


def evaluated(spec: RunSpec, folder: Path, skip_damaged: bool = False) -> SegmentationMetrics:
    """The metrics of the dense cell after a run of `spec` in `folder`."""
    with begun(prepare(spec), spec, folder, True, False, skip_damaged) as (plan, store, _):
        assert execute(plan, store, lambda count: None) == {}
        dense = cell_records(plan, Results(store, plan.shards, SEGMENTATION), {})[0]
    assert isinstance(dense.metrics, SegmentationMetrics)
    return dense.metrics


def test_a_made_up_ade20k_is_evaluated(small: Specs, ade20k: Path, tmp_path: Path) -> None:
    spec = small(
        task="segmentation",
        backbones=("vim_mini_linear[classes=150]",),
        data=f"ade20k:{ade20k}",
        methods=("mtr",),
        budgets=(0.3,),
        seeds=1,
        gallery=0,
    )
    metrics = evaluated(spec, tmp_path / "run")
    assert 0 <= metrics.miou < 0.1
    assert metrics.loss == pytest.approx(np.log(150), rel=0.3)
    mask = sorted((ade20k / "annotations" / "validation").iterdir())[1]
    values = np.asarray(Image.open(mask))
    Image.fromarray(values[:20]).save(mask)
    with pytest.raises(
        UserError, match=f"{mask.name} has .*: make both one size; or go on without"
    ):
        evaluated(spec, tmp_path / "other")
    without = evaluated(spec, tmp_path / "other", skip_damaged=True)
    assert without.miou != metrics.miou
    # A mask that changed is noticed, though its picture is the same.
    Image.fromarray(values[::-1]).save(mask)
    changed = evaluated(spec, tmp_path / "run")
    assert changed.loss != metrics.loss
    Image.fromarray(values).save(mask)
    assert evaluated(spec, tmp_path / "run") == metrics

"""The estimate of a run's time: dense time, scaled by the FLOPs that are left."""

from collections.abc import Callable

import pytest

from suite import estimate
from suite.prepare import prepare
from suite.settings import RunSpec


def test_every_cell_takes_its_share_of_the_dense_time(
    small: Callable[..., RunSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = prepare(small(methods=("mtr",), budgets=(0.25, 0.95), baselines=False))
    monkeypatch.setattr(estimate, "dense_seconds", lambda *_: 2.0)
    assert estimate.estimate_seconds(prepared) == pytest.approx(2.0 * 30 * (1 + 0.75), rel=2e-3)


def test_the_better_of_two_warm_batches_counts(small: Callable[..., RunSpec], monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = prepare(small(methods=("none",), baselines=False))
    clock = iter([0.0, 9.0, 20.0, 23.0, 30.0, 32.0])
    monkeypatch.setattr("suite.estimate.time.perf_counter", lambda: next(clock))
    seconds = estimate.dense_seconds(prepared.models["vim_mini"], prepared.dataset, "cpu", 4)
    assert seconds == 2.0 / 4

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


@pytest.mark.parametrize(
    ("seconds", "timed", "least"),
    [((3.0, 2.0, 1.0), 2, 2.0), ((0.5, 0.375, 0.125, 0.0625), 3, 0.125)],  # slow batches, and quick ones
)
def test_the_least_of_the_batches_of_a_second_counts(
    small: Callable[..., RunSpec],
    monkeypatch: pytest.MonkeyPatch,
    seconds: tuple[float, ...],
    timed: int,
    least: float,
) -> None:
    prepared = prepare(small(methods=("none",), baselines=False))
    told = [time for number, took in enumerate(seconds) for time in (10.0 * number, 10.0 * number + took)]
    clock = iter(told)
    monkeypatch.setattr("suite.estimate.time.perf_counter", lambda: next(clock))
    assert estimate.dense_seconds(prepared.models["vim_mini"], prepared.dataset, "cpu", 4) == least / 4
    assert list(clock) == told[2 * timed :]

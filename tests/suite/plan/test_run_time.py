"""The estimate of a run's time: dense time, scaled by the FLOPs that are left."""

from collections.abc import Callable

import pytest
import torch

from backbones.base import Backbone
from backbones.sequence import TokenSequence
from suite.config.run_spec import RunSpec
from suite.evaluation.tree import jobs_for
from suite.flops.closed_form import block_flops, dense, total
from suite.plan import run_time as estimate
from suite.plan.prepare import prepare


def test_every_cell_takes_its_share_of_the_dense_time(
    small: Callable[..., RunSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = prepare(small(methods=("mtr",), budgets=(0.25, 0.95), baselines=False))
    monkeypatch.setattr(estimate, "dense_seconds", lambda *_: 2.0)
    assert estimate.estimate_seconds(prepared) == pytest.approx(
        2.0 * (30 + 2) * (1 + 0.75), rel=2e-3
    )  # 2 in the gallery


def test_seeds_but_the_first_are_not_drawn(
    small: Callable[..., RunSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = prepare(small(methods=("random",), budgets=(0.25,), seeds=3, baselines=False))
    monkeypatch.setattr(estimate, "dense_seconds", lambda *_: 2.0)
    wanted = 2.0 * ((30 + 2) * (1 + 0.75) + 2 * 30 * 0.75)
    assert estimate.estimate_seconds(prepared) == pytest.approx(wanted, rel=2e-3)


def test_the_search_of_the_oracle_counts_every_block_that_it_runs(
    small: Callable[..., RunSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = prepare(small(methods=("oracle",), budgets=(0.4,), baselines=False, images=6))
    model = prepared.models["vim_mini"]
    (cell,) = [cell for cell in prepared.cells if cell.kind == "oracle"]
    shape = model.describe()
    ran = 0
    run = type(model).run

    def counted(
        self: Backbone, tokens: TokenSequence, start: int = 0, stop: int | None = None
    ) -> TokenSequence:
        nonlocal ran
        if stop is None:  # the search runs to the end
            ran += tokens.batch * sum(
                total(block_flops(shape, block, tokens.length)) for block in range(start, 4)
            )
        return run(self, tokens, start, stop)

    monkeypatch.setattr(type(model), "run", counted)
    index = torch.arange(2)
    (job,) = jobs_for([cell], model, index, torch.zeros(2, dtype=torch.long))
    with torch.inference_mode():
        tokens, at = model.embed(torch.zeros(2, 3, 40, 40), index), 0
        for site, reducer in sorted(job.reducers.items()):
            tokens, at = reducer(model.run(tokens, at, site)), site
    assert cell.plan is not None
    search = estimate.search_passes(cell.plan, shape)
    assert search > 100
    assert ran / 2 == pytest.approx(search * total(dense(shape)))
    assert estimate.passes(cell, shape) == pytest.approx(search + 0.6, rel=2e-3)


@pytest.mark.parametrize(
    ("seconds", "timed", "least"),
    [
        ((3.0, 2.0, 1.0), 2, 2.0),
        ((0.5, 0.375, 0.125, 0.0625), 3, 0.125),
    ],  # slow batches, and quick ones
)
def test_the_least_of_the_batches_of_a_second_counts(
    small: Callable[..., RunSpec],
    monkeypatch: pytest.MonkeyPatch,
    seconds: tuple[float, ...],
    timed: int,
    least: float,
) -> None:
    monkeypatch.setattr(estimate, "ENOUGH", 1.0)
    prepared = prepare(small(methods=("none",), baselines=False))
    told = [
        time
        for number, took in enumerate(seconds)
        for time in (10.0 * number, 10.0 * number + took)
    ]
    clock = iter(told)
    monkeypatch.setattr("suite.plan.run_time.time.perf_counter", lambda: next(clock))
    assert (
        estimate.dense_seconds(prepared.models["vim_mini"], prepared.dataset, "cpu", 4) == least / 4
    )
    assert list(clock) == told[2 * timed :]

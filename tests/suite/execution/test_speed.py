"""What a second worker gains on an idle machine; both times are printed."""

import importlib.util
import os
import time
from pathlib import Path

import pytest

from suite.config.spec_file import build_spec
from suite.execution.shards import shards
from suite.plan.prepare import prepare
from suite.store.run_folder import session

if importlib.util.find_spec("ray") is None:
    pytest.skip("Ray is not installed: pip install 'ray>=2.52'", allow_module_level=True)

from suite.execution.ray_cluster import connected
from suite.execution.ray_executor import ShardTasks

IMAGES, SHARD = 1900, 100


@pytest.mark.slow
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="two workers need two cores")
def test_two_workers_take_at_most_0_65_of_the_time_of_one(tmp_path: Path) -> None:
    """1,800 images under nineteen cells, one thread a worker, after a shard to warm up."""
    spec = build_spec(
        images=IMAGES, shard_size=SHARD, budgets=(0.2, 0.4, 0.6), seeds=1, threads=1, device="cpu"
    )
    prepared = prepare(spec)
    assert len([cell for cell in prepared.cells if cell.plan]) == 19
    first, *rest = shards(prepared)
    seconds = {}
    with connected("", 2) as ray:
        for workers in (1, 2):
            with session(tmp_path / str(workers), spec) as store:
                tasks = ShardTasks(ray, prepared, store, lambda count: None, named=False)
                tasks.start(workers)
                assert not tasks.run([first], wait=False, fail_fast=True)
                begun = time.monotonic()
                assert not tasks.run(rest, wait=False, fail_fast=True)
                seconds[workers] = time.monotonic() - begun
    ratio = seconds[2] / seconds[1]
    print(f"\none worker {seconds[1]:.1f} s, two {seconds[2]:.1f} s: {ratio:.3f} of it")
    assert seconds[1] >= 60, "too little work for a measurement: raise IMAGES"
    assert ratio <= 0.65

"""The files are the same in whatever order pieces come back, and whichever workers die."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from suite.config.run_spec import RunSpec
from suite.execution import local, ray_executor, ray_worker
from suite.execution.ray_executor import RETRIES, ShardTasks
from suite.execution.ray_worker import evaluate_cells
from suite.execution.shards import failures, lock, shards
from suite.plan.prepare import Prepared, prepare
from suite.store.run_folder import Store, session
from suite.system.out_of_memory import StoppedError

Specs = Callable[..., RunSpec]
Content = Callable[[Path], dict[str, bytes]]
Dies = Callable[[int, Sequence[str]], bool]
MOST_DEATHS = RETRIES + 2  # over one cell before it is given up: with its shard, and then alone


class RayError(Exception):
    """What Ray raises when it loses a worker."""


class ScriptedRay:
    """Ray whose workers die when `dies` says so; tasks run here, and end in any order."""

    exceptions = SimpleNamespace(
        RayError=RayError,
        NodeDiedError=type("NodeDiedError", (RayError,), {}),
        RayTaskError=type("RayTaskError", (RayError,), {}),
    )

    def __init__(self, size: int, seed: int, dies: Dies) -> None:
        self.size, self.dies, self.random = size, dies, random.Random(seed)
        self.tasks: list[tuple[tuple[Any, ...], int]] = []
        self.pieces: list[tuple[int, Sequence[str]]] = []

    def put(self, payload: object) -> str:
        return "payload"

    def remote(self, max_retries: int, **_: Any) -> Callable[[Any], Any]:
        def task(retries: int, *arguments: Any) -> int:
            self.tasks.append((arguments, retries))
            return len(self.tasks) - 1

        def options(max_retries: int) -> Any:
            return SimpleNamespace(remote=lambda *arguments: task(max_retries, *arguments))

        return lambda function: SimpleNamespace(
            options=options, remote=lambda *arguments: task(max_retries, *arguments)
        )

    def wait(self, handles: Sequence[int], timeout: float = 0) -> tuple[list[int], list[int]]:
        assert len(handles) <= self.size
        return [self.random.choice(handles)], []

    def get(self, handle: int) -> Any:
        arguments, retries = self.tasks[handle]
        if len(arguments) == 1:  # a worker opens the run
            return None, ""
        _, _, index, _, keys = arguments
        for _ in range(retries + 1):
            self.pieces.append((index, keys))
            if not self.dies(index, keys):
                return evaluate_cells(*arguments)
        raise RayError


@pytest.fixture
def prepared(small: Specs, monkeypatch: pytest.MonkeyPatch) -> Prepared:
    """A run of three shards and seven cells, which workers find opened."""
    spec = small(budgets=(0.4,), seeds=1, images=12, batch_size=4, shard_size=4, gallery=0)
    run = prepare(spec, further=False)
    monkeypatch.setattr(ray_worker, "_opened", lambda handle, gpu: run)
    monkeypatch.setattr(ray_worker, "_assigned_gpu", lambda: None)
    monkeypatch.setattr(ray_executor, "packed", lambda prepared: None)
    return run


@pytest.fixture(scope="module")
def made() -> dict[str, bytes]:
    """What `alone` gives, once it was made."""
    return {}


@pytest.fixture
def alone(
    prepared: Prepared, content: Content, tmp_path: Path, made: dict[str, bytes]
) -> dict[str, bytes]:
    """The files that this process makes of the run by itself."""
    if not made:
        with session(tmp_path / "local", prepared.spec) as store:
            local.execute(prepared, store, lambda count: None)
            made |= results(content, store)
    return made


def results(content: Content, store: Store) -> dict[str, bytes]:
    """The files of `store` with results, by name."""
    return {
        name: data
        for name, data in content(store.folder).items()
        if name.startswith(("shards", "tokens"))
    }


def work(ray: Any, prepared: Prepared, store: Store, fail_fast: bool = False) -> int:
    """Have the workers do the run; returns the number of outcomes that progress counted."""
    counted: list[int] = []
    tasks = ShardTasks(ray, prepared, store, counted.append, named=False)
    tasks.start(ray.size)
    assert not tasks.run(list(shards(prepared)), wait=False, fail_fast=fail_fast)
    return sum(counted)


@pytest.mark.parametrize(("seed", "size"), [(0, 1), (1, 2), (2, 5), (3, 30)])
def test_pieces_orders_and_some_deaths_change_nothing(
    prepared: Prepared,
    alone: dict[str, bytes],
    content: Content,
    tmp_path: Path,
    seed: int,
    size: int,
) -> None:
    draw = random.Random(seed)
    # of each shard, fewer than any of its cells is given up for
    left = [draw.randrange(MOST_DEATHS) for _ in range(3)]

    def dies(shard: int, keys: Sequence[str]) -> bool:
        left[shard] -= 1
        return left[shard] >= 0

    ray = ScriptedRay(size, seed, dies)
    with session(tmp_path / "run", prepared.spec) as store:
        assert work(ray, prepared, store) == 12 * len(prepared.cells)
        assert results(content, store) == alone
        assert not failures(prepared, store)


@pytest.mark.parametrize(
    "seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (2, 3))]
)
@pytest.mark.parametrize("fatal", [("tome",), ("tome", "stride")])
def test_a_cell_that_kills_its_workers_is_found_and_fails_alone(
    prepared: Prepared,
    alone: dict[str, bytes],
    content: Content,
    tmp_path: Path,
    fatal: tuple[str, ...],
    seed: int,
) -> None:
    bad = {cell.key for cell in prepared.cells if cell.method.name in fatal}
    ray = ScriptedRay(2, seed, lambda shard, keys: bool(bad.intersection(keys)))
    with session(tmp_path / "run", prepared.spec) as store:
        assert work(ray, prepared, store) == 12 * len(prepared.cells)
        reasons = failures(prepared, store)
        assert reasons.keys() == bad
        assert all("its worker was killed" in reason for reason in reasons.values())
        sound = {name: data for name, data in alone.items() if bad.isdisjoint(Path(name).parts)}
        assert results(content, store) == sound
    assert len([shard for shard, _ in ray.pieces if shard == 0]) < 4 * MOST_DEATHS * len(fatal)


def test_workers_that_always_die_end_the_run_with_all_cells_failed(
    prepared: Prepared, tmp_path: Path
) -> None:
    ray = ScriptedRay(2, 0, lambda shard, keys: True)
    with session(tmp_path / "run", prepared.spec) as store:
        work(ray, prepared, store)
        assert len(failures(prepared, store)) == len(prepared.cells)
    assert len(ray.pieces) < 40


def test_the_first_failure_ends_the_work_if_asked(prepared: Prepared, tmp_path: Path) -> None:
    ray = ScriptedRay(1, 0, lambda shard, keys: True)
    with (
        session(tmp_path / "run", prepared.spec) as store,
        pytest.raises(StoppedError, match=r"failed \(its worker was killed"),
    ):
        work(ray, prepared, store, fail_fast=True)
    assert {shard for shard, _ in ray.pieces} == {0}


def test_a_shard_that_another_process_is_at_is_left_to_it(
    prepared: Prepared, tmp_path: Path
) -> None:
    every = list(shards(prepared))
    ray: Any = ScriptedRay(2, 0, lambda shard, keys: False)
    with session(tmp_path / "run", prepared.spec) as store:
        tasks = ShardTasks(ray, prepared, store, lambda count: None, named=False)
        tasks.start(2)
        with lock(prepared, store, every[1], wait=True):
            left = tasks.run(every, wait=False, fail_fast=False)
        assert left == [every[1]]
        assert {shard for shard, _ in ray.pieces} == {0, 2}
        with lock(prepared, store, every[0], wait=False) as free:
            assert free
        assert tasks.run(left, wait=True, fail_fast=False) == []
        assert {shard for shard, _ in ray.pieces} == {0, 1, 2}


@pytest.mark.parametrize(("size", "pieces"), [(2, 1), (4, 2), (9, 3), (100, 7)])
def test_the_cells_of_shards_are_shared_out_among_more_workers(
    prepared: Prepared, tmp_path: Path, size: int, pieces: int
) -> None:
    ray = ScriptedRay(size, 0, lambda shard, keys: False)
    with session(tmp_path / "run", prepared.spec) as store:
        work(ray, prepared, store)
    for index in range(3):
        groups = [keys for shard, keys in ray.pieces if shard == index]
        assert len(groups) == pieces
        assert sorted(key for keys in groups for key in keys) == sorted(
            cell.key for cell in prepared.cells
        )
        sizes = [len(keys) for keys in groups]
        assert max(sizes) - min(sizes) <= 1

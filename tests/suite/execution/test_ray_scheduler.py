"""Whatever the order in which parts come back, and whoever dies over them, the same files come of it."""

import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.config.run_spec import RunSpec
from suite.execution import local
from suite.execution.ray_pool import Death, Task
from suite.execution.ray_scheduler import MOST_DEATHS, Desk, parted
from suite.execution.shards import failures, lock, shards
from suite.plan.prepare import Prepared, prepare
from suite.store.run_folder import Store
from suite.store.session import session

Specs = Callable[..., RunSpec]
Content = Callable[[Path], dict[str, bytes]]
Dies = Callable[[int, Sequence[str]], bool]


class Scripted:
    """Workers of whom those are lost that `dies` says; the others' work is done in this process, in any order."""

    def __init__(self, prepared: Prepared, size: int, seed: int, dies: Dies) -> None:
        self.prepared, self.size, self.dies = prepared, size, dies
        self.random = random.Random(seed)
        self.parts: list[tuple[int, tuple[str, ...]]] = []

    def results(self, take: Callable[[], Task | None]) -> Iterator[tuple[Task, Any]]:
        out: deque[Task] = deque()
        while True:
            while len(out) < self.size and (task := take()) is not None:
                out.append(task)
            if not out:
                return
            out.rotate(self.random.randrange(len(out)))
            task = out.popleft()
            shard, keys = task.arguments
            self.parts.append((shard.index, keys))
            lost = self.dies(shard.index, keys)
            yield task, Death("was killed") if lost else task.action(self.prepared, *task.arguments)


@pytest.fixture
def prepared(small: Specs) -> Prepared:
    """A run of three shards and seven cells."""
    return prepare(small(budgets=(0.4,), seeds=1, images=12, batch=4, shard=4, gallery=0))


@pytest.fixture
def alone(prepared: Prepared, content: Content, tmp_path: Path) -> dict[str, bytes]:
    """The files that this process makes of the run by itself."""
    with session(tmp_path / "local", prepared.spec) as store:
        local.execute(prepared, store, lambda count: None)
        return results(content, store)


def results(content: Content, store: Store) -> dict[str, bytes]:
    """The files of `store` that hold results, by name."""
    return {
        name: held
        for name, held in content(store.folder).items()
        if name.startswith(("shards", "tokens"))
    }


def work(crew: Scripted, store: Store, parts: int = 1, **how: Any) -> int:
    """Let `crew` do the run; returns how many images it was told of, cell by cell."""
    told: list[int] = []
    desk = Desk(crew.prepared, store, told.append, parts)
    left: Any = desk.work(crew, list(shards(crew.prepared)), False, **{"fail_fast": False} | how)  # type: ignore[arg-type]
    assert not left
    return sum(told)


@pytest.mark.parametrize(("seed", "parts"), [(0, 1), (1, 2), (2, 5), (3, 100)])
def test_parts_orders_and_some_deaths_change_nothing(
    prepared: Prepared,
    alone: dict[str, bytes],
    content: Content,
    tmp_path: Path,
    seed: int,
    parts: int,
) -> None:
    draw = random.Random(seed)
    left = [
        draw.randrange(MOST_DEATHS) for _ in range(3)
    ]  # of each shard, fewer than it is given up for

    def dies(shard: int, keys: Sequence[str]) -> bool:
        left[shard] -= 1
        return left[shard] >= 0

    with session(tmp_path / "run", prepared.spec) as store:
        assert work(Scripted(prepared, 2, seed, dies), store, parts) == 12 * len(prepared.cells)
        assert results(content, store) == alone
        assert not failures(prepared, store)


@pytest.mark.parametrize("seed", range(4))
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
    crew = Scripted(prepared, 2, seed, lambda shard, keys: bool(bad.intersection(keys)))
    with session(tmp_path / "run", prepared.spec) as store:
        assert work(crew, store) == 12 * len(prepared.cells)
        reasons = failures(prepared, store)
        assert reasons.keys() == bad
        assert all("its worker was killed" in reason for reason in reasons.values())
        sound = {name: held for name, held in alone.items() if bad.isdisjoint(Path(name).parts)}
        assert results(content, store) == sound
    assert len([shard for shard, _ in crew.parts if shard == 0]) < 4 * MOST_DEATHS * len(fatal)


def test_workers_that_always_die_end_the_run_with_all_cells_failed(
    prepared: Prepared, tmp_path: Path
) -> None:
    crew = Scripted(prepared, 2, 0, lambda shard, keys: True)
    with session(tmp_path / "run", prepared.spec) as store:
        work(crew, store)
        assert len(failures(prepared, store)) == len(prepared.cells)
    assert len(crew.parts) < 40


def test_the_first_failure_ends_the_work_if_asked(prepared: Prepared, tmp_path: Path) -> None:
    crew = Scripted(prepared, 1, 0, lambda shard, keys: True)
    with session(tmp_path / "run", prepared.spec) as store:
        work(crew, store, fail_fast=True)
    assert {shard for shard, _ in crew.parts} == {0}


def test_a_shard_that_another_process_is_at_is_left_to_it(
    prepared: Prepared, tmp_path: Path
) -> None:
    every = list(shards(prepared))
    crew: Any = Scripted(prepared, 2, 0, lambda shard, keys: False)
    with session(tmp_path / "run", prepared.spec) as store:
        desk = Desk(prepared, store, lambda count: None, 1)
        with lock(prepared, store, every[1], wait=True):
            left = desk.work(crew, every, wait=False, fail_fast=False)
        assert left == [every[1]]
        assert {shard for shard, _ in crew.parts} == {0, 2}
        with lock(prepared, store, every[0], wait=False) as free:
            assert free
        assert desk.work(crew, left, wait=True, fail_fast=False) == []
        assert {shard for shard, _ in crew.parts} == {0, 1, 2}


@given(st.lists(st.text(max_size=2), min_size=1, max_size=30), st.integers(1, 40))
def test_groups_hold_everything_once_in_even_sizes(keys: list[str], count: int) -> None:
    groups = parted(keys, count)
    assert [key for group in groups for key in group] == keys
    assert len(groups) == min(count, len(keys))
    sizes = {len(group) for group in groups}
    assert min(sizes) >= 1
    assert max(sizes) - min(sizes) <= 1

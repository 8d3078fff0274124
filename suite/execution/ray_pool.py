"""Workers as Ray actors: begun, given one thing at a time, replaced when they die."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Self

from backbones.common.errors import UserError
from suite.execution.ray_cluster import brief
from suite.execution.ray_payload import Parcel, versions
from suite.execution.ray_worker import Worker

MOST_FAILED_STARTS = 3
PATIENCE = (
    60.0  # seconds without a word from any worker after which the user is told what is waited for
)


@dataclass(frozen=True)
class Task:
    """Something for one worker: it calls ``action(prepared, *arguments)``; `about` is for whoever handed it out."""

    action: Callable[..., Any]
    arguments: Sequence[Any]
    about: Any


@dataclass(frozen=True)
class Death:
    """What stands for the result of a task whose worker was lost.

    ``reasons``  why cells failed, by key, if the worker could still tell
    """

    how: str
    reasons: Mapping[str, str] = field(default_factory=dict)


class Crew:
    """Workers that have opened the run, and what each is at.

    One that dies is replaced at once, where the cluster has room for it.
    """

    def __init__(
        self, ray: ModuleType, parcel: Parcel, size: int, cpus: int, gpus: int, named: bool
    ) -> None:
        """`size` workers with `cpus` and `gpus` each; `named`: what they find wrong is told with their node."""
        self._ray = ray
        self._named = named
        self._opening = versions(), [ray.put(parcel)]  # sent once to every node that has a worker
        self._kind = ray.remote(Worker).options(
            num_cpus=cpus, num_gpus=gpus, max_restarts=0, scheduling_strategy="SPREAD"
        )
        self._idle: list[Any] = []
        self._busy: dict[Any, tuple[Any, Task | None]] = {}
        self._failed_starts = 0
        self._needs = f"{cpus} CPUs" + (f" and {gpus} GPU" if gpus else "")
        for _ in range(size):
            self._begin()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in [*self._idle, *(worker for worker, _ in self._busy.values())]:
            self._ray.kill(worker)

    def results(self, take: Callable[[], Task | None]) -> Iterator[tuple[Task, Any]]:
        """Every task that `take` hands out, with its result or the `Death` of its worker, in the order they come.

        The next task is sent before a result is handed on, so that workers go on while the caller
        deals with it; more is asked for after it has. What a task raises is raised here.
        """
        found = None
        while True:
            while self._idle and (task := take()) is not None:
                worker = self._idle.pop()
                self._busy[worker.do.remote(task.action, task.arguments)] = worker, task
            if found is not None:
                yield found
                found = None
            elif self._idle and all(task is None for _, task in self._busy.values()):
                return
            else:
                found = self._next()

    def _begin(self) -> None:
        worker = self._kind.remote()
        self._busy[worker.open.remote(*self._opening)] = worker, None

    def _next(self) -> tuple[Task, Any] | None:
        """Wait for any worker; what it gave, None if it is now ready for its first task or nothing happened."""
        done, _ = self._ray.wait(list(self._busy), timeout=PATIENCE)
        if not done:
            if not self._idle and all(task is None for _, task in self._busy.values()):
                print(
                    f"no worker has begun yet: each needs {self._needs} on one node",
                    file=sys.stderr,
                )
            return None
        worker, task = self._busy.pop(done[0])
        try:
            result = self._ray.get(done[0])
        except self._ray.exceptions.RayTaskError as error:
            cause = error.cause
            if self._named and isinstance(cause, UserError):
                raise UserError(f"{cause} (on node {error.ip})") from error
            raise cause from error
        except self._ray.exceptions.RayError as error:
            return self._died(worker, task, error)
        if task is None:
            self._failed_starts = 0
            self._idle.append(worker)
            return None
        value, lost, said = result
        if said:
            print(said, end="", file=sys.stderr)
        if lost is None:
            self._idle.append(worker)
            return task, value
        self._replace(worker)
        return task, Death("lost its device", lost)

    def _died(self, worker: Any, task: Task | None, error: Exception) -> tuple[Task, Death] | None:
        """Replace `worker`; UserError if none gets as far as its first task."""
        if task is None:
            self._failed_starts += 1
            if self._failed_starts == MOST_FAILED_STARTS:
                raise UserError(
                    f"workers die before they begin: see that the suite runs there ({brief(error)})"
                )
        self._replace(worker)
        how = "was lost with its node" if "node has died" in str(error) else "was killed or crashed"
        return None if task is None else (task, Death(how))

    def _replace(self, worker: Any) -> None:
        self._ray.kill(worker)  # it may live, out of reach or without its device
        self._begin()

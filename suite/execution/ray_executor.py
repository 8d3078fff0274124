"""Shards as Ray tasks: workers evaluate cells, this process alone writes their results.

So the workers need no shared file system, and what `suite.store` guarantees of files is true of
results from any machine. Ray starts worker processes, replaces dead ones and queues tasks.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np

from backbones.common.errors import UserError
from suite.evaluation.runner import Progress, ShardResult
from suite.execution.local import execute
from suite.execution.ray_cluster import brief, connected, room
from suite.execution.ray_payload import files_of, packed, versions
from suite.execution.ray_worker import EXIT_DELAY, RunHandle, evaluate_cells, open_run
from suite.execution.shards import Shard, failures, lock, missing, raise_first, save, shards
from suite.plan.prepare import Prepared
from suite.store.run_folder import Store
from suite.system.out_of_memory import DeviceLostError

RETRIES = 1  # by Ray, where a worker dies that opens the run or evaluates one cell alone
PATIENCE = 60.0  # seconds after which the user reads what the run waits for
# Lets a process that opened its models on one GPU be used for another one, too. Ray's own way is a
# new process for every task, because CUDA ignores a later change of CUDA_VISIBLE_DEVICES.
ALL_GPUS = {"env_vars": {"RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES": "1"}}


@dataclass(frozen=True)
class OnRay:
    """Evaluate on the Ray cluster at `address`; if empty, on one started here for the run.

    At most `workers` tasks run at a time, 0: as many as the cluster has room for. Each has as many
    CPUs as the run has threads, and a GPU if its device is CUDA.
    """

    address: str = ""
    workers: int = 0

    def __call__(
        self,
        prepared: Prepared,
        store: Store,
        progress: Progress,
        fail_fast: bool = False,
    ) -> dict[str, str]:
        """See that every shard is on disk or has failed; reasons of the cells that failed, by key.

        StoppedError after the first piece of a shard with a cell that failed if `fail_fast`.
        """
        todo = list(shards(prepared))
        cells = prepared.runnable
        if not any(missing(prepared, store, shard, cells[shard.backbone])[0] for shard in todo):
            # Nothing is left to evaluate, and Ray takes seconds to start.
            return execute(prepared, store, progress, fail_fast)
        with connected(self.address, self.workers * prepared.threads or None) as ray:
            tasks = ShardTasks(ray, prepared, store, progress, named=bool(self.address))
            tasks.start(self.workers)
            busy = tasks.run(todo, wait=False, fail_fast=fail_fast)
            # One at a time: two processes that each wait for a shard of the other's never end.
            for shard in busy:
                tasks.run([shard], wait=True, fail_fast=fail_fast)
        return failures(prepared, store)


@dataclass
class LockedShard:
    """A shard that is locked for this process until workers have returned its `pieces`."""

    shard: Shard
    lock: ExitStack
    pieces: int


@dataclass(frozen=True)
class Piece:
    """Some cells of a shard, by key, for one task.

    One that is `alone` is to blame if it kills its worker.
    """

    locked: LockedShard
    keys: Sequence[str]
    alone: bool = False


class ShardTasks:
    """The shards of one run as Ray tasks; results do not depend on which worker evaluates what."""

    def __init__(
        self,
        ray: ModuleType,
        prepared: Prepared,
        store: Store,
        progress: Progress,
        named: bool,
    ) -> None:
        """With `named`, errors that workers meet name the node."""
        self._ray, self._named = ray, named
        self._prepared, self._store, self._progress = prepared, store, progress
        self._cpus, self._gpus = prepared.threads, int(prepared.device == "cuda")
        self._needs = f"{self._cpus} CPUs" + (" and a GPU" if self._gpus else "")
        options: dict[str, Any] = {"num_cpus": self._cpus, "num_gpus": self._gpus}
        if self._gpus:
            options |= {"max_calls": 0, "runtime_env": ALL_GPUS}
        self._open = ray.remote(max_retries=RETRIES, **options)(open_run)
        self._evaluate = ray.remote(max_retries=0, **options)(evaluate_cells)
        # Every node fetches the payload once. Inside the handle it is not opened anew for each
        # task, as Ray does with a reference that is itself an argument.
        payload = ray.put(packed(prepared))
        self._handle = RunHandle(versions(), os.getcwd(), files_of(prepared), payload)
        self._running: dict[Any, Piece] = {}
        self._again: deque[Piece] = deque()
        self._size = 1

    def start(self, workers: int) -> None:
        """Have `workers` open the run, 0: as many as there is room for.

        UserError if the first that answers cannot.
        """
        self._size = workers or room(self._ray, self._cpus, self._gpus)
        if not self._size:
            raise UserError(
                f"no node has the {self._needs} that a worker needs: "
                "choose --threads or --device to fit"
            )
        openings = [self._open.remote(self._handle) for _ in range(self._size)]
        while not (opened := self._ray.wait(openings, timeout=PATIENCE)[0]):
            print(f"no worker has begun yet: each needs {self._needs} on one node", file=sys.stderr)
        outcome = self._result(opened[0])
        if isinstance(outcome, Exception):
            raise UserError(
                f"workers die before they begin: see that the suite runs there ({brief(outcome)})"
            )

    def run(self, todo: Sequence[Shard], wait: bool, fail_fast: bool) -> list[Shard]:
        """See that every shard of `todo` is on disk or has failed.

        Returns those that other processes work on, or waits for them. StoppedError at the first
        failure if `fail_fast`.
        """
        busy: list[Shard] = []
        with ExitStack() as locks:
            fresh = self._pieces(todo, wait, locks, busy)
            self._submit(fresh)
            while self._running:
                done, _ = self._ray.wait(list(self._running))
                piece, outcome = self._running.pop(done[0]), self._result(done[0])
                if isinstance(outcome, ShardResult):
                    # Before the results are written, so that no worker waits for the disk.
                    self._submit(fresh)
                self._settle(piece, outcome)
                if fail_fast:
                    reasons = failures(self._prepared, self._store, piece.locked.shard)
                    raise_first(self._prepared, reasons)
                self._submit(fresh)
        return busy

    def _pieces(
        self,
        todo: Sequence[Shard],
        wait: bool,
        locks: ExitStack,
        busy: list[Shard],
    ) -> Iterator[Piece]:
        """Lock one shard after the other, in pieces if there are more workers than shards."""
        for shard in todo:
            stack = locks.enter_context(ExitStack())
            if not stack.enter_context(lock(self._prepared, self._store, shard, wait)):
                busy.append(shard)
                stack.close()
                continue
            cells = self._prepared.runnable[shard.backbone]
            lacking, images = missing(self._prepared, self._store, shard, cells)
            keys = [cell.key for cell in lacking]
            self._progress(len(shard.images) * len(cells) - len(images) * len(keys))
            if not keys:
                stack.close()
                continue
            count = min(len(keys), math.ceil(self._size / len(todo)))
            locked = LockedShard(replace(shard, images=images), stack, count)
            for part in np.array_split(keys, count):
                yield Piece(locked, part.tolist())

    def _submit(self, fresh: Iterator[Piece]) -> None:
        """Submit pieces, those that are tried again first, until every worker has one."""
        while len(self._running) < self._size:
            piece = self._again.popleft() if self._again else next(fresh, None)
            if piece is None:
                return
            shard = piece.locked.shard
            task = self._evaluate.options(max_retries=RETRIES if piece.alone else 0)
            handle = task.remote(
                self._handle, shard.backbone, shard.index, shard.images, piece.keys
            )
            self._running[handle] = piece

    def _result(self, handle: Any) -> ShardResult | Exception | None:
        """What a task returned, or the error that its worker was lost by; others are raised."""
        try:
            result, stderr = self._ray.get(handle)
        except self._ray.exceptions.RayTaskError as error:
            cause = error.cause
            if isinstance(cause, DeviceLostError):
                time.sleep(2 * EXIT_DELAY)  # or Ray may give the next task to the same process
                return cause
            if self._named and isinstance(cause, UserError):
                raise UserError(f"{cause} (on node {error.ip})") from error
            raise cause from error
        except self._ray.exceptions.RayError as error:
            return error
        print(stderr, end="", file=sys.stderr)
        return result

    def _settle(self, piece: Piece, outcome: ShardResult | Exception | None) -> None:
        """Write what came of a piece, or see to what is left of it where its worker was lost."""
        locked = piece.locked
        again: list[Piece] = []
        if isinstance(outcome, ShardResult):
            save(self._prepared, self._store, locked.shard, outcome)
        else:
            again = self._after_loss(piece, outcome)
        undone = sum(len(other.keys) for other in again)
        self._progress(len(locked.shard.images) * (len(piece.keys) - undone))
        self._again += again
        locked.pieces += len(again) - 1
        if not locked.pieces:
            locked.lock.close()

    def _after_loss(self, piece: Piece, error: Exception | None) -> list[Piece]:
        """Record the cells that a worker was lost by; returns pieces of the others."""
        shard = piece.locked.shard
        how = "was killed or crashed"
        if isinstance(error, DeviceLostError):
            how = "lost its device"
            self._store.write_failures(shard.index, error.reasons)
        elif isinstance(error, self._ray.exceptions.NodeDiedError):
            how = "was lost with its node"
        cells = [cell for cell in self._prepared.cells if cell.key in piece.keys]
        # Some may have failed meanwhile, on an earlier shard.
        whole = replace(shard, images=self._prepared.shards[shard.index])
        left = [cell.key for cell in missing(self._prepared, self._store, whole, cells)[0]]
        if piece.alone:
            reason = f"its worker {how}, {RETRIES + 2} times over one shard"
            self._store.write_failures(shard.index, dict.fromkeys(left, reason))
            return []
        if left:
            print(
                f"a worker {how} over shard {shard.index} of {shard.backbone}: "
                "its cells are tried one by one",
                file=sys.stderr,
            )
        return [Piece(piece.locked, [key], alone=True) for key in left]

"""Shards on a Ray cluster: workers evaluate them, this process alone writes what comes back.

So the results need no file system that is shared, and what `suite.store.run_folder` says of files
holds as it stands.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from backbones.common.errors import UserError
from suite.evaluation.runner import Progress
from suite.execution.ray_cluster import connected, room
from suite.execution.ray_payload import packed
from suite.execution.ray_pool import Crew
from suite.execution.ray_scheduler import Desk
from suite.execution.shards import failures, missing, shards
from suite.plan.prepare import Prepared
from suite.store.run_folder import Store


@dataclass(frozen=True)
class OnRay:
    """Evaluates shards on the Ray cluster at `address`, or if that is empty on one begun for it on this machine.

    `workers` says how many at most, 0: as many as there is room for. Each has as many CPUs as the
    run has threads, and a GPU if the run's device is CUDA.
    """

    address: str = ""
    workers: int = 0

    def __call__(
        self, prepared: Prepared, store: Store, progress: Progress, fail_fast: bool = False
    ) -> dict[str, str]:
        """See that every shard is on disk or has failed; the reasons of the cells that failed, by key.

        `fail_fast` returns after the first part of a shard with a cell that failed.
        """
        todo = list(shards(prepared))
        if not any(missing(store, shard, prepared.runnable(shard.backbone)) for shard in todo):
            progress(
                sum(len(shard.images) * len(prepared.runnable(shard.backbone)) for shard in todo)
            )
            return failures(prepared, store)
        cpus, gpus = prepared.threads, int(prepared.device == "cuda")
        with connected(self.address, self.workers * cpus or None) as ray:
            size = self.workers or room(ray, cpus, gpus)
            if not size:
                each = f"{cpus} CPUs" + (" and a GPU" if gpus else "")
                raise UserError(
                    f"no node has the {each} that a worker needs: choose --threads or --device to fit"
                )
            desk = Desk(prepared, store, progress, parts=math.ceil(size / len(todo)))
            with Crew(ray, packed(prepared), size, cpus, gpus, named=bool(self.address)) as crew:
                elsewhere = desk.work(crew, todo, wait=False, fail_fast=fail_fast)
                for shard in elsewhere:  # done by now, or left by a process that died
                    if not (fail_fast and failures(prepared, store)):
                        desk.work(crew, [shard], wait=True, fail_fast=fail_fast)
        return failures(prepared, store)

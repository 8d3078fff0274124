"""Who is given what: shards part by part, handed out again when a worker dies, and given up when too many do.

A part is some of the cells of a shard: all of them where there are shards enough for every worker.
Results depend neither on the parts nor on who evaluates them.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise

from suite.evaluation.runner import Progress, ShardResult
from suite.execution.ray_pool import Crew, Death, Task
from suite.execution.shards import Shard, evaluate, failures, lock, missing, save
from suite.plan.prepare import Prepared
from suite.store.run_folder import Store

MOST_DEATHS = 3  # of workers over a shard before it is parted to find the cell that kills them


@dataclass
class Job:
    """A shard that is this process's until none of its parts is out or to be handed out again."""

    shard: Shard
    claim: ExitStack
    parts: int
    most_deaths: int
    deaths: int = 0


@dataclass(frozen=True)
class Part:
    """Some of the cells of a shard, by key, for one worker."""

    job: Job
    keys: tuple[str, ...]


def part_evaluated(prepared: Prepared, shard: Shard, keys: Collection[str]) -> ShardResult:
    """The results of the cells `keys` on `shard`."""
    cells = [cell for cell in prepared.cells if cell.key in keys]
    return evaluate(prepared, shard, cells, lambda count: None)


def parted(keys: Sequence[str], count: int) -> list[tuple[str, ...]]:
    """`keys` in at most `count` groups, their sizes equal within one, none empty."""
    count = min(count, len(keys))
    ends = [len(keys) * place // count for place in range(count + 1)]
    return [tuple(keys[start:end]) for start, end in pairwise(ends)]


class Desk:
    """Hands out the shards of a run and puts on disk what comes back."""

    def __init__(self, prepared: Prepared, store: Store, progress: Progress, parts: int) -> None:
        """`parts` in which every shard is handed out at first."""
        self._prepared, self._store, self._progress, self._parts = prepared, store, progress, parts

    def work(self, crew: Crew, todo: Sequence[Shard], wait: bool, fail_fast: bool) -> list[Shard]:
        """See that every shard of `todo` is on disk or has failed, but for those returned: other processes are at them.

        With `wait` they are waited for, which is safe for one shard at a time: who waits must hold
        none.
        """
        elsewhere: list[Shard] = []
        again: deque[Part] = deque()
        with ExitStack() as claims:
            first = self._opened(todo, wait, claims, elsewhere)

            def take() -> Task | None:
                part = again.popleft() if again else next(first, None)
                return Task(part_evaluated, (part.job.shard, part.keys), part) if part else None

            for task, outcome in crew.results(take):
                part: Part = task.about
                if isinstance(outcome, Death):
                    again.extend(self._after(part, outcome))
                else:
                    save(self._store, part.job.shard, outcome)
                    self._settle(part, [])
                if fail_fast and failures(self._prepared, self._store, part.job.shard):
                    break
        return elsewhere

    def _opened(
        self, todo: Sequence[Shard], wait: bool, claims: ExitStack, elsewhere: list[Shard]
    ) -> Iterator[Part]:
        """The parts of all shards that are to be done here, each shard claimed when its first part is asked for."""
        for shard in todo:
            cells = self._prepared.runnable(shard.backbone)
            held = claims.enter_context(ExitStack())
            if not held.enter_context(lock(self._prepared, self._store, shard, wait)):
                held.close()
                elsewhere.append(shard)
                continue
            left = [cell.key for cell in missing(self._store, shard, cells)]
            self._progress(len(shard.images) * (len(cells) - len(left)))
            if not left:
                held.close()
                continue
            groups = parted(left, self._parts)
            job = Job(shard, held, len(groups), MOST_DEATHS + 2 * len(left).bit_length())
            yield from [Part(job, keys) for keys in groups]

    def _after(self, part: Part, death: Death) -> list[Part]:
        """What is to be handed out again of a part over which a worker was lost."""
        job, shard = part.job, part.job.shard
        job.deaths += 1
        self._store.write_failures(shard.index, death.reasons)
        cells = [cell for cell in self._prepared.cells if cell.key in part.keys]
        left = tuple(
            cell.key for cell in missing(self._store, shard, cells)
        )  # some may have failed on another shard
        told = f"a worker {death.how} over shard {shard.index} of {shard.backbone}"
        again: list[Part] = []
        if left and (job.deaths < MOST_DEATHS or left != part.keys):
            print(f"{told}: it is tried again", file=sys.stderr)
            again = [Part(job, left)]
        elif len(left) > 1 and job.deaths < job.most_deaths:
            print(
                f"{told}, the {job.deaths}. lost over it: its cells are tried apart",
                file=sys.stderr,
            )
            again = [Part(job, keys) for keys in parted(left, 2)]
        else:
            reason = f"its worker {death.how}, {job.deaths} times over one shard"
            self._store.write_failures(shard.index, dict.fromkeys(left, reason))
        self._settle(part, again)
        return again

    def _settle(self, part: Part, again: Sequence[Part]) -> None:
        """Count what is done of a part, and let its shard go with its last."""
        done = len(part.keys) - sum(len(other.keys) for other in again)
        self._progress(len(part.job.shard.images) * done)
        part.job.parts += len(again) - 1
        if not part.job.parts:
            part.job.claim.close()
